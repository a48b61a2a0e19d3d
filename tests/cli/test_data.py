"""`mlpkit data`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlpkit.data import digits


def test_info_has_license_and_citation(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The output contains the license, the citation and the sizes of the splits."""
    assert run_here("data", "info", "digits") == 0
    facts = capsys.readouterr().out
    assert "CC BY 4.0" in facts
    assert "Alpaydin" in facts
    assert "1,257 training, 180 validation, 360 test" in facts


def test_show_has_one_row_per_class(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Oracle: the first digit of class 0 is in the upper left corner of the image."""
    assert run_here("data", "show", "digits", "--columns", "5") == 0
    assert capsys.readouterr().out == "digits.png\n"
    train = digits().train
    first = train.inputs[train.targets == 0][0].numpy().astype(np.float32) * 255 / 16
    with Image.open(tmp_path / "digits.png") as image:
        pixels = np.asarray(image.convert("L")).astype(np.float32)
    assert pixels.shape[0] == pytest.approx(2 * pixels.shape[1], rel=0.1)  # ten rows of five
    enlarged = first.repeat(2, axis=0).repeat(2, axis=1)
    corners = [
        np.abs(pixels[top : top + 16, left : left + 16] - enlarged).max()
        for top in range(4)
        for left in range(4)
    ]
    assert min(corners) <= 1.0


def test_an_invalid_number_of_columns_is_an_error(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The error names the option, and nothing is written."""
    assert run_here("data", "show", "digits", "--columns", "0") == 1
    assert "columns must be a positive integer, got 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
