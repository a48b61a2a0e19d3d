"""The preprocessing of drawings, run in Node, against torch and center_digit."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

import mlpkit.demo
from mlpkit.data import center_digit

RunNode = Callable[..., object]
Ink = npt.NDArray[np.float64]

Picture = dict[str, int | str]
MNIST: Picture = {"rows": 28, "columns": 28, "box": 20, "by": "mass", "white": 255}
DIGITS: Picture = {"rows": 8, "columns": 8, "box": 8, "by": "box", "white": 16}


def drawing(seed: int, height: int = 140, width: int = 140) -> Ink:
    """Return the ink of a thick random polygon with soft edges."""
    draw = np.random.default_rng(seed)
    side = min(height, width)
    ys, xs = np.mgrid[0:height, 0:width]
    points = draw.uniform(0.2, 0.8, (5, 2)) * side + [(height - side) / 2, (width - side) / 2]
    distance = np.full((height, width), np.inf)
    for (y0, x0), (y1, x1) in itertools.pairwise(points):
        along = ((ys - y0) * (y1 - y0) + (xs - x0) * (x1 - x0)) / ((y1 - y0) ** 2 + (x1 - x0) ** 2)
        t = np.clip(along, 0, 1)
        distance = np.minimum(distance, np.hypot(ys - y0 - t * (y1 - y0), xs - x0 - t * (x1 - x0)))
    ink = np.clip(side / 25 - distance, 0, 1)
    ink[distance > side / 25] = 0
    return np.asarray(ink.astype(np.float32), dtype=np.float64)


def resized(ink: Ink, rows: int, columns: int) -> Ink:
    """Return an image resized with torch's anti-aliased bilinear filter."""
    plane = torch.from_numpy(ink)[None, None]
    small = F.interpolate(plane, size=(rows, columns), mode="bilinear", antialias=True)
    return np.asarray(small[0, 0].numpy())


def centered(ink: Ink, picture: Picture) -> Ink:
    """Return a drawing centered in NumPy: the oracle."""
    rows, columns, box = (int(picture[key]) for key in ("rows", "columns", "box"))
    field = np.zeros((rows, columns))
    where = np.argwhere(ink > 0.1)
    if len(where) == 0:
        return field
    (top, left), (bottom, right) = where.min(0), where.max(0) + 1
    height, width = bottom - top, right - left
    scale = box / max(height, width)
    tall, wide = (max(1, math.floor(side * scale + 0.5)) for side in (height, width))
    small = resized(ink[top:bottom, left:right], tall, wide)
    if picture["by"] == "mass":
        y = (small.sum(1) * np.arange(tall)).sum() / small.sum()
        x = (small.sum(0) * np.arange(wide)).sum() / small.sum()
    else:
        y, x = tall / 2, wide / 2
    down = min(max(math.floor(rows / 2 - y + 0.5), 0), rows - tall)
    across = min(max(math.floor(columns / 2 - x + 0.5), 0), columns - wide)
    field[down : down + tall, across : across + wide] = small / small.max()
    return np.asarray(np.floor(field * int(picture["white"]) + 0.5))


def in_node(
    run_node: RunNode, folder: Path, how: str, inks: list[Ink], picture: dict[str, int | str]
) -> list[Ink]:
    """Return drawings preprocessed by the JavaScript of the page."""
    tasks = [
        {
            "how": how,
            "ink": ink.ravel().tolist(),
            "height": ink.shape[0],
            "width": ink.shape[1],
            "picture": picture,
        }
        for ink in inks
    ]
    path = folder / "tasks.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    script = Path(mlpkit.demo.__file__).with_name("digit.js")
    results = run_node("run_digit.js", script, path)
    assert isinstance(results, list)
    shape = (int(picture["rows"]), int(picture["columns"]))
    return [np.array(result).reshape(shape) for result in results]


@pytest.mark.parametrize("picture", [MNIST, DIGITS], ids=["28x28", "8x8"])
def test_centering_equals_the_oracle(picture: Picture, tmp_path: Path, run_node: RunNode) -> None:
    """Every pixel of twelve drawings differs by at most one level; nearly all are equal."""
    inks = [drawing(seed) for seed in range(10)]
    inks += [drawing(10, 60, 200), np.pad(drawing(11, 12, 12), 60)]  # a wide board, a tiny digit
    found = in_node(run_node, tmp_path, "center", inks, picture)
    differences = np.abs(np.stack(found) - np.stack([centered(ink, picture) for ink in inks]))
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.001


def test_centering_agrees_with_center_digit(tmp_path: Path, run_node: RunNode) -> None:
    """The page and mlpkit.data.center_digit agree to one level of 255."""
    inks = [drawing(seed) for seed in range(10)]
    found = in_node(run_node, tmp_path, "center", inks, MNIST)
    for ink, page in zip(inks, found, strict=True):
        python = center_digit(np.asarray(np.round(ink * 255), dtype=np.uint8)).numpy()
        assert np.abs(page - python).max() <= 1


def test_the_center_of_mass_is_on_the_middle_pixel(tmp_path: Path, run_node: RunNode) -> None:
    """The center of mass is within half a pixel of (14, 14), as in MNIST, and the box is 20."""
    for page in in_node(run_node, tmp_path, "center", [drawing(s) for s in range(10)], MNIST):
        where = np.argwhere(page > 0)
        assert (where.max(0) - where.min(0) + 1).max() == 20
        box_rows, box_columns = where.min(0), where.max(0)
        if min(*box_rows, *(27 - box_columns)) == 0:
            continue  # limited by the edge of the image
        center = (np.indices((28, 28)) * page).sum((1, 2)) / page.sum()
        assert np.abs(center - 14).max() <= 0.51


def test_an_empty_board_is_background(tmp_path: Path, run_node: RunNode) -> None:
    """An empty board becomes an image of zeros."""
    (page,) = in_node(run_node, tmp_path, "center", [np.zeros((40, 40))], MNIST)
    assert not page.any()


@pytest.mark.parametrize("picture", [MNIST, DIGITS], ids=["28x28", "8x8"])
def test_shrinking_keeps_the_position(picture: Picture, tmp_path: Path, run_node: RunNode) -> None:
    """Without centering the whole board is resized. Oracle: torch's anti-aliased filter."""
    inks = [drawing(seed) for seed in range(5)]
    rows, columns, white = (int(picture[key]) for key in ("rows", "columns", "white"))
    for ink, page in zip(inks, in_node(run_node, tmp_path, "shrink", inks, picture), strict=True):
        expected = np.floor(resized(ink, rows, columns) * white + 0.5)
        assert np.abs(page - expected).max() <= 1
        assert (page != expected).mean() < 0.01


def test_ink_of_one_is_not_rounded(tmp_path: Path, run_node: RunNode) -> None:
    """For images in [0, 1] the values are not rounded."""
    ink = drawing(0)
    (page,) = in_node(run_node, tmp_path, "shrink", [ink], {**MNIST, "white": 1})
    np.testing.assert_allclose(page, resized(ink, 28, 28), atol=1e-6)
