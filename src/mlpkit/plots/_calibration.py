"""Whether a classifier that says 90 % is right in 90 % of the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit.plots._style import Appearance, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Reliability", "ReliabilityBin", "calibration", "reliability"]

_Z = 1.959963984540054  # of the normal distribution, two-sided 95 %


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """The examples whose predicted class got a probability in one interval.

    Attributes:
        lower: Lower end of the interval, not in it.
        upper: Upper end of the interval, in it.
        count: Number of examples.
        confidence: Mean probability of the predicted class.
        accuracy: Fraction of the examples that are classified correctly.
        interval: Wilson's 95 % confidence interval of the accuracy.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """What a reliability diagram shows.

    Attributes:
        bins: The intervals that hold an example, in order.
        num_examples: Number of examples.
        calibration_error: Expected calibration error, in [0, 1].
    """

    bins: tuple[ReliabilityBin, ...]
    num_examples: int
    calibration_error: float


def reliability(probabilities: Tensor, targets: Tensor, *, num_bins: int = 15) -> Reliability:
    r"""Compare confidence and accuracy, bin by bin.

    .. math::
        \mathrm{ECE} = \sum_{b} \frac{n_b}{N}\, |\mathrm{acc}_b - \mathrm{conf}_b|

    Args:
        probabilities: Of each class, summing to one.
        targets: The true classes.
        num_bins: Intervals of equal width that [0, 1] is divided into.

    Shape:
        - probabilities: ``(N, C)``; targets: ``(N,)``.

    Raises:
        ValueError: If there is no example, or a shape or a value does not fit.

    Example:
        >>> import torch
        >>> from mlpkit.plots import reliability
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
        >>> round(reliability(probabilities, torch.tensor([0, 0])).calibration_error, 3)
        0.4

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks,
        section 2, equation 3. Wilson (1927), Probable Inference, JASA 22 (the intervals).
    """
    bins = check_int("num_bins", num_bins, minimum=1)
    if probabilities.ndim != 2 or not len(probabilities):
        rule = "of shape (N, C) with at least one example"
        raise ValueError(error_message("probabilities", rule, tuple(probabilities.shape)))
    values = probabilities.detach().double().cpu()
    if not bool(((values >= 0) & (values <= 1 + 1e-6)).all()):
        cure = "apply a softmax to logits"
        raise ValueError(
            error_message("probabilities", "in [0, 1]", float(values.abs().max()), cure)
        )
    if targets.shape != values.shape[:1] or targets.is_floating_point():
        rule = f"class indices of shape ({len(values)},)"
        raise ValueError(error_message("targets", rule, tuple(targets.shape)))
    confidence, predicted = values.max(dim=1)
    is_right = predicted == targets.cpu()
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    member = torch.bucketize(confidence, edges)  # open on the left, as ClassificationAccumulator
    found = []
    for index in sorted(set(member.tolist())):
        chosen = member == index
        count, right = int(chosen.sum()), int(is_right[chosen].sum())
        found.append(
            ReliabilityBin(
                lower=index / bins,
                upper=(index + 1) / bins,
                count=count,
                confidence=float(confidence[chosen].mean()),
                accuracy=right / count,
                interval=_wilson(right, count),
            )
        )
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in found) / len(values)
    return Reliability(bins=tuple(found), num_examples=len(values), calibration_error=error)


def _wilson(right: int, count: int) -> tuple[float, float]:
    """Return the interval of Wilson's score test for a fraction."""
    fraction, z2 = right / count, _Z**2
    center = (fraction + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count)
    half *= math.sqrt(fraction * (1 - fraction) / count + z2 / (4 * count**2))
    return max(0.0, center - half), min(1.0, center + half)


def calibration(
    probabilities: Tensor,
    targets: Tensor,
    *,
    num_bins: int = 15,
    appearance: Appearance = "light",
) -> Figure:
    """Draw a reliability diagram: accuracy over confidence, and how often each confidence occurs.

    On the diagonal, confidence is earned; below it the classifier is too sure of itself. The
    vertical lines are 95 % intervals: a bin of few examples says little.

    Args:
        probabilities: Of each class, as :meth:`mlpkit.SoftmaxClassifier.predict_proba` gives them.
        targets: The true classes.
        num_bins: Intervals of equal width that [0, 1] is divided into.
        appearance: ``"light"`` or ``"dark"`` paper.

    Shape:
        - probabilities: ``(N, C)``; targets: ``(N,)``.

    Raises:
        ValueError: As :func:`reliability`.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import calibration
        >>> figure = calibration(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0]))
        >>> figure.axes[1].get_xlabel()
        'probability of the predicted class [%]'
    """
    measured = reliability(probabilities, targets, num_bins=num_bins)
    figure, look = new_figure(4.8, 5.4, appearance)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    bins = measured.bins
    x = [100 * b.confidence for b in bins]
    y = [100 * b.accuracy for b in bins]
    down = [max(0.0, 100 * (b.accuracy - b.interval[0])) for b in bins]
    up = [max(0.0, 100 * (b.interval[1] - b.accuracy)) for b in bins]
    above.plot([0, 100], [0, 100], "--", color=look.quiet, linewidth=1.2)
    above.errorbar(
        x, y, yerr=(down, up), fmt="o-", color=look.series[0], linewidth=1.6, elinewidth=1.2
    )
    above.set_xlim(-2, 102)
    above.set_ylim(-2, 102)
    above.set_ylabel("accuracy [%]")
    above.annotate(
        "too sure", (97, 4), ha="right", color=look.quiet, fontsize=9, fontstyle="italic"
    )
    above.annotate("too modest", (3, 94), color=look.quiet, fontsize=9, fontstyle="italic")
    dress(above, look, title=f"Expected calibration error {100 * measured.calibration_error:.2f} %")
    below.bar(
        [100 * b.lower for b in bins],
        [100 * b.count / measured.num_examples for b in bins],
        width=100 / num_bins,
        align="edge",
        color=look.series[0],
        edgecolor=look.paper,
    )
    below.set_xlabel("probability of the predicted class [%]")
    below.set_ylabel("examples [%]")
    dress(below, look)
    return figure
