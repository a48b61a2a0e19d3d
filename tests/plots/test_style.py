"""What every picture has in common."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlpkit import plots
from mlpkit.errors import MissingDependencyError
from mlpkit.plots import _style as style


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_words_and_the_first_lines_stand_out(appearance: style.Appearance) -> None:
    """Contrast on the paper: words 4.5 to 1 at least, the two usual line colors 3 to 1."""
    look = style.LOOKS[appearance]

    def contrast(color: str) -> float:
        dark, light = sorted((luminance(color), luminance(look.paper)))
        return (light + 0.05) / (dark + 0.05)

    assert min(contrast(look.ink), contrast(look.quiet)) >= 4.5
    assert min(map(contrast, look.series[:2])) >= 3.0


def test_an_unknown_appearance_is_refused() -> None:
    """One of two words."""
    with pytest.raises(ValueError, match="appearance must be one of 'dark', 'light', got 'drak'"):
        plots.activation_functions(appearance="drak")  # type: ignore[arg-type]


def test_without_matplotlib_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The extra that brings it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlpkit\[plot\]'"):
        plots.activation_functions()


SCRIPT = """
import sys
import mlpkit.plots
assert "matplotlib" not in sys.modules
mlpkit.plots.activation_functions(("relu",))
assert "matplotlib.pyplot" not in sys.modules
"""


def test_neither_matplotlib_at_import_nor_pyplot_ever() -> None:
    """A fresh interpreter imports the module without matplotlib, and draws without pyplot."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
