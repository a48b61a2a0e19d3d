"""Segmentation of ink from paper, for unknown paper, pen and lighting."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlpkit._checks import Unquoted, error_message
from mlpkit.data.images._gray import GrayPlane
from mlpkit.errors import DataError

_FIT_SIDE = 48  # the paper is fitted to a sample of at most 48 x 48 pixels
_FIT_ITERATIONS = 25
_SIGMA_OF_MAD = 1.4826  # ratio of standard deviation to median absolute deviation, normal noise
_MIN_CONTRAST = 6.0  # ink to noise ratio; the largest of 65,536 normal numbers is about 4.3
_NORMAL_QUARTILE = 0.3186  # of the absolute value of a standard normal number
_MIN_ROUGHNESS = 0.1  # fraction of the variance: strokes are no quadratic surface
_MAX_LINE = 0.05  # thickness of a line as a fraction of its length; strokes of digits: 0.1
_SLOPES = np.linspace(-0.1, 0.1, 21)  # of lines in a picture that is not quite upright
_MIN_SPAN = 0.8  # fraction of the picture across which a line or a frame reaches
_MIN_SIDE = 0.9  # fraction of a side of a frame that is inked
_MIN_PAPER = 0.1  # fraction of the brightest paper: where it is darker, shadow hides the ink
_MIN_STROKE = 0.1  # fraction of full ink: fainter pixels do not belong to a stroke
_MIN_COMPONENT = 0.05  # fraction of the ink of the largest component: smaller ones are specks


class Ink(NamedTuple):
    """The ink found in an image.

    Attributes:
        amount: Amount of ink, 0 on paper and 1 in the middle of a stroke, shape (H, W).
        box: Bounding box as (top, bottom, left, right); bottom and right are exclusive.
    """

    amount: GrayPlane
    box: tuple[int, int, int, int]


def find_ink(grays: GrayPlane) -> Ink:
    """Return the ink of an image of at most a few hundred pixels per side.

    If nothing stands out, the image may be cropped so tightly that ink covers much of it. It is
    then examined once more with paper around it.

    Raises:
        DataError: If nothing stands out from the paper.
    """
    contrast = _contrast(grays)
    noise = _SIGMA_OF_MAD * float(np.median(np.abs(contrast - np.median(contrast))))
    floor = 1e-6 * max(1.0, float(np.abs(grays).max()))  # rounding
    try:
        return _separate_ink(contrast, noise, floor)
    except DataError:
        if np.ptp(grays) <= floor or _is_smooth(grays):
            raise
    height, width = grays.shape
    margin = max(height, width)
    padded = np.pad(grays, margin, constant_values=_gray_of_border(grays))
    noise = _local_noise(grays)
    amount, (top, bottom, left, right) = _separate_ink(_contrast(padded), noise, floor)
    box = (
        max(top - margin, 0),
        min(bottom - margin, height),
        max(left - margin, 0),
        min(right - margin, width),
    )
    return Ink(amount[margin:-margin, margin:-margin], box)


def check_no_lines(ink: Ink) -> None:
    """Raise if the ink of a whole picture holds a frame, or lines across the picture.

    Scaled to the size of a digit, they would be taken for a part of it.

    Raises:
        DataError: If there is such a line.
    """
    mask = ink.amount >= _MIN_STROKE
    labels = _connected_components(mask)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    numbers = np.flatnonzero(counts >= _MIN_COMPONENT * counts.max())
    for number in numbers:
        component = labels == number
        others = mask & ~component
        # A thin stroke of a digit that fills the picture is a line too, but it is all the ink there
        # is, and does not reach both borders.
        is_line = any(
            _is_line_across(turned) and (len(numbers) > 1 or _reaches_both_borders(turned))
            for turned in (component, component.T)
        )
        if is_line or _is_frame_around(component, others):
            cure = "crop the image so that only the digit stands out"
            found = "an image with a line that spans the picture or a frame"
            raise DataError(error_message("image", "an image of a digit", Unquoted(found), cure))


def _reaches_both_borders(component: npt.NDArray[np.bool_]) -> bool:
    return bool(component[:, :2].any() and component[:, -2:].any())


def _is_line_across(component: npt.NDArray[np.bool_]) -> bool:
    """Return whether a component holds a thin, straight line from left to right."""
    height, width = component.shape
    padded = np.zeros((height + 1, width), dtype=np.int8)
    padded[1:] = component
    runs = (np.diff(padded, axis=0) == 1).sum(axis=0)
    reached = runs > 0
    thickness = component.sum(axis=0)[reached] / runs[reached]
    is_thin = thickness <= _MAX_LINE * width
    if reached.mean() < _MIN_SPAN or is_thin.mean() < 0.5:
        return False
    wide = _dilate(component)
    rows, columns = np.mgrid[0:height, 0:width]
    for slope in _SLOPES:
        sheared = rows + np.rint(slope * (columns - width / 2)).astype(int)
        is_inside = (sheared >= 0) & (sheared < height)
        inked = wide[sheared.clip(0, height - 1), columns] & is_inside
        if inked.mean(axis=1).max() >= _MIN_SPAN:
            return True
    return False


def _is_frame_around(component: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_]) -> bool:
    """Return whether at least three sides of a box are drawn, with other ink in the box."""
    rows, columns = np.flatnonzero(component.any(axis=1)), np.flatnonzero(component.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = component[box]
    height, width = inside.shape
    if height < _MIN_SPAN * component.shape[0] or width < _MIN_SPAN * component.shape[1]:
        return False
    down, across = inside.mean(axis=1) >= _MIN_SIDE, inside.mean(axis=0) >= _MIN_SIDE
    quarter, fourth = max(1, height // 4), max(1, width // 4)
    sides = (down[:quarter], down[-quarter:], across[:fourth], across[-fourth:])
    return sum(bool(side.any()) for side in sides) >= 3 and bool(others[box].any())


def _separate_ink(contrast: GrayPlane, noise: float, floor: float) -> Ink:
    """Return the ink, given contrast to the paper, noise and the smallest contrast that counts."""
    min_contrast = max(_MIN_CONTRAST * noise, floor)
    if contrast.max() <= min_contrast:
        raise _no_ink_error()
    threshold = _otsu(contrast.clip(min=0.0))
    full = float(np.percentile(contrast[contrast > threshold], 95))
    if full <= min_contrast:
        raise _no_ink_error()
    min_stroke = max(_MIN_STROKE * full, 4.0 * noise)
    kept = _remove_specks(contrast > min_stroke, contrast, threshold)
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    amount = np.where(_dilate(kept), contrast / full, 0.0).clip(0.0, 1.0)
    box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    return Ink(amount, box)


def _is_smooth(grays: GrayPlane) -> bool:
    """Return whether a quadratic surface explains the image, as it does paper under any light."""
    height, width = grays.shape
    spread = float(((grays - grays.mean()) ** 2).sum())
    if min(height, width) < 3:
        return True
    terms = _quadratic_terms(
        np.arange(height) / (height - 1) - 0.5, np.arange(width) / (width - 1) - 0.5
    )
    coefficients, *_ = np.linalg.lstsq(terms, grays.ravel(), rcond=None)
    rest = float(((grays.ravel() - terms @ coefficients) ** 2).sum())
    return rest < _MIN_ROUGHNESS * spread


def _gray_of_border(grays: GrayPlane) -> float:
    """Return the median of the larger of the two groups of gray values along the border."""
    border = np.concatenate([grays[0], grays[-1], grays[1:-1, 0], grays[1:-1, -1]])
    is_light = border > _otsu(grays)
    return float(np.median(border[is_light == (is_light.mean() > 0.5)]))


def _local_noise(grays: GrayPlane) -> float:
    """Return the noise as seen in neighboring pixels, most of which have the same amount of ink."""
    differences = np.abs(np.diff(grays, axis=1)).ravel()
    return float(np.quantile(differences, 0.25)) / (_NORMAL_QUARTILE * math.sqrt(2.0))


def _no_ink_error() -> DataError:
    cure = "check that ink and paper differ in brightness, and leave some paper around the digit"
    found = "an image in which nothing stands out"
    return DataError(error_message("image", "an image of a digit", Unquoted(found), cure))


def _contrast(grays: GrayPlane) -> GrayPlane:
    """Return the difference of each pixel from the paper, positive where there is ink."""
    paper = _estimate_paper(grays)
    residual = grays - paper
    if (residual**3).sum() > 0:  # ink is the longer tail: here, light ink on dark paper
        return residual
    if paper.min() <= 0.0:
        return -residual
    # Ink absorbs a fraction of the incident light, and this fraction does not depend on lighting.
    brightest = paper.max()
    contrast: GrayPlane = -residual * brightest / np.maximum(paper, _MIN_PAPER * brightest)
    return contrast


def _estimate_paper(grays: GrayPlane) -> GrayPlane:
    """Return the estimated gray value of the paper at each pixel, shape (H, W)."""
    flat = np.full_like(grays, np.median(grays))
    height, width = grays.shape
    if min(height, width) < 8:
        return flat
    rows = np.linspace(0, height - 1, min(height, _FIT_SIDE)).round().astype(int)
    columns = np.linspace(0, width - 1, min(width, _FIT_SIDE)).round().astype(int)
    sample = grays[np.ix_(rows, columns)].ravel()
    terms = _quadratic_terms(rows / (height - 1) - 0.5, columns / (width - 1) - 0.5)
    # Least absolute deviations, by iteratively reweighted least squares: the minority of inked
    # pixels does not pull the surface away from the paper.
    weights = np.ones_like(sample)
    coefficients = np.zeros(terms.shape[1])
    floor = 1e-6 * max(float(np.ptp(sample)), 1e-12)
    for _ in range(_FIT_ITERATIONS):
        weighted = terms.T * weights
        coefficients = np.linalg.solve(weighted @ terms, weighted @ sample)
        weights = 1.0 / np.maximum(np.abs(sample - terms @ coefficients), floor)
        weights /= weights.max()
    # Medians are robust against ink. For a uniform canvas both are 0, and the paper stays flat.
    curved_residual = np.median(np.abs(sample - terms @ coefficients))
    flat_residual = np.median(np.abs(sample - flat[0, 0]))
    if curved_residual >= 0.7 * flat_residual:
        return flat
    everywhere = _quadratic_terms(
        np.arange(height) / (height - 1) - 0.5, np.arange(width) / (width - 1) - 0.5
    )
    surface: GrayPlane = (everywhere @ coefficients).reshape(height, width)
    return surface


def _quadratic_terms(y: GrayPlane, x: GrayPlane) -> GrayPlane:
    """Return 1, x, y, x^2, xy, y^2 at every point of the grid, shape (points, 6)."""
    columns, rows = (axis.ravel() for axis in np.meshgrid(x, y))
    return np.stack(
        (np.ones_like(rows), columns, rows, columns**2, columns * rows, rows**2), axis=1
    )


def _otsu(values: GrayPlane) -> float:
    """Return the threshold with the largest variance between the two classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = values.size - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def _remove_specks(
    mask: npt.NDArray[np.bool_], contrast: GrayPlane, threshold: float
) -> npt.NDArray[np.bool_]:
    """Keep the components that exceed ``threshold`` somewhere and hold enough of the ink."""
    labels = _connected_components(mask)
    count = int(labels.max()) + 1
    ink = np.bincount(labels.ravel(), weights=(contrast * mask).ravel(), minlength=count)
    strong = np.bincount(labels.ravel(), weights=(contrast > threshold).ravel(), minlength=count)
    ink[strong == 0] = 0.0
    ink[0] = 0.0
    keep = ink >= _MIN_COMPONENT * ink.max()
    keep[0] = False
    kept: npt.NDArray[np.bool_] = keep[labels]
    return kept


def _dilate(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the mask extended by its 4-neighbors, which hold the faint edges of strokes."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    return wide


def _connected_components(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the component number of each pixel, 0 for background; diagonals connect."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded.ravel())
    # Runs of inked pixels along the rows, as first pixel and pixel after the last. The two columns
    # of padding separate the runs of different rows.
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    # A run touches the runs of the next row that end at or after its start and start at or before
    # its end.
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
    """Return the root of a run in the union-find forest, halving the path on the way."""
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run
