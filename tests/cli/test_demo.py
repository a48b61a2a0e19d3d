"""`mlpkit demo` writes the page of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlpkit.demo import write_demo
from mlpkit.models._softmax_classifier import SoftmaxClassifier


def test_the_page_is_that_of_write_demo(
    tmp_path: Path,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same file, byte for byte, at the path that is printed."""
    assert run_here("demo", str(digits_run), "--title", "Ours") == 0
    assert capsys.readouterr() == ("demo.html\n", "")
    model = SoftmaxClassifier.load(digits_run / "model")
    expected = write_demo(model, tmp_path / "expected.html", title="Ours").read_bytes()
    assert (tmp_path / "demo.html").read_bytes() == expected
