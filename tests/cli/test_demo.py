"""`mlpkit demo`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlpkit.demo import write_demo
from mlpkit.models import SoftmaxClassifier


def test_the_page_is_that_of_write_demo(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The file at the printed path is byte for byte that of write_demo."""
    assert run_here("demo", str(digits_run), "--title", "Ours") == 0
    assert capsys.readouterr() == ("demo.html\n", "")
    model = SoftmaxClassifier.load(digits_run / "model")
    expected = write_demo(model, tmp_path / "expected.html", title="Ours").read_bytes()
    assert (tmp_path / "demo.html").read_bytes() == expected
