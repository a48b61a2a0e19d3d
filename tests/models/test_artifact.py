"""The artifact: whole or refused, one sentence for each thing that can be wrong with it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mlpkit import SoftmaxClassifier
from mlpkit.errors import ArtifactError, ConfigError
from mlpkit.models._artifact import _digest
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


def test_two_models_mixed_up(tmp_path: Path) -> None:
    """The configuration of one model beside the weights of another is refused."""
    make_model("relu").save(tmp_path / "one")
    make_model("tanh").save(tmp_path / "two")
    (tmp_path / "one" / "config.json").replace(tmp_path / "two" / "config.json")
    with pytest.raises(ArtifactError, match=r"config\.json must be the file saved with model"):
        SoftmaxClassifier.load(tmp_path / "two")


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
        ({"network": 3}, r"must describe a network, its classes and its input shape"),
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
