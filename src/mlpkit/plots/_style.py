"""The colors and the layout of every plot, without changes to matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from mlpkit._checks import check_choice
from mlpkit.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = [
    "BLUE",
    "VERMILLION",
    "Appearance",
    "Look",
    "add_colorbar",
    "add_legend",
    "blend",
    "new_figure",
    "style_axes",
]

Appearance: TypeAlias = Literal["light", "dark"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The colors of a plot as hexadecimal RGB; ``series`` are those of lines and bars."""

    paper: str
    ink: str
    quiet: str
    grid: str
    series: tuple[str, ...]


# Okabe and Ito (2008), Color Universal Design: distinguishable with every type of color vision.
# Its yellow and black are left out; they have too little contrast to a white or black background.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
SKY, ORANGE, PURPLE = "#56b4e9", "#e69f00", "#cc79a7"

LOOKS: Mapping[Appearance, Look] = {
    "light": Look(
        paper="#ffffff",
        ink="#141c2b",
        quiet="#55617a",
        grid="#e3e7ee",
        series=(BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY),
    ),
    "dark": Look(
        paper="#141b28",
        ink="#edf1f8",
        quiet="#a0adc3",
        grid="#2a3549",
        series=(SKY, ORANGE, GREEN, PURPLE, VERMILLION, BLUE),
    ),
}


def new_figure(width: float, height: float, appearance: Appearance) -> tuple[Figure, Look]:
    """Return an empty figure of a size in inches with constrained layout, and its colors."""
    look = LOOKS[check_choice("appearance", appearance, get_args(Appearance))]
    try:
        from mlpkit.plots._figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "mlpkit.plots needs matplotlib, which cannot be imported; pip install 'mlpkit[plot]'"
        ) from error
    figure = Figure(figsize=(width, height), facecolor=look.paper, dpi=120)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    return figure, look


def style_axes(axes: Axes, look: Look, *, title: str = "", frame: bool = True) -> None:
    """Set the colors, ticks and left-aligned title of axes; a frame has a grid."""
    axes.set_facecolor(look.paper)
    axes.set_title(title, loc="left", color=look.ink, fontsize=10, fontweight="bold")
    axes.xaxis.label.set_color(look.ink)
    axes.yaxis.label.set_color(look.ink)
    axes.tick_params(which="both", colors=look.quiet, labelcolor=look.ink, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(frame and side in ("left", "bottom"))
        spine.set_color(look.quiet)
    if frame:
        axes.grid(visible=True, color=look.grid, linewidth=0.8)
        axes.set_axisbelow(True)
    else:
        axes.grid(visible=False)  # a matplotlibrc may turn it on


def add_legend(
    figure: Figure, look: Look, handles: Sequence[Artist], labels: Sequence[str], *, columns: int
) -> None:
    """Add a legend below all axes."""
    figure.legend(
        list(handles),
        list(labels),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        labelcolor=look.ink,
        fontsize=9,
    )


def add_colorbar(figure: Figure, axes: Axes, image: AxesImage, look: Look, *, label: str) -> None:
    """Add the color scale of an image beside its axes."""
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label(label, color=look.ink)
    bar.ax.tick_params(colors=look.quiet, labelcolor=look.ink, labelsize=9)
    bar.outline.set_visible(False)


def blend(*colors: str) -> LinearSegmentedColormap:
    """Return a color map that interpolates linearly between evenly spaced colors."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("mlpkit", list(colors))
