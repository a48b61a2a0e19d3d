"""`mlpkit export` writes what the model computes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit.data import digits
from mlpkit.models._softmax_classifier import SoftmaxClassifier


def test_pt2(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program gives the model's probabilities; its path is all that is printed."""
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
    """Onnxruntime gives the model's probabilities from the file of the default name."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra mlpkit[onnx] is not installed")
    assert run_here("export", str(digits_run)) == 0
    assert capsys.readouterr() == ("model.onnx\n", "")
    images = digits().test.inputs[:50]
    session = importlib.import_module("onnxruntime").InferenceSession(tmp_path / "model.onnx")
    (probabilities,) = session.run(["probabilities"], {"input": images.numpy()})
    expected = SoftmaxClassifier.load(digits_run / "model").predict_proba(images)
    torch.testing.assert_close(torch.from_numpy(probabilities), expected, rtol=0, atol=1e-5)


def test_a_missing_package_is_one_sentence(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 and the command that installs it."""
    honest = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == "onnx":
            raise ModuleNotFoundError(name)
        return honest(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    assert run_here("export", str(digits_run)) == 1
    assert capsys.readouterr().err == (
        "mlpkit: export_onnx needs onnx, which cannot be imported; pip install 'mlpkit[onnx]'\n"
    )
    assert list(tmp_path.iterdir()) == []
