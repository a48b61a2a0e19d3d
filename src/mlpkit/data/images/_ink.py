"""Where the ink is in a picture of unknown paper, pen and light."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlpkit._checks import error_message
from mlpkit.data.images._gray import Grays
from mlpkit.errors import DataError

_FIT_SIDE = 48  # the paper is fitted on about so many by so many pixels
_FIT_ROUNDS = 25
_SIGMA_OF_MAD = 1.4826  # standard deviation by median absolute deviation, for normal noise
_LEAST_CONTRAST = 6.0  # ink by noise; the strongest of 65,536 normal numbers is 4.3
_DARKEST = 0.1  # of the brightest paper: below it, shadow hides the ink
_FAINTEST = 0.1  # of full ink: what still belongs to a stroke
_SMALLEST_PART = 0.05  # of the ink of the largest part: what is not a speck


class Ink(NamedTuple):
    """The ink of a picture.

    Attributes:
        amount: 0 on paper, 1 in the middle of a stroke, shape (H, W).
        box: First row, row after the last, first column, column after the last.
    """

    amount: Grays
    box: tuple[int, int, int, int]


def find_ink(grays: Grays) -> Ink:
    """Return the ink of a picture of at most a few hundred pixels a side.

    Raises:
        DataError: If nothing stands out from the paper.
    """
    contrast = _contrast(grays)
    noise = _SIGMA_OF_MAD * float(np.median(np.abs(contrast - np.median(contrast))))
    least = max(_LEAST_CONTRAST * noise, 1e-6 * max(1.0, float(np.abs(grays).max())))
    if contrast.max() <= least:
        raise _empty()
    threshold = _otsu(contrast.clip(min=0.0))
    full = float(np.percentile(contrast[contrast > threshold], 95))
    if full <= least:
        raise _empty()
    faintest = max(_FAINTEST * full, 4.0 * noise)
    kept = _without_specks(contrast > faintest, contrast, threshold)
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    amount = np.where(_widened(kept), contrast / full, 0.0).clip(0.0, 1.0)
    box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    return Ink(amount, box)


def _empty() -> DataError:
    cure = "crop to the digit, and see that pen and paper differ"
    found = "an empty one: nothing stands out"
    return DataError(error_message("image", "a picture of a digit", found, cure))


def _contrast(grays: Grays) -> Grays:
    """Return how far each pixel differs from the paper, positive where there is ink."""
    paper = _paper(grays)
    residual = grays - paper
    if (residual**3).sum() > 0:  # the longer tail is the ink: light on dark
        return residual
    if paper.min() <= 0.0:
        return -residual
    # Ink takes away a share of the light that falls there, which light and shadow do not change.
    brightest = paper.max()
    contrast: Grays = -residual * brightest / np.maximum(paper, _DARKEST * brightest)
    return contrast


def _paper(grays: Grays) -> Grays:
    """Return the gray that the paper would have at each pixel without ink."""
    flat = np.full_like(grays, np.median(grays))
    height, width = grays.shape
    if min(height, width) < 8:
        return flat
    rows = np.linspace(0, height - 1, min(height, _FIT_SIDE)).round().astype(int)
    columns = np.linspace(0, width - 1, min(width, _FIT_SIDE)).round().astype(int)
    sample = grays[np.ix_(rows, columns)].ravel()
    terms = _quadratic(rows / (height - 1) - 0.5, columns / (width - 1) - 0.5)
    # Least absolute deviations: a surface through the paper, which the fewer inked pixels cannot
    # pull away; by least squares reweighted.
    weights = np.ones_like(sample)
    coefficients = np.zeros(terms.shape[1])
    floor = 1e-6 * max(float(np.ptp(sample)), 1e-12)
    for _ in range(_FIT_ROUNDS):
        weighted = terms.T * weights
        coefficients = np.linalg.solve(weighted @ terms, weighted @ sample)
        weights = 1.0 / np.maximum(np.abs(sample - terms @ coefficients), floor)
        weights /= weights.max()
    # Medians, which the ink does not reach. A plain canvas has 0 here, and stays plain.
    uneven = np.median(np.abs(sample - terms @ coefficients))
    even = np.median(np.abs(sample - flat[0, 0]))
    if uneven >= 0.7 * even:
        return flat
    everywhere = _quadratic(
        np.arange(height) / (height - 1) - 0.5, np.arange(width) / (width - 1) - 0.5
    )
    surface: Grays = (everywhere @ coefficients).reshape(height, width)
    return surface


def _quadratic(y: Grays, x: Grays) -> Grays:
    """Return 1, x, y, x^2, xy, y^2 at every point of a lattice, shape (points, 6)."""
    columns, rows = (axis.ravel() for axis in np.meshgrid(x, y))
    return np.stack(
        (np.ones_like(rows), columns, rows, columns**2, columns * rows, rows**2), axis=1
    )


def _otsu(values: Grays) -> float:
    """Return the threshold that parts the values into the two most compact groups (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = values.size - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def _without_specks(
    mask: npt.NDArray[np.bool_], contrast: Grays, threshold: float
) -> npt.NDArray[np.bool_]:
    """Keep the connected parts that are somewhere dark and have their share of the ink."""
    labels = _connected(mask)
    number = int(labels.max()) + 1
    ink = np.bincount(labels.ravel(), weights=(contrast * mask).ravel(), minlength=number)
    dark = np.bincount(labels.ravel(), weights=(contrast > threshold).ravel(), minlength=number)
    ink[dark == 0] = 0.0
    ink[0] = 0.0
    keep = ink >= _SMALLEST_PART * ink.max()
    keep[0] = False
    kept: npt.NDArray[np.bool_] = keep[labels]
    return kept


def _widened(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a mask with its neighbors above, below, left and right: the faint edge of strokes."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide


def _connected(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return a number for each connected part, diagonals included, and 0 outside."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded.ravel())
    # Runs of inked pixels along the rows: first pixel, and pixel after the last. The two columns
    # of padding keep the runs of different rows apart.
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    # A run touches those of the next row that end at its start or later and start by its end.
    first = np.searchsorted(ends, starts + width + 2, side="left")
    last = np.searchsorted(starts, ends + width + 2, side="right")
    parents = list(range(len(starts)))
    for run, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for touched in range(low, high):
            parents[_root(parents, touched)] = _root(parents, run)
    roots = np.array([_root(parents, run) for run in range(len(parents))], dtype=np.int64)
    _, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, dtype=np.int64)
    labels[mask] = np.repeat(numbers + 1, ends - starts)
    return labels


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run
