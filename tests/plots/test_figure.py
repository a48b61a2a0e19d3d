"""The figure of a plot: notebooks display it as an image; a real kernel does in tests/training."""

from __future__ import annotations

import io
import pickle

from PIL import Image

from mlpkit import plots


def test_a_notebook_gets_the_picture_that_is_saved() -> None:
    figure = plots.activation_functions(("relu",), appearance="dark")
    shown = vars(type(figure))["_repr_png_"](figure)
    file = io.BytesIO()
    figure.savefig(file)
    with Image.open(io.BytesIO(shown)) as one, Image.open(file) as other:
        assert one.format == "PNG"
        assert (one.width, one.size) == (round(120 * 2.8), other.size)
        assert one.tobytes() == other.tobytes()
        assert one.getpixel((0, 0)) == (0x14, 0x1B, 0x28, 255)  # the dark background


def test_it_is_a_figure_of_matplotlib() -> None:
    figure = plots.activation_functions(("relu",))
    assert repr(figure).startswith("<Figure size ")
    assert repr(pickle.loads(pickle.dumps(figure))) == repr(figure)
