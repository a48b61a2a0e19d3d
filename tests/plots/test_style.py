"""The common style of the plots."""

from __future__ import annotations

import sys

import matplotlib
import pytest
from matplotlib.figure import Figure

from mlpkit import plots
from mlpkit.errors import MissingDependencyError
from mlpkit.plots import _style as style


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_text_and_the_first_lines_have_enough_contrast(appearance: plots.Appearance) -> None:
    """The contrast to the background is at least 4.5 for text and 3 for the first two lines."""
    look = style.LOOKS[appearance]

    def contrast(color: str) -> float:
        dark, light = sorted((luminance(color), luminance(look.paper)))
        return (light + 0.05) / (dark + 0.05)

    assert min(contrast(look.ink), contrast(look.quiet)) >= 4.5
    assert min(map(contrast, look.series[:2])) >= 3.0


def test_an_unknown_appearance_raises() -> None:
    """The error lists the two values."""
    with pytest.raises(ValueError, match="appearance must be one of 'dark', 'light', got 'drak'"):
        plots.activation_functions(appearance="drak")  # type: ignore[arg-type]


def test_images_have_no_grid_whatever_the_settings_of_matplotlib() -> None:
    """The setting `axes.grid` does not draw lines through images."""
    figure = Figure()
    with matplotlib.rc_context({"axes.grid": True}):
        axes = figure.add_subplot()
        assert axes.xaxis.get_gridlines()[0].get_visible()
        style.style_axes(axes, style.LOOKS["light"], frame=False)
    lines = [*axes.xaxis.get_gridlines(), *axes.yaxis.get_gridlines()]
    assert not any(line.get_visible() for line in lines)


def test_a_missing_matplotlib_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the command that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "mlpkit.plots._figure", raising=False)  # imports it once
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlpkit\[plot\]'"):
        plots.activation_functions()
