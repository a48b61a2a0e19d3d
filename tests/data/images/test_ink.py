"""Segmentation of ink: threshold, connected components and paper, each against an oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from mlpkit.data.images._ink import _connected_components, _estimate_paper, _otsu, find_ink


@given(
    arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.booleans()),
)
def test_connected_components_are_those_of_scipy(
    mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
) -> None:
    """Diagonals connect. The numbering may differ from SciPy's, the components may not."""
    expected, number = label(mask, np.ones((3, 3)))
    found = _connected_components(mask)
    assert found.max() == number
    assert len(set(zip(found.flat, expected.flat, strict=True))) == len(set(expected.flat))


def test_a_spiral_is_one_component() -> None:
    mask = np.zeros((41, 41), dtype=np.bool_)
    for ring in range(0, 20, 2):
        mask[ring, ring : 41 - ring] = mask[40 - ring, ring : 41 - ring] = True
        mask[ring:, 40 - ring][: 41 - 2 * ring] = True
        mask[ring + 2 : 41 - ring, ring] = True
        mask[ring + 2, ring + 1] = True
    assert _connected_components(mask).max() == label(mask, np.ones((3, 3)))[1]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_otsus_threshold_is_that_of_a_loop(share: float) -> None:
    """The oracle minimizes the variance within the two classes over all edges of the histogram."""
    generator = np.random.default_rng(1)
    values = np.where(generator.random(4_000) < share, 0.8, 0.1) + generator.normal(0, 0.08, 4_000)
    values = values.clip(0, 1)
    edges = np.histogram_bin_edges(values, bins=256)[1:-1]
    within = [
        values[values <= edge].var() * (values <= edge).mean()
        + values[values > edge].var() * (values > edge).mean()
        for edge in edges
    ]
    found = _otsu(values.reshape(40, 100))
    assert found == pytest.approx(edges[int(np.argmin(within))], abs=0.03)


def test_ink_does_not_bias_the_estimated_paper() -> None:
    """A quadratic surface is found within 4 gray levels, although a quarter of it is 90 darker."""
    y, x = np.mgrid[-1:1:60j, -1:1:80j]
    light = 160 + 30 * x - 20 * y + 15 * x * y - 25 * x**2
    grays = light + np.random.default_rng(0).normal(0, 1, light.shape)
    grays[20:45, 15:60] -= 90
    assert np.abs(_estimate_paper(grays) - light).max() < 4.0


def test_uniform_paper_stays_uniform() -> None:
    grays = np.full((50, 60), 255.0)
    grays[10:40, 5:45] = 0.0
    assert (_estimate_paper(grays) == 255.0).all()


def test_the_box_is_the_bounding_box_of_the_ink() -> None:
    grays = np.zeros((40, 50))
    grays[7:30, 11:23] = 200.0
    ink = find_ink(grays)
    assert ink.box == (7, 30, 11, 23)
    assert np.array_equal(ink.amount, grays / 200)
