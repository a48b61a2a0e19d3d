"""ONNX files, run with onnxruntime, against the classifier."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.export.classifiers import DIGITS, NAMES, NORMS, by_name, classifier
from tests.models.kinds import images, make_model
from torch import Tensor

from mlpkit.data import LabeledTensors, digits
from mlpkit.errors import ArtifactError, MissingDependencyError
from mlpkit.export import _onnx, export_onnx, export_pt2
from mlpkit.export._deployed import Deployed
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.nn import MLP, ActivationConfig, NormName

TOLERANCE = 1e-5
GROUPS = [NAMES[start::4] for start in range(4)]


@pytest.fixture
def _onnx_installed() -> None:
    """Skip the test if the extra is not installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra mlpkit[onnx] is not installed")


def run_onnx(path: Path, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits and probabilities of onnxruntime."""
    session = importlib.import_module("onnxruntime").InferenceSession(path)
    logits, probabilities = session.run(["logits", "probabilities"], {"input": inputs.numpy()})
    return torch.from_numpy(logits), torch.from_numpy(probabilities)


@pytest.mark.usefixtures("_onnx_installed")
@pytest.mark.parametrize(("names", "norm"), list(zip(GROUPS, NORMS, strict=True)))
def test_every_activation_and_norm(
    tmp_path: Path, names: Sequence[str], norm: NormName | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """The outputs are equal for several batch sizes; there is one file and no printed output."""
    model = classifier([by_name(name) for name in NAMES if name in names], norm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = export_onnx(model, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert [found.name for found in tmp_path.iterdir()] == ["model.onnx"]
    assert model.training  # the model is not modified
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model.eval()
    images = digits().test.inputs[:100]
    with torch.no_grad():
        expected = model(images), model.predict_proba(images)
    for size in (1, 3, 100):
        logits, probabilities = run_onnx(path, images[:size])
        torch.testing.assert_close(logits, expected[0][:size], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(probabilities, expected[1][:size], rtol=0, atol=TOLERANCE)
    assert expected[1].std(0).min() > 1e-3, "the images must matter"


@pytest.mark.usefixtures("_onnx_installed")
def test_the_file_has_the_classes_and_no_local_paths(tmp_path: Path) -> None:
    """The class names are metadata; the exporter's stack traces are removed."""
    path = export_onnx(classifier(), tmp_path / "model.onnx")
    session = importlib.import_module("onnxruntime").InferenceSession(path)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(DIGITS)
    (entry,) = session.get_inputs()
    assert (entry.type, entry.shape) == ("tensor(uint8)", ["N", 8, 8])
    assert b".py" not in path.read_bytes()


@pytest.mark.usefixtures("_onnx_installed")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """The file computes in float32, with the epsilon of the original norm."""
    model = classifier(norm="rms", dtype=dtype).eval()
    images = digits().test.inputs[:20]
    logits, _ = run_onnx(export_onnx(model, tmp_path / "model.onnx"), images)
    with torch.no_grad():
        expected = model(images).float()
    atol = 2e-2 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(logits, expected, rtol=0, atol=atol)


@pytest.mark.usefixtures("_onnx_installed")
def test_examples_determine_the_input_dtype(tmp_path: Path) -> None:
    """By default a model of vectors takes float32; with examples it takes their dtype."""
    model = SoftmaxClassifier(MLP(5, (7,), 3), classes=("a", "b", "c"), mean=1.0, std=2.0)
    vectors = torch.randn(9, 5)
    logits, _ = run_onnx(export_onnx(model, tmp_path / "a.onnx"), vectors)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(vectors), rtol=0, atol=TOLERANCE)
    path = export_onnx(model, tmp_path / "b.onnx", examples=vectors.double())
    torch.testing.assert_close(run_onnx(path, vectors.double())[0], logits)


@pytest.mark.usefixtures("_onnx_installed")
def test_a_wrong_export_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If onnxruntime disagrees, the old file is unchanged and no other file is left."""
    path = tmp_path / "model.onnx"
    path.write_text("old")
    wrong = Deployed(classifier(["tanh"]))
    original = _onnx._onnx_bytes
    monkeypatch.setattr(_onnx, "_onnx_bytes", lambda _, raw: original(wrong, raw))
    with pytest.raises(ArtifactError, match=r"the exported network must equal the original, got"):
        export_onnx(classifier(["relu"]), path)
    assert [found.name for found in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "old"
    export_onnx(classifier(["relu"]), path, verify=False)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_raises(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the package and the command that installs it."""
    original = importlib.import_module

    def import_module(name: str) -> object:
        if name == package:
            raise ModuleNotFoundError(name)
        return original("json") if name.startswith("onnx") else original(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(
        MissingDependencyError, match=rf"needs {package}, .*pip install 'mlpkit\[onnx\]'"
    ):
        export_onnx(classifier(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        ([[1]], TypeError, r"examples must be a tensor of raw inputs or None, got \[\[1\]\]"),
        (torch.zeros(2, 8, 8).bool(), TypeError, r"examples must be of dtype .* got torch.bool"),
        (torch.zeros(2, 7, 8), ValueError, r"examples must be of shape \(N, 8, 8\).*\(2, 7, 8\)"),
        (torch.zeros(0, 8, 8), ValueError, r"examples must be .* N >= 1, got \(0, 8, 8\)"),
        (torch.zeros(8, 8), ValueError, r"examples must be of shape \(N, 8, 8\).*got \(8, 8\)"),
    ],
)
def test_invalid_examples_raise(
    tmp_path: Path, examples: Tensor, error: type[Exception], message: str
) -> None:
    """The error names the argument."""
    with pytest.raises(error, match=message):
        export_onnx(classifier(), tmp_path / "model.onnx", examples=examples)


def test_the_model_must_be_one_of_mlpkit(tmp_path: Path) -> None:
    """A network without preprocessing raises, before anything is exported."""
    network: object = MLP(2, (), 2)
    rule = r"model must be a SoftmaxClassifier, a .*, a Regressor or an Ensemble, got MLP"
    with pytest.raises(TypeError, match=rule):
        export_onnx(network, tmp_path / "model.onnx")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match=rule):
        export_pt2(network, tmp_path / "model.pt2")  # type: ignore[arg-type]  # likewise


def test_rrelu_has_the_mean_slope() -> None:
    """In eval mode the slope of a randomized leaky ReLU is the mean of its range."""
    model = classifier([ActivationConfig("rrelu", lower=0.1, upper=0.9)]).eval()
    images = digits().test.inputs[:5]
    with torch.no_grad():
        torch.testing.assert_close(Deployed(model)(images)[0], model(images))


@pytest.mark.usefixtures("_onnx_installed")
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_inputs_that_float32_cannot_represent(tmp_path: Path, dtype: torch.dtype) -> None:
    """The file subtracts the mean in float64, as the model does."""
    examples = (torch.arange(201)[:, None] + 1_700_000_000).to(dtype)
    data = LabeledTensors(examples, torch.arange(201) % 3, ("a", "b", "c"))
    model = SoftmaxClassifier.for_data(data, (8,))
    path = export_onnx(model, tmp_path / "far.onnx", examples=examples)
    session = importlib.import_module("onnxruntime").InferenceSession(str(path))
    (found,) = session.run(["probabilities"], {"input": examples.numpy()})
    expected = model.predict_proba(examples)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-6)
    assert len(torch.unique(expected, dim=0)) == 201


def outputs_of(path: Path, inputs: Tensor) -> dict[str, Tensor]:
    """Return all outputs of onnxruntime by name."""
    session = importlib.import_module("onnxruntime").InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"input": inputs.numpy()})
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


def metadata_of(path: Path) -> dict[str, object]:
    """Return the metadata of a file."""
    session = importlib.import_module("onnxruntime").InferenceSession(str(path))
    values = session.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in values.items()}


@pytest.mark.usefixtures("_onnx_installed")
@pytest.mark.parametrize("kind", ["labels", "one label"])
def test_labels_have_logits_and_probabilities(tmp_path: Path, kind: Literal["labels"]) -> None:
    """At the fitted temperatures; the thresholds are metadata."""
    model = make_model(kind)
    assert isinstance(model, MultilabelClassifier)
    model.temperature.copy_(torch.linspace(0.5, 2, len(model.classes)))
    path = export_onnx(model, tmp_path / "model.onnx")
    for n in (1, 3, 30):
        x = images(n)
        found = outputs_of(path, x)
        with torch.no_grad():
            torch.testing.assert_close(found["logits"], model(x), rtol=1e-5, atol=TOLERANCE)
        expected = model.predict_proba(x)
        torch.testing.assert_close(found["probabilities"], expected, rtol=1e-5, atol=TOLERANCE)
        assert found["probabilities"].shape == (n, *model.target_shape)
    metadata = metadata_of(path)
    assert metadata.pop("thresholds") == pytest.approx([0.4] * len(model.classes))
    assert metadata == {"kind": "MultilabelClassifier", "classes": list(model.classes)}


@pytest.mark.usefixtures("_onnx_installed")
@pytest.mark.parametrize("kind", ["regressor", "vector", "with std"])
def test_a_regressor_has_predictions_in_its_units(tmp_path: Path, kind: Literal["vector"]) -> None:
    """And with predicts_std their standard deviation."""
    model = make_model(kind)
    assert isinstance(model, Regressor)
    path = export_onnx(model, tmp_path / "model.onnx")
    for n in (1, 3, 30):
        x = images(n)
        found = outputs_of(path, x)
        assert list(found) == (["prediction", "std"] if model.predicts_std else ["prediction"])
        torch.testing.assert_close(found["prediction"], model.predict(x), rtol=1e-5, atol=1e-4)
        if model.predicts_std:
            torch.testing.assert_close(found["std"], model.predict_std(x), rtol=1e-4, atol=1e-6)
    names = None if model.target_names is None else list(model.target_names)
    assert metadata_of(path) == {"kind": "Regressor", "targets": names}


@pytest.mark.usefixtures("_onnx_installed")
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_a_float64_model_of_large_columns_keeps_them_apart(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    """The weights become float32, and the mean keeps what float32 cannot represent."""
    inputs = (torch.arange(201)[:, None] + 1_700_000_000_000).to(dtype)
    data = LabeledTensors(inputs, torch.randn(201).double())
    model = Regressor.with_network(MLP(1, (8,), 1, dtype=torch.float64), data)
    found = outputs_of(export_onnx(model, tmp_path / "far.onnx", examples=inputs), inputs)
    expected = model.predict(inputs).float()
    torch.testing.assert_close(found["prediction"], expected, rtol=1e-3, atol=1e-3)
    assert len(set(expected.tolist())) > 190
