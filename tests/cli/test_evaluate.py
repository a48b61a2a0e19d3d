"""`mlpkit evaluate` against the predictions of the classifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit.data import digits
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP


def test_the_metrics_are_those_of_the_predictions(
    digits_run: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: accuracy and loss computed from the predictions; JSON has the unrounded values."""
    model, test = SoftmaxClassifier.load(digits_run / "model"), digits().test
    correct = model.predict(test.inputs) == test.targets
    chosen = model.predict_proba(test.inputs)[torch.arange(len(test)), test.targets]
    assert run_here("evaluate", str(digits_run), "digits") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"loss {-chosen.log().mean():.4f} on 360 examples")
    assert f"accuracy {correct.float().mean():.2%}" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["class", *"0123456789"]
    words = ["evaluate", str(digits_run), "digits", "--split", "val", "--json"]
    assert run_here(*words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["num_examples"] == 180
    val = digits().val
    assert val is not None
    assert printed["classification"]["accuracy"] == pytest.approx(
        (model.predict(val.inputs) == val.targets).double().mean()
    )


def test_the_temperature_is_included(digits_run: Path) -> None:
    """The loss is that of the calibrated probabilities."""
    model, test = SoftmaxClassifier.load(digits_run / "model"), digits().test
    model.temperature.fill_(3.0)
    chosen = model.predict_proba(test.inputs)[torch.arange(len(test)), test.targets]
    assert model.evaluate(test).loss == pytest.approx(float(-chosen.log().mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((64,), "0123456789", "DATASET must be a data set with examples of the model's input"),
        ((8, 8), "abcdefghij", "DATASET must be a data set with the model's classes (a, b, c"),
    ],
)
def test_a_data_set_of_other_shapes_or_classes_is_an_error(
    tmp_path: Path,
    shape: tuple[int, ...],
    classes: str,
    message: str,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, and no metrics are printed."""
    SoftmaxClassifier(MLP(64, (), 10), classes=tuple(classes), input_shape=shape).save(
        tmp_path / "model"
    )
    assert run_here("evaluate", "model", "digits") == 1
    assert capsys.readouterr().err.startswith(f"mlpkit: {message}")


@pytest.mark.parametrize("command", [("evaluate", "digits"), ("export",), ("demo",)])
def test_a_wrong_path_and_a_corrupt_model(
    tmp_path: Path,
    digits_run: Path,
    command: tuple[str, ...],
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, the error is one line with the path, and nothing is written."""
    first, *rest = command
    assert run_here(first, "nowhere", *rest) == 1
    printed = capsys.readouterr()
    assert "'nowhere'" in printed.err
    assert len(printed.err.splitlines()) == 1
    model = tmp_path / "model"
    model.mkdir()
    content = (digits_run / "model" / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:-3] + b"abc")
    assert run_here(first, "model", *rest) == 1
    printed = capsys.readouterr()
    assert "model.safetensors must hold the weights that were saved" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
