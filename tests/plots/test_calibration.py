"""Reliability against the metric of the trainer, against SciPy, and as plotted."""

from __future__ import annotations

import importlib

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from scipy.stats import binomtest
from tests.plots.lines import xs

from mlpkit.plots import calibration, reliability
from mlpkit.training.metrics import ClassificationAccumulator, MultilabelAccumulator


def example(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and targets."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (count,), generator=generator)


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_the_calibration_error_equals_the_metric(num_bins: int) -> None:
    """Oracle: the calibration error of ClassificationAccumulator."""
    logits, targets = example()
    metrics = ClassificationAccumulator(num_bins=num_bins)
    metrics.update(logits, targets)
    found = reliability(logits.softmax(-1), targets, num_bins=num_bins)
    expected = metrics.compute().calibration_error
    assert found.calibration_error == pytest.approx(expected, abs=1e-12)
    assert sum(b.count for b in found.bins) == found.num_examples == 400


def test_bins_against_a_loop() -> None:
    """Oracle: counts and means from a loop over the examples, and Wilson's interval of SciPy."""
    logits, targets = example()
    probabilities = logits.softmax(-1)
    confidence, predicted = probabilities.max(-1)
    for found in reliability(probabilities, targets, num_bins=10).bins:
        inside = [
            index for index in range(400) if found.lower < float(confidence[index]) <= found.upper
        ]
        right = sum(int(predicted[index] == targets[index]) for index in inside)
        assert found.count == len(inside)
        assert found.accuracy == right / len(inside)
        mean = np.mean([float(confidence[index]) for index in inside])
        assert found.confidence == pytest.approx(float(mean), rel=1e-12)
        interval = binomtest(right, len(inside)).proportion_ci(method="wilson")
        assert found.interval == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_diagram_shows_the_bins() -> None:
    """Points are confidence and accuracy in percent; bars are the shares of the examples."""
    logits, targets = example()
    found = reliability(logits.softmax(-1), targets, num_bins=10)
    above, below = calibration(logits.softmax(-1), targets, num_bins=10).axes
    assert points_of(above)[:, 0] == pytest.approx([100 * b.confidence for b in found.bins])
    assert points_of(above)[:, 1] == pytest.approx([100 * b.accuracy for b in found.bins])
    heights = [patch.get_height() for patch in below.patches]  # type: ignore[attr-defined]  # bars
    np.testing.assert_allclose(heights, [b.count / 4 for b in found.bins])
    assert f"{100 * found.calibration_error:.2f} %" in above.get_title(loc="left")
    assert (above.get_ylabel(), below.get_ylabel()) == ("accuracy [%]", "examples [%]")


def test_bins_with_few_predictions_fade() -> None:
    """Opacity is the share of 30 predictions, at least 0.3; a segment has that of its paler end."""
    probabilities = torch.tensor([0.05] * 30 + [0.55] * 15 + [0.95])
    found = reliability(probabilities, torch.zeros(46), num_bins=10)
    assert [b.opacity for b in found.bins] == [1.0, 0.5, 0.3]
    figure = calibration(probabilities, torch.zeros(46), num_bins=10)
    above, _ = figure.axes
    for marks in above.collections:  # the intervals and the points
        np.testing.assert_array_equal(marks.get_alpha(), [1.0, 0.5, 0.3])
    segments = above.get_lines()[1:]
    assert [line.get_alpha() for line in segments] == [0.5, 0.3]
    np.testing.assert_allclose([xs(line) for line in segments], [[5, 55], [55, 95]], rtol=1e-6)
    assert figure.get_supxlabel() == "Paler: bins of fewer than 30 labels."
    assert calibration(probabilities[:30], torch.zeros(30), num_bins=10).get_supxlabel() == ""


def points_of(axes: Axes) -> npt.NDArray[np.float64]:
    """Return the points of the diagram, one row each."""
    (points,) = (marks for marks in axes.collections if isinstance(marks, PathCollection))
    return np.asarray(points.get_offsets(), dtype=np.float64)


def test_invalid_arguments_raise() -> None:
    """Logits, soft targets, other class indices and an empty tensor raise."""
    logits, targets = example()
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\], got -0\.5"):
        reliability(torch.tensor([[0.75, -0.5]]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"targets must be class indices in \[0, 4\), got"):
        reliability(logits.softmax(-1), targets + (targets == 3).long())
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\].*softmax"):
        reliability(logits, targets)
    with pytest.raises(ValueError, match=r"targets must be class indices of shape \(400,\)"):
        reliability(logits.softmax(-1), targets.double())
    with pytest.raises(ValueError, match=r"at least one example, got \(0, 4\)"):
        reliability(logits[:0], targets[:0])
    with pytest.raises(ValueError, match="num_bins must be a positive integer, got 0"):
        reliability(logits.softmax(-1), targets, num_bins=0)


@pytest.mark.parametrize("shape", [(400, 4), (400,)])
def test_labels_are_pooled(shape: tuple[int, ...]) -> None:
    """Oracle: the calibration error of MultilabelAccumulator, and scikit-learn's curve."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    targets = (torch.rand(shape, generator=generator) < 0.7 * logits.sigmoid()).double()
    metrics = MultilabelAccumulator(num_bins=10)
    metrics.update(logits, targets)
    probabilities = logits.sigmoid()
    found = reliability(probabilities, targets, num_bins=10)
    assert found.calibration_error == pytest.approx(metrics.compute().calibration_error, abs=1e-12)
    assert found.num_examples == targets.numel()
    present, mean = importlib.import_module("sklearn.calibration").calibration_curve(
        targets.flatten(), probabilities.flatten(), n_bins=10
    )
    np.testing.assert_allclose([b.accuracy for b in found.bins], present, rtol=1e-12)
    np.testing.assert_allclose([b.confidence for b in found.bins], mean, rtol=1e-12)
    above, below = calibration(probabilities, targets, num_bins=10).axes
    np.testing.assert_allclose(points_of(above)[:, 1], 100 * present, rtol=1e-12)
    assert (above.get_ylabel(), below.get_ylabel()) == ("present labels [%]", "labels [%]")
    assert [text.get_text() for text in above.texts] == [
        "probabilities too high", "probabilities too low",
    ]  # fmt: skip


def test_soft_labels_count_as_fractions() -> None:
    """A bin with the labels 0.25 and 0.75 has half of its labels present."""
    found = reliability(torch.tensor([0.55, 0.55]), torch.tensor([0.25, 0.75]), num_bins=10)
    assert found.bins[0].accuracy == 0.5


def test_invalid_labels_raise() -> None:
    """Labels of another shape, outside [0, 1], of an integer dtype, and distributions raise."""
    logits, targets = example()
    one_hot = torch.nn.functional.one_hot(targets).double()
    with pytest.raises(ValueError, match=r"got distributions over classes; pass targets\.argmax"):
        reliability(logits.softmax(-1), one_hot)
    assert reliability(logits.sigmoid(), one_hot).num_examples == one_hot.numel()
    probabilities = torch.full((5, 2), 0.5)
    with pytest.raises(ValueError, match=r"floating-point labels of shape \(5, 2\), got \(5, 1\)"):
        reliability(probabilities, torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"targets must be labels in \[0, 1\], got \[0\.0, 2\.0\]"):
        reliability(probabilities, torch.tensor([0.0, 2.0]).expand(5, 2))
    with pytest.raises(ValueError, match=r"got \(5, 2\); convert labels with targets\.float\(\)"):
        reliability(probabilities, torch.zeros(5, 2, dtype=torch.int64))
