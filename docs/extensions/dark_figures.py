"""Show each figure in the colors of the page: a light and a dark version of every image.

A notebook draws its figures as SVG in the light colors of ``mlpkit.plots``; the dark version is the
same file with each color replaced. A picture ``name.png`` is shown in dark mode as
``name-dark.png``, if that file exists. An image of the class ``light`` stays light on a dark page.
A figure without alternative text is an error.
"""

from __future__ import annotations

import base64
import copy
import io
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

from mlpkit.plots._style import BLUE, LOOKS, VERMILLION, Look

logger = logging.getLogger(__name__)


def colors(look: Look) -> tuple[str, ...]:
    """Return all colors of a look in one order."""
    return (look.paper, look.ink, look.quiet, look.grid, *look.series)


DARK_COLORS = dict(zip(colors(LOOKS["light"]), colors(LOOKS["dark"]), strict=True))
#: The colors that matplotlib and scikit-learn draw with by default.
DARK_COLORS |= {"#000000": LOOKS["dark"].ink, "#808080": LOOKS["dark"].quiet}
MOST_ERROR = 6  # of a channel of a blended pixel, from 0 to 255


def darken(svg: str) -> str:
    """Replace the colors of the light look in an SVG by those of the dark one."""
    pixels = r"(?<=data:image/png;base64,)\s*([A-Za-z0-9+/=\s]+)"
    svg = re.sub(pixels, lambda png: darken_pixels(png[1]), svg)
    white_text = r'(?<=<g style="fill: )#ffffff'  # on a colored cell
    return re.sub(
        rf"{white_text}|(#[0-9a-f]{{6}})",
        lambda color: DARK_COLORS.get(color[1], color[0]),
        svg,
    )


def darken_pixels(png: str) -> str:
    """Replace white in an image that blends white with blue and vermillion; others are kept.

    A heat map has these colors. A pixel is ``w + a (c - w)`` for the white ``w`` and a color ``c``.
    """
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"), np.float64)
    opaque = image[..., 3] > 0
    from_white = 255 - image[..., :3]
    best, dark = np.full(image.shape[:2], np.inf), image.copy()
    for name in (BLUE, VERMILLION):
        span = 255 - rgb(name)
        share = from_white @ span / (span @ span)
        error = np.abs(from_white - share[..., None] * span).max(axis=-1)
        paper = rgb(LOOKS["dark"].paper)
        blended = paper + share[..., None] * (rgb(name) - paper)
        dark[..., :3] = np.where((error < best)[..., None], blended, dark[..., :3])
        best = np.minimum(best, error)
    if not opaque.any() or best[opaque].max() > MOST_ERROR:
        return png
    file = io.BytesIO()
    Image.fromarray(dark.round().clip(0, 255).astype(np.uint8)).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def rgb(color: str) -> npt.NDArray[np.float64]:
    """Return red, green and blue of a color, from 0 to 255."""
    return np.array([int(color[index : index + 2], 16) for index in (1, 3, 5)], np.float64)


class DarkFigures(SphinxTransform):
    """Add the dark version beside each image that has one."""

    default_priority = 400

    def apply(self) -> None:
        """Change the document."""
        for image in list(self.document.findall(nodes.image)):
            if not image.get("alt"):
                logger.warning("an image has no alternative text", location=image)
            dark = self.dark_version(image["uri"])
            is_fixed = {"only-light", "only-dark"} & set(image["classes"])
            if dark is not None and not is_fixed:
                twin = copy.copy(image)
                twin.attributes = {**image.attributes, "uri": dark}
                image["classes"] = [*image["classes"], "only-light"]
                twin["classes"] = [*twin["classes"], "only-dark"]
                image.parent.insert(image.parent.index(image) + 1, twin)

    def dark_version(self, uri: str) -> str | None:
        """Return the address of the dark version, which is written if the image is an SVG."""
        if "://" in uri:
            return None
        _, path = self.env.relfn2path(uri)
        dark = Path(path).with_name(f"{Path(path).stem}-dark{Path(path).suffix}")
        if path.endswith(".svg") and "jupyter_execute" in path:
            dark.write_text(darken(Path(path).read_text("utf-8")), "utf-8")
        if not dark.exists():
            return None
        return str(Path(uri).with_name(dark.name))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the transform."""
    app.add_transform(DarkFigures)
    return ExtensionMetadata(parallel_read_safe=True, parallel_write_safe=True)
