"""`mlpkit export` against the model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit import MLP
from mlpkit.data import digits
from mlpkit.models import Regressor, SoftmaxClassifier


def test_pt2(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program has the model's probabilities; only its path is printed."""
    words = ["export", str(digits_run), "--to", "pt2", "--out", "other.pt2"]
    assert run_here(*words) == 0
    assert capsys.readouterr() == ("other.pt2\n", "")
    images = digits().test.inputs[:50]
    _, probabilities = torch.export.load(tmp_path / "other.pt2").module()(images)
    expected = SoftmaxClassifier.load(digits_run / "model").predict_proba(images)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-5)


def test_onnx(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The file with the default name has the model's probabilities in onnxruntime."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra mlpkit[onnx] is not installed")
    assert run_here("export", str(digits_run)) == 0
    assert capsys.readouterr() == ("model.onnx\n", "")
    images = digits().test.inputs[:50]
    session = importlib.import_module("onnxruntime").InferenceSession(tmp_path / "model.onnx")
    (probabilities,) = session.run(["probabilities"], {"input": images.numpy()})
    expected = SoftmaxClassifier.load(digits_run / "model").predict_proba(images)
    torch.testing.assert_close(torch.from_numpy(probabilities), expected, rtol=0, atol=1e-5)


def test_a_regressor_is_exported(
    tmp_path: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The program has the predictions and the standard deviations of the model."""
    model = Regressor(MLP(4, (8,), 4), target_shape=(2,), predicts_std=True, target_mean=9.0)
    model.save(tmp_path / "model")
    assert run_here("export", "model", "--to", "pt2") == 0
    assert capsys.readouterr() == ("model.pt2\n", "")
    inputs = torch.randn(5, 4)
    found, stds = torch.export.load(tmp_path / "model.pt2").module()(inputs)
    torch.testing.assert_close(found, model.predict(inputs), rtol=0, atol=1e-5)
    torch.testing.assert_close(stds, model.predict_std(inputs), rtol=0, atol=1e-5)


def test_a_missing_package_is_an_error(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, and the error has the command that installs the package."""
    original = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name == "onnx":
            raise ModuleNotFoundError(name)
        return original(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert run_here("export", str(digits_run)) == 1
    assert capsys.readouterr().err == (
        "mlpkit: export_onnx needs onnx, which cannot be imported; pip install 'mlpkit[onnx]'\n"
    )
    assert list(tmp_path.iterdir()) == []
