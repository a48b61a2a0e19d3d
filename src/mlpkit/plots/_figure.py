"""Figure of a plot; the module imports matplotlib."""

from __future__ import annotations

import io

import matplotlib.figure

__all__ = ["Figure"]


class Figure(matplotlib.figure.Figure):
    """A figure that a notebook displays where pyplot is not imported.

    IPython knows how to display the figures of matplotlib only after pyplot has been imported; then
    it does not call the method of this class, so a figure is never displayed twice.
    """

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi="figure")
        return file.getvalue()
