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
from tests.models.kinds import (
    KINDS,
    KindName,
    images,
    make_classifier,
    make_model,
    make_tabular,
    rows,
)
from torch import Tensor

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.errors import ArtifactError, ConfigError
from mlpkit.models import Ensemble, load_model
from mlpkit.models._artifact import CLASSIFIER, Artifact, _digest, write_artifact
from mlpkit.nn import MLP, ActivationName

OF_ALL_KINDS = pytest.mark.parametrize("kind", KINDS)


def metadata_of(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found: dict[str, str] = json.loads(file.read(length))["__metadata__"]
    return found


@pytest.fixture
def x() -> Tensor:
    """Some images."""
    return images(5)


@OF_ALL_KINDS
@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "swiglu", "tanh"])
def test_save_and_load(
    tmp_path: Path, kind: KindName, activation: ActivationName, x: Tensor
) -> None:
    """What is loaded computes the same bits, in eval mode, with all its attributes."""
    model = make_model(kind, activation, mean=torch.rand(12))
    if not isinstance(model, Regressor):
        model.temperature.fill_(1.7)
    if isinstance(model, MultilabelClassifier):
        model.thresholds.copy_(torch.rand(len(model.classes)))
    assert model.save(tmp_path / "model") == tmp_path / "model"
    path = tmp_path / "model"
    weights = path / "model.safetensors"
    for loaded in (type(model).load(path), type(model).load(weights), load_model(path)):
        assert type(loaded) is type(model)
        assert torch.equal(loaded(x), model(x))
        assert torch.equal(loaded.predict(x), model.predict(x))
        assert str(loaded) == str(model)
        assert not loaded.training
        assert loaded.network.config == model.network.config
        assert loaded.choose_objective() == model.choose_objective()
        state = loaded.state_dict()
        assert state.keys() == model.state_dict().keys()
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert sorted(file.name for file in path.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((path / "config.json").read_text())
    assert config["network"]["hidden_features"] == [8, 6]


def test_a_model_is_loaded_as_its_own_kind_only(tmp_path: Path) -> None:
    """The message names the class that saved it, and load_model loads any."""
    make_model("regressor").save(tmp_path)
    message = (
        r"must be a model saved by SoftmaxClassifier\.save, got one saved by Regressor\.save; "
        r"load it with Regressor\.load or with mlpkit\.models\.load_model"
    )
    with pytest.raises(ArtifactError, match=message):
        SoftmaxClassifier.load(tmp_path)
    make_classifier().save(tmp_path)
    with pytest.raises(
        ArtifactError, match=r"by MultilabelClassifier\.save, got one saved by Soft"
    ):
        MultilabelClassifier.load(tmp_path)
    assert isinstance(load_model(tmp_path), SoftmaxClassifier)


@OF_ALL_KINDS
def test_a_model_without_memory_is_not_saved(tmp_path: Path, kind: KindName, x: Tensor) -> None:
    """The cure gives it memory and weights."""
    original = make_model(kind)
    model = make_model(kind).to("meta")
    with pytest.raises(
        ArtifactError, match=r"must be on a device with memory to be saved, got 'meta'; .*to_empty"
    ):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    model.to_empty(device="cpu")
    model.load_state_dict(original.state_dict())
    loaded = load_model(model.save(tmp_path / "model"))
    assert torch.equal(loaded(x), original(x))


@OF_ALL_KINDS
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_model_of_another_dtype_comes_back_as_one(
    tmp_path: Path, kind: KindName, dtype: torch.dtype, x: Tensor
) -> None:
    """The file decides the dtype, which the configuration does not know."""
    model = make_model(kind, "prelu").to(dtype)
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    for name, tensor in loaded.state_dict().items():
        wide = torch.promote_types(dtype, torch.float32)  # of the units of the targets
        assert tensor.dtype == (wide if name.startswith("target_") else dtype)
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("inputs", [torch.float64, torch.int64])
def test_a_mean_that_float32_cannot_represent_comes_back(
    tmp_path: Path, inputs: torch.dtype
) -> None:
    """Its remainder is a tensor of the file; other models have none."""
    mean = torch.full((12,), 1.7e12 + 100.25, dtype=torch.float64)
    model = make_classifier(mean=mean, std=58.0)
    values = torch.randint(0, 200, (5, 4, 3)).to(inputs) + 1_700_000_000_000
    path = model.save(tmp_path) / "model.safetensors"
    assert "mean_remainder" in load_file(path)
    loaded = SoftmaxClassifier.load(path)
    assert torch.equal(loaded.standardize(values), model.standardize(values))
    make_classifier().save(tmp_path)
    assert "mean_remainder" not in load_file(path)


def test_the_default_dtype_of_torch_does_not_matter_to_loading(tmp_path: Path, x: Tensor) -> None:
    """A float32 model loads as one where torch's default is float64."""
    model = make_classifier()
    model.save(tmp_path)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = SoftmaxClassifier.load(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(loaded.predict_proba(x), model.predict_proba(x))


def test_a_loaded_model_can_be_trained(tmp_path: Path, x: Tensor) -> None:
    """Loading leaves ordinary parameters behind that take a gradient."""
    make_classifier().save(tmp_path)
    model = SoftmaxClassifier.load(tmp_path)
    torch.autograd.backward(model(x).sum())
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("classifier", 1),
        ("labels", 7),
        ("vector", 7),
        pytest.param("labels", 1, marks=pytest.mark.long),
        pytest.param("vector", 1, marks=pytest.mark.long),
    ],
)
def test_every_flipped_byte_is_noticed(tmp_path: Path, kind: KindName, step: int) -> None:
    """No byte of the weights file can change without an ArtifactError.

    Every byte of the header of a classifier, and every seventh of the others.
    """
    model = make_model(kind)
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for position in [*range(0, header, step), *range(header, len(content), 7)]:
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"model\.safetensors|config\.json"):
            type(model).load(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_truncation_is_noticed(tmp_path: Path, length: int) -> None:
    """A file cut anywhere is one clear error that names it."""
    make_classifier().save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"model\.safetensors must be a whole safetensors file"):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize("kind", ["of another model", "missing", "fifo", "no JSON"])
def test_the_config_beside_the_weights_is_not_read(tmp_path: Path, kind: str, x: Tensor) -> None:
    """`load` reads the description in the weights file; config.json is for people and the hub."""
    model = make_classifier()
    model.save(tmp_path / "one")
    config = tmp_path / "one" / "config.json"
    config.unlink()
    if kind == "of another model":
        make_classifier("tanh").save(tmp_path / "two")
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
    make_classifier().save(tmp_path)
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
    metadata = metadata_of(path)
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
            r"Overflow|fewer than 2\*\*60 elements",
        ),
    ],
)
def test_a_description_that_does_not_fit(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """Unknown versions and impossible configurations are refused."""
    make_classifier().save(tmp_path)
    (tmp_path / "config.json").unlink()
    rewrite(tmp_path / "model.safetensors", change)
    with pytest.raises(ArtifactError, match=message):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("labels", {"classes": ["a"]}, r"cannot be built: classes must be as many names as"),
        ("labels", {"classes": [["a"], 1, 2]}, r"cannot be built: classes must be a sequence of"),
        ("labels", {"classes": "abc"}, r"that describes a network, its labels with their shape"),
        ("labels", {"target_shape": [2]}, r"cannot be built: target_shape must be a shape for"),
        ("labels", {"target_shape": [3, 1]}, r"cannot be built: target_shape must be \(L,\)"),
        (
            "labels",
            {"target_shape": [-3]},
            r"cannot be built: target_shape\[0\] must be a positive",
        ),
        ("labels", {"target_shape": None}, r"that describes a network, its labels"),
        ("labels", {"pos_weight": [1.0]}, r"cannot be built: pos_weight must be one number, or"),
        ("labels", {"pos_weight": [1.0, 0.0, 1.0]}, r"cannot be built: pos_weight\[1\] must be"),
        ("labels", {"pos_weight": {}}, r"that describes a network, its labels"),
        ("vector", {"target_shape": [2**40, 2**40]}, r"cannot be built: target_shape must be a"),
        (
            "vector",
            {"target_shape": [3.0]},
            r"cannot be built: target_shape\[0\] must be a positive",
        ),
        ("vector", {"target_names": ["a", "b"]}, r"cannot be built: target_names must be as many"),
        ("vector", {"target_names": ["a", "a", "b"]}, r"target_names must be distinct names"),
        ("vector", {"predicts_std": True}, r"cannot be built: target_shape must be a shape for"),
        ("vector", {"predicts_std": 1}, r"that describes a network, its targets and its input"),
    ],
)
def test_a_description_of_another_kind_that_does_not_fit(
    tmp_path: Path, kind: KindName, change: dict[str, object], message: str
) -> None:
    model = make_model(kind)
    model.save(tmp_path)
    rewrite(tmp_path / "model.safetensors", change)
    for load in (type(model).load, load_model):
        with pytest.raises(ArtifactError, match=message):
            load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"median": "1"}, r"cannot be built: NumberColumn\.median must be a finite number"),
        ({"median": 10**400}, r"cannot be built: NumberColumn\.median must be a finite number"),
        ({"kind": "code"}, r"cannot be built: encoder\.columns\[0\]\.kind must be one of"),
        ({"has_missing": True}, r"cannot be built: encoder must be an encoder with features"),
        ({"name": ["x"]}, r"cannot be built: NumberColumn\.name must be a string"),
        ({"more": 1}, r"cannot be built: a key of NumberColumn must be one of"),
    ],
)
def test_an_encoder_that_does_not_fit(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """The state of an encoder is checked as all else in the file."""
    column: dict[str, object] = {"kind": "number", "name": "x", "median": 1.0, "has_missing": False}
    encoder = {"version": 1, "dtype": "float32", "columns": [column], "target": None}
    Regressor(MLP(1, (), 1)).save(tmp_path)
    rewrite(tmp_path / "model.safetensors", {"encoder": encoder})
    assert load_model(tmp_path).encoder is not None
    rewrite(tmp_path / "model.safetensors", {"encoder": encoder | {"columns": [column | change]}})
    with pytest.raises(ArtifactError, match=message):
        load_model(tmp_path)
    rewrite(tmp_path / "model.safetensors", {"encoder": "x"})
    with pytest.raises(ArtifactError, match="that describes a network, its targets"):
        load_model(tmp_path)


def save_with(path: Path, tensors: dict[str, Tensor]) -> None:
    """Replace or add tensors of a file, with a true digest."""
    metadata = metadata_of(path)
    content = {**load_file(path), **tensors}
    save_file(content, path, {**metadata, "sha256": _digest(content)})


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        ("labels", "temperature", torch.zeros(3), "must be numbers above 0 with one axis, got"),
        ("labels", "temperature", torch.ones(()), "must be numbers above 0 with one axis, got"),
        ("labels", "temperature", torch.ones(4), "cannot be built: .*size mismatch"),
        ("labels", "thresholds", torch.ones(3) * 2, "cannot be built: thresholds must be prob"),
        ("labels", "thresholds", torch.ones(2), "cannot be built: thresholds must be one number"),
        ("labels", "thresholds", torch.full((3,), torch.nan), "thresholds in .* must be finite"),
        ("vector", "target_std", torch.tensor([1.0, -1, 1]), "must be numbers above 0 with one"),
        ("vector", "target_std", torch.ones(2), "cannot be built: target_std must be one number"),
        ("vector", "target_mean", torch.ones(3).double(), "got a difference in target_mean; save"),
        ("vector", "mean_remainder", torch.ones(5), "cannot be built: .*size mismatch"),
        ("vector", "temperature", torch.ones(()), "got a difference in temperature; save"),
    ],
)
def test_tensors_of_another_kind_that_make_no_sense(
    tmp_path: Path, kind: KindName, name: str, value: Tensor, message: str
) -> None:
    model = make_model(kind)
    path = model.save(tmp_path) / "model.safetensors"
    save_with(path, {name: value})
    with pytest.raises(ArtifactError, match=f"(?s){message}"):
        type(model).load(tmp_path)


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
    make_classifier().save(tmp_path)
    path = tmp_path / "model.safetensors"
    save_with(path, {name: value})
    with pytest.raises(ArtifactError, match=message):
        SoftmaxClassifier.load(tmp_path)


def test_a_save_that_fails_leaves_the_old_model_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: Tensor
) -> None:
    """A disk that is full before the weights are written: both old files, or no new folder."""
    model = make_classifier("relu")
    model.save(tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for folder in ("old", "new"):
        with pytest.raises(OSError, match=r"No space left on device: '.*model\.safetensors'"):
            make_classifier("tanh").save(tmp_path / folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_huge_width_in_the_description_costs_no_memory(tmp_path: Path) -> None:
    """Shapes are compared before anything of the described size is made."""
    make_classifier().save(tmp_path)
    (tmp_path / "config.json").unlink()
    config = {"in_features": 12, "hidden_features": [2**40], "out_features": 3}
    rewrite(tmp_path / "model.safetensors", {"network": config})
    with pytest.raises(ArtifactError, match=r"got a difference in network\.head\.weight"):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize("depth", [400, 100_000])
@pytest.mark.parametrize("key", ["network", "hidden_features", "other"])
def test_a_nested_description(tmp_path: Path, depth: int, key: str) -> None:
    """Lists within lists exceed Python's recursion limit, which is an ArtifactError."""
    make_classifier().save(tmp_path)
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
    make_classifier().save(tmp_path)
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
    message = r"weight must be a tensor with separate memory to be saved, got the memory of net"
    with pytest.raises(ArtifactError, match=message):
        model.save(tmp_path / "tied")
    second.weight = torch.nn.Parameter(first.weight.detach().T)
    artifact = Artifact(
        kind=CLASSIFIER,
        network=network.config,
        details={"classes": list(model.classes)},
        input_shape=(6,),
        tensors=model.state_dict(),
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
    table = torch.rand(6, 12)
    first.weight = torch.nn.Parameter(table[:, ::2])
    second.weight = torch.nn.Parameter(table[:, 1::2])  # interleaved, and not one element shared
    loaded = SoftmaxClassifier.load(model.save(tmp_path / "columns"))
    torch.testing.assert_close(loaded.predict_proba(x), model.predict_proba(x))
    second.weight = torch.nn.Parameter(table[:, 3:9])
    with pytest.raises(ArtifactError, match=message):
        model.save(tmp_path / "overlapping")


def test_a_dtype_without_finite_values(tmp_path: Path) -> None:
    """PyTorch has no arithmetic for float8."""
    model = make_classifier()
    tensors = {name: value.to(torch.float8_e4m3fn) for name, value in model.state_dict().items()}
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    metadata = metadata_of(path)
    save_file(tensors, path, {**metadata, "sha256": _digest(tensors)})
    with pytest.raises(ArtifactError, match=r"network must be of dtype float16, bfloat16, float32"):
        SoftmaxClassifier.load(tmp_path)


@pytest.mark.parametrize("loads", [100, pytest.param(500, marks=pytest.mark.long)])
def test_loading_while_two_processes_save(tmp_path: Path, loads: int) -> None:
    """Every load finds one whole model of the two, and so does a load after all have ended."""
    models = [make_classifier("relu"), make_classifier("tanh")]
    inputs = images(3)
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
        for _ in range(loads):
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
    make_classifier().save(tmp_path)
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
    model = make_classifier()
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
    model = make_classifier("relu")
    model.network.layers[0].activation = torch.nn.Tanh()
    inputs = images(3)
    model.save(tmp_path / "tanh")
    loaded = SoftmaxClassifier.load(tmp_path / "tanh")
    assert torch.equal(loaded.predict_proba(inputs), model.predict_proba(inputs))
    model.network.layers[0].linear = torch.nn.Linear(12, 8, bias=False)
    with pytest.raises(ArtifactError, match=r"^network must be what its config .*linear\.bias"):
        model.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kills", [20, pytest.param(60, marks=pytest.mark.long)])
def test_a_killed_save_leaves_a_whole_model(tmp_path: Path, kills: int) -> None:
    """Kills while two models are saved over each other: one of them always loads."""
    models = [make_classifier("relu"), make_classifier("tanh")]
    inputs = images(3)
    expected = [model.predict_proba(inputs) for model in models]
    models[0].save(tmp_path)
    for kill in range(kills):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child is killed
            while True:
                for model in models:
                    model.save(tmp_path)
        time.sleep(0.003 + 0.03 * kill / kills)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        got = SoftmaxClassifier.load(tmp_path).predict_proba(inputs)
        assert any(torch.equal(got, one) for one in expected)


@OF_ALL_KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_tabular_model_comes_back(tmp_path: Path, kind: KindName, dtype: torch.dtype) -> None:
    model = make_tabular(kind).to(dtype)
    loaded = load_model(model.save(tmp_path))
    assert not isinstance(loaded, Ensemble)
    assert loaded.network.config == model.network.config
    assert torch.equal(loaded(rows()), model(rows()))
    assert str(loaded) == str(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_categories": [0, 3, 2**40]}, r"got a difference in network\.embedding; save"),
        ({"embedding_dim": 2**40}, r"got a difference in network\.embedding; save"),
        ({"num_pieces": 2**40}, r"got a difference in network\.embedding; save"),
        ({"num_pieces": 4}, r"got a difference in network\.embedding\.parts\.0"),
        ({"numbers": "none"}, "mlp must be an MLP with 12 inputs"),
        ({"num_categories": [0, 0, 40]}, "mlp must be an MLP with 24 inputs"),
        ({"numbers": "linear"}, "numbers must be one of"),
        ({"mlp": 3}, "mlp must be an MLPConfig, got 3"),
    ],
    ids=str,
)
def test_a_tabular_description_that_does_not_fit(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """A huge one is refused before anything of its size is made."""
    make_tabular().save(tmp_path)
    network = json.loads((tmp_path / "config.json").read_text())["network"]
    (tmp_path / "config.json").unlink()
    rewrite(tmp_path / "model.safetensors", {"network": {**network, **change}})
    with pytest.raises(ArtifactError, match=message):
        SoftmaxClassifier.load(tmp_path)
