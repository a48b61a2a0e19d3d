"""The artifact: whole or refused, one sentence for each thing that can be wrong with it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import signal
import socket
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mlpkit import SoftmaxClassifier
from mlpkit.errors import ArtifactError, ConfigError
from mlpkit.models._artifact import Artifact, _digest, write_artifact
from mlpkit.nn import MLP, ActivationName


def make_model(
    activation: ActivationName = "relu", *, mean: float | Tensor = 33.0, std: float | Tensor = 78.0
) -> SoftmaxClassifier:
    """Return a small classifier of 4 x 3 pictures, with random weights."""
    network = MLP(12, (8, 6), 3, activation=activation, generator=torch.Generator().manual_seed(1))
    return SoftmaxClassifier(
        network, classes=("a", "b", "c"), mean=mean, std=std, input_shape=(4, 3)
    ).eval()


def pictures(n: int) -> Tensor:
    """Return random uint8 pictures."""
    return torch.randint(0, 256, (n, 4, 3), dtype=torch.uint8)


@pytest.fixture
def x() -> Tensor:
    """Some pictures."""
    return pictures(5)


@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "swiglu", "tanh"])
def test_save_and_load(tmp_path: Path, activation: ActivationName, x: Tensor) -> None:
    """What is loaded computes the same bits, in eval mode, with all its names."""
    model = make_model(activation, mean=torch.rand(12))
    model.temperature.fill_(1.7)
    assert model.save(tmp_path / "model") == tmp_path / "model"
    for path in (tmp_path / "model", tmp_path / "model" / "model.safetensors"):
        loaded = SoftmaxClassifier.load(path)
        assert torch.equal(loaded.predict_proba(x), model.predict_proba(x))
        assert loaded.classes == model.classes
        assert loaded.input_shape == model.input_shape
        assert not loaded.training
        assert loaded.network.config == model.network.config
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["network"]["hidden_features"] == [8, 6]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_model_of_another_dtype_comes_back_as_one(
    tmp_path: Path, dtype: torch.dtype, x: Tensor
) -> None:
    """The file decides the dtype, which the configuration does not know."""
    model = make_model("prelu").to(dtype)
    model.save(tmp_path)
    loaded = SoftmaxClassifier.load(tmp_path)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {dtype}
    assert torch.equal(loaded.predict_proba(x), model.predict_proba(x))


def test_the_default_dtype_of_torch_does_not_matter_to_loading(tmp_path: Path, x: Tensor) -> None:
    """A float32 model loads as one where torch's default is float64."""
    model = make_model()
    model.save(tmp_path)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = SoftmaxClassifier.load(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(loaded.predict_proba(x), model.predict_proba(x))


def test_a_loaded_model_can_be_trained(tmp_path: Path, x: Tensor) -> None:
    """Loading leaves ordinary parameters behind that take a gradient."""
    make_model().save(tmp_path)
    model = SoftmaxClassifier.load(tmp_path)
    torch.autograd.backward(model(x).sum())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """No byte of the weights file can change without an ArtifactError.

    Every byte of the header, and every seventh of the weights.
    """
    make_model().save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for position in [*range(header), *range(header, len(content), 7)]:
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"model\.safetensors|config\.json"):
            SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_truncation_is_noticed(tmp_path: Path, length: int) -> None:
    """A file cut anywhere is one clear error that names it."""
    make_model().save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"model\.safetensors must be a whole safetensors file"):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize("kind", ["of another model", "missing", "fifo", "no JSON"])
def test_the_config_beside_the_weights_is_not_read(tmp_path: Path, kind: str, x: Tensor) -> None:
    """`load` reads the description in the weights file; config.json is for people and the hub."""
    model = make_model()
    model.save(tmp_path / "one")
    config = tmp_path / "one" / "config.json"
    config.unlink()
    if kind == "of another model":
        make_model("tanh").save(tmp_path / "two")
        (tmp_path / "two" / "config.json").replace(config)
    elif kind == "fifo":
        os.mkfifo(config)  # reading it would wait for a writer
    elif kind == "no JSON":
        config.write_text("{")
    loaded = SoftmaxClassifier.load(tmp_path / "one")
    assert torch.equal(loaded.predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "socket"])
def test_weights_that_are_no_regular_file(tmp_path: Path, kind: str) -> None:
    """A pipe would wait for a writer, and a device may have no end."""
    path = tmp_path / "model.safetensors"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.mkdir()
    with pytest.raises(
        ArtifactError, match=r"model\.safetensors must be .* not a regular file but"
    ):
        SoftmaxClassifier.load(tmp_path)


def test_a_header_that_declares_another_size(tmp_path: Path) -> None:
    """A sparse file of a terabyte is refused by its header, before it is read."""
    make_model().save(tmp_path)
    path = tmp_path / "model.safetensors"
    os.truncate(path, 2**40)
    with pytest.raises(ArtifactError, match=r"does not describe a file of 1099511627776 bytes"):
        SoftmaxClassifier.load(tmp_path)
    path.write_bytes(struct.pack("<Q", 2**39))
    os.truncate(path, 2**40)
    with pytest.raises(ArtifactError, match=r"a header of 549755813888 bytes in a file of"):
        SoftmaxClassifier.load(tmp_path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    """No folder, an empty folder, a stranger's safetensors: one sentence each."""
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ArtifactError, match=r"must be a file that .*save wrote, got none"):
            SoftmaxClassifier.load(path)
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"got another safetensors file"):
        SoftmaxClassifier.load(tmp_path)


def rewrite(path: Path, change: dict[str, object], drop: str | None = None) -> None:
    """Change the description inside a weights file, leaving its tensors as they are."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(length))["__metadata__"]
    description = {**json.loads(metadata["config"]), **change}
    metadata["config"] = json.dumps(description)
    metadata["config_sha256"] = hashlib.sha256(metadata["config"].encode()).hexdigest()
    tensors = load_file(path)
    if drop is not None:
        del tensors[drop]
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"must have format version 1, got 2; load it with the version of mlpkit"),
        ({"format": "other"}, r"got another safetensors file"),
        ({"classes": ["a"]}, r"describes a model that cannot be built: classes must be as many"),
        ({"network": {"in_features": 12}}, r"cannot be built: MLPConfig\.hidden_features must be"),
        ({"network": {"in_featurs": 12}}, r"did you mean 'in_features'"),
        ({"network": 3}, r"that describes a network, its classes and its input shape"),
        (
            {"input_shape": [-4, -3]},
            r"cannot be built: input_shape\[0\] must be a positive integer",
        ),
        ({"input_shape": [12, True]}, r"input_shape\[1\] must be a positive integer, got True"),
        ({"input_shape": [12.0]}, r"input_shape\[0\] must be a positive integer, got 12\.0"),
        ({"input_shape": 12}, r"that describes a network, its classes and its input shape"),
        (
            {"network": {"in_features": 2**80, "hidden_features": [8, 6], "out_features": 3}},
            "Overflow",
        ),
    ],
)
def test_a_description_that_does_not_fit(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """Unknown versions and impossible configurations are refused."""
    make_model().save(tmp_path)
    (tmp_path / "config.json").unlink()
    rewrite(tmp_path / "model.safetensors", change)
    with pytest.raises(ArtifactError, match=message):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", torch.tensor(0.0), r"temperature in .* must be one number above 0, got 0"),
        ("temperature", torch.ones(2), r"temperature in .* must be one number above 0, got \[1"),
        ("temperature", torch.tensor(float("nan")), r"temperature in .* must be finite, as save"),
        ("std", torch.tensor(-1.0), r"cannot be built: std must be positive, got tensor"),
        ("mean", torch.zeros(5), r"cannot be built: mean must be one number or one for each of 12"),
        ("mean", torch.tensor(3), r"got a difference in network|cannot be built"),
        ("network.head.bias", torch.full((3,), float("inf")), r"head\.bias in .* must be finite"),
        ("network.head.bias", torch.zeros(4), r"got a difference in network\.head\.bias"),
    ],
)
def test_tensors_that_make_no_sense(tmp_path: Path, name: str, value: Tensor, message: str) -> None:
    """Whole files, a true digest, and yet no model that `save` would write."""
    make_model().save(tmp_path)
    path = tmp_path / "model.safetensors"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(length))["__metadata__"]
    tensors = {**load_file(path), name: value}
    save_file(tensors, path, {**metadata, "sha256": _digest(tensors)})
    with pytest.raises(ArtifactError, match=message):
        SoftmaxClassifier.load(tmp_path)


def test_a_save_that_fails_leaves_the_old_model_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: Tensor
) -> None:
    """A disk that is full before the weights are written: both old files, or no new folder."""
    model = make_model("relu")
    model.save(tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for folder in ("old", "new"):
        with pytest.raises(OSError, match=r"No space left on device: '.*model\.safetensors'"):
            make_model("tanh").save(tmp_path / folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_huge_width_in_the_description_costs_no_memory(tmp_path: Path) -> None:
    """Shapes are compared before anything of the described size is made."""
    make_model().save(tmp_path)
    (tmp_path / "config.json").unlink()
    config = {"in_features": 12, "hidden_features": [2**40], "out_features": 3}
    rewrite(tmp_path / "model.safetensors", {"network": config})
    with pytest.raises(ArtifactError, match=r"got a difference in network\.head\.weight"):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize("depth", [400, 100_000])
@pytest.mark.parametrize("key", ["network", "hidden_features", "other"])
def test_a_nested_description(tmp_path: Path, depth: int, key: str) -> None:
    """Lists within lists exceed Python's recursion limit, which is an ArtifactError."""
    make_model().save(tmp_path)
    nested = "[" * depth + "]" * depth
    inner = f'{{"in_features": 12, "hidden_features": {nested}, "out_features": 3}}'
    value = inner if key == "hidden_features" else nested
    key = "network" if key == "hidden_features" else key
    text = (
        '{"format": "mlpkit.classifier", "version": 1, "classes": ["a", "b", "c"], '
        f'"input_shape": [4, 3], "{key}": {value}}}'
    )
    (tmp_path / "config.json").unlink()
    path = tmp_path / "model.safetensors"
    save_file(load_file(path), path, {"format": "pt", "config": text})
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        SoftmaxClassifier.load(tmp_path)
    path.write_bytes(struct.pack("<Q", len(nested)) + nested.encode())
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        SoftmaxClassifier.load(tmp_path)
    path.write_bytes(b"".join([struct.pack("<Q", 5_000), b"1" * 5_000]))
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        SoftmaxClassifier.load(tmp_path)


def test_many_layers_in_the_description_are_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers are compared with the tensors of the file before any is built."""
    make_model().save(tmp_path)
    config = {"in_features": 12, "hidden_features": [1] * 50_000, "out_features": 3}
    rewrite(tmp_path / "model.safetensors", {"network": config})

    def build(*_: object, **__: object) -> MLP:
        raise AssertionError("a network was built")

    monkeypatch.setattr(MLP, "from_config", build)
    with pytest.raises(ArtifactError, match=r"difference in .* and 49993 more; save") as caught:
        SoftmaxClassifier.load(tmp_path)
    assert len(str(caught.value)) < 1000


def test_tied_weights_are_refused(tmp_path: Path) -> None:
    """Two layers that share a weight, or a part of it; views without overlap are saved."""
    network = MLP(6, (6, 6), 6)
    model = SoftmaxClassifier(network, classes=tuple("abcdef"))
    first, second = (layer.linear for layer in network.layers)
    second.weight = first.weight
    message = r"weight must be a tensor with separate memory to be saved, got 'the memory of net"
    with pytest.raises(ArtifactError, match=message):
        model.save(tmp_path / "tied")
    second.weight = torch.nn.Parameter(first.weight.detach().T)
    artifact = Artifact(
        network=network.config, classes=model.classes, input_shape=(6,), tensors=model.state_dict()
    )
    with pytest.raises(ArtifactError, match=message):
        write_artifact(tmp_path / "tied", artifact)
    assert not (tmp_path / "tied").exists()
    flat = torch.rand(72)
    first.weight = torch.nn.Parameter(flat[:36].view(6, 6))
    second.weight = torch.nn.Parameter(flat[36:].view(6, 6))
    loaded = SoftmaxClassifier.load(model.save(tmp_path / "views"))
    x = torch.rand(3, 6)
    assert torch.equal(loaded.predict_proba(x), model.predict_proba(x))


def test_a_dtype_without_finite_values(tmp_path: Path) -> None:
    """PyTorch has no arithmetic for float8."""
    model = make_model()
    tensors = {name: value.to(torch.float8_e4m3fn) for name, value in model.state_dict().items()}
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(length))["__metadata__"]
    save_file(tensors, path, {**metadata, "sha256": _digest(tensors)})
    with pytest.raises(ArtifactError, match=r"network must be of dtype float16, bfloat16, float32"):
        SoftmaxClassifier.load(tmp_path)


def test_a_file_without_the_digest_of_its_description_loads(tmp_path: Path, x: Tensor) -> None:
    """Earlier versions of mlpkit wrote none."""
    model = make_model()
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(length))["__metadata__"]
    del metadata["config_sha256"]
    save_file(load_file(path), path, metadata)
    assert torch.equal(SoftmaxClassifier.load(tmp_path).predict_proba(x), model.predict_proba(x))


def test_loading_while_two_processes_save(tmp_path: Path) -> None:
    """Every load finds one whole model of the two, and so does a load after all have ended."""
    models = [make_model("relu"), make_model("tanh")]
    inputs = pictures(3)
    expected = [model.predict_proba(inputs) for model in models]
    models[0].save(tmp_path)
    pids = []
    for model in models:
        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child is killed
            while True:
                model.save(tmp_path)
        pids.append(pid)
    try:
        for _ in range(500):
            got = SoftmaxClassifier.load(tmp_path).predict_proba(inputs)
            assert any(torch.equal(got, one) for one in expected)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    got = SoftmaxClassifier.load(tmp_path).predict_proba(inputs)
    assert any(torch.equal(got, one) for one in expected)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    """The message lists the tensors that are not as described."""
    make_model().save(tmp_path)
    (tmp_path / "config.json").unlink()
    rewrite(tmp_path / "model.safetensors", {}, drop="network.head.bias")
    with pytest.raises(ArtifactError, match=r"got a difference in network\.head\.bias; save"):
        SoftmaxClassifier.load(tmp_path)


def test_loading_runs_no_code(tmp_path: Path) -> None:
    """A pickle in the place of the weights is refused, not executed."""
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(marker),)

    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match="must be a whole safetensors file"):
        SoftmaxClassifier.load(tmp_path)
    assert not marker.exists()


def test_what_must_not_be_saved(tmp_path: Path) -> None:
    """NaN weights and activations that only exist as code are refused; nothing is written."""
    model = make_model()
    assert model.network.head is not None
    model.network.head.bias.data[0] = float("nan")
    with pytest.raises(ArtifactError, match=r"^network\.head\.bias must be finite to be saved"):
        model.save(tmp_path / "nan")
    own = MLP(4, (3,), 2, activation=lambda _: torch.nn.Sequential(torch.nn.ReLU()))
    with pytest.raises(ConfigError, match="activation"):
        SoftmaxClassifier(own, classes=("a", "b")).save(tmp_path / "own")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_changed_is_saved_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    """A replaced activation is saved; a replaced layer, which no config describes, is refused."""
    model = make_model("relu")
    model.network.layers[0].activation = torch.nn.Tanh()
    inputs = pictures(3)
    model.save(tmp_path / "tanh")
    loaded = SoftmaxClassifier.load(tmp_path / "tanh")
    assert torch.equal(loaded.predict_proba(inputs), model.predict_proba(inputs))
    model.network.layers[0].linear = torch.nn.Linear(12, 8, bias=False)
    with pytest.raises(ArtifactError, match=r"^network must be what its config .*linear\.bias"):
        model.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_killed_save_leaves_a_whole_model(tmp_path: Path) -> None:
    """60 kills while two models are saved over each other: one of them always loads."""
    models = [make_model("relu"), make_model("tanh")]
    inputs = pictures(3)
    expected = [model.predict_proba(inputs) for model in models]
    models[0].save(tmp_path)
    for kill in range(60):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child is killed
            while True:
                for model in models:
                    model.save(tmp_path)
        time.sleep(0.003 + 0.0005 * kill)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        got = SoftmaxClassifier.load(tmp_path).predict_proba(inputs)
        assert any(torch.equal(got, one) for one in expected)
