"""The coordinates of matplotlib lines as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

__all__ = ["xs", "ys"]


def xs(line: Line2D) -> npt.NDArray[np.float64]:
    """Return the x coordinates of the points of a line."""
    return np.asarray(line.get_xdata(), dtype=np.float64)


def ys(line: Line2D) -> npt.NDArray[np.float64]:
    """Return the y coordinates of the points of a line."""
    return np.asarray(line.get_ydata(), dtype=np.float64)
