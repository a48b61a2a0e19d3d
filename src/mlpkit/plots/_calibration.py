"""Reliability diagrams: predicted probability against what happened."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_int, error_message
from mlpkit.plots._style import Appearance, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Reliability", "ReliabilityBin", "calibration", "reliability"]


class _Words(NamedTuple):
    """The words of a diagram."""

    confidence: str
    outcome: str
    noun: str
    above: str
    below: str


_CLASS_WORDS = _Words(
    confidence="probability of the predicted class [%]",
    outcome="accuracy [%]",
    noun="examples",
    above="underconfident",
    below="overconfident",
)
_LABEL_WORDS = _Words(
    confidence="probability of the label [%]",
    outcome="present labels [%]",
    noun="labels",
    above="probabilities too low",
    below="probabilities too high",
)
_Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """The predictions whose confidence is in one interval.

    With one class for each example, a prediction is the predicted class, and its confidence is the
    probability of that class. With several labels, each label of each example is a prediction, and
    its confidence is the probability of the label.

    Attributes:
        lower: Lower end of the interval, exclusive.
        upper: Upper end of the interval, inclusive.
        count: Number of predictions.
        confidence: Mean confidence.
        accuracy: Fraction of the predicted classes that are correct, or of the labels that are
            present.
        interval: Wilson's 95 % confidence interval of ``accuracy``.
        full_count: Number of predictions from which a diagram draws a bin with full color.
    """

    full_count: ClassVar[int] = 30

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]

    @property
    def opacity(self) -> float:
        """Opacity of the bin in a diagram, the share of ``full_count`` from 0.3 to 1."""
        return max(0.3, min(1.0, self.count / self.full_count))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """The data of a reliability diagram.

    Attributes:
        bins: The nonempty bins, in ascending order of confidence.
        num_examples: Number of predictions: of examples, or of examples times labels.
        calibration_error: Expected calibration error, in [0, 1].
    """

    bins: tuple[ReliabilityBin, ...]
    num_examples: int
    calibration_error: float


def reliability(probabilities: Tensor, targets: Tensor, *, num_bins: int = 15) -> Reliability:
    r"""Compute confidence and accuracy per bin, and the expected calibration error.

    .. math::
        \mathrm{ECE} = \sum_{b} \frac{n_b}{N}\, |\mathrm{acc}_b - \mathrm{conf}_b|

    where bin :math:`b` has :math:`n_b` of the :math:`N` predictions, with accuracy
    :math:`\mathrm{acc}_b` and mean confidence :math:`\mathrm{conf}_b`. With several labels, all
    labels are pooled: :math:`N` is the number of examples times labels, :math:`\mathrm{acc}_b` is
    the fraction of present labels, and :math:`\mathrm{conf}_b` is their mean probability.

    Args:
        probabilities: Probabilities of the classes, which sum to 1 for each example, or
            probabilities of the labels.
        targets: Class indices; or floating-point labels in [0, 1], 1 for present ones.
        num_bins: Number of bins of equal width in [0, 1].

    Shape:
        - probabilities: ``(N, C)``; targets: ``(N,)`` for class indices.
        - Both ``(N, L)``, or ``(N,)`` for one label, for labels.

    Raises:
        ValueError: If there are no examples, a shape does not match, a value is not in [0, 1], a
            class index is out of range, or the targets are distributions over classes.

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
    of_labels = targets.is_floating_point()
    if probabilities.ndim not in ((1, 2) if of_labels else (2,)) or not probabilities.numel():
        rule = "of shape (N, C) with at least one example"
        raise ValueError(error_message("probabilities", rule, tuple(probabilities.shape)))
    values = probabilities.detach().double().cpu()
    is_wrong = ~((values >= 0) & (values <= 1 + 1e-6))
    if bool(is_wrong.any()):
        cure = "apply a softmax to logits, or a sigmoid to those of labels"
        wrong = float(values[is_wrong][0])
        raise ValueError(error_message("probabilities", "in [0, 1]", wrong, cure))
    if of_labels:
        confidence, outcomes = values.flatten(), _check_labels(values, targets).flatten()
    else:
        if targets.shape != values.shape[:1]:
            raise ValueError(_target_error(values, targets))
        span = [int(targets.min()), int(targets.max())]
        if span[0] < 0 or span[1] >= values.shape[1]:
            rule = f"class indices in [0, {values.shape[1]})"
            raise ValueError(error_message("targets", rule, span))
        confidence, predicted = values.max(dim=1)
        outcomes = (predicted == targets.cpu()).double()
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    member = torch.bucketize(confidence, edges)  # open on the left, as in the trainer's metric
    found = []
    for index in sorted(set(member.tolist())):
        chosen = member == index
        count, right = int(chosen.sum()), float(outcomes[chosen].sum())
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
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in found) / len(confidence)
    return Reliability(bins=tuple(found), num_examples=len(confidence), calibration_error=error)


def _check_labels(values: Tensor, targets: Tensor) -> Tensor:
    """Return the labels of probabilities, float64 on the CPU.

    Raises:
        ValueError: If the shape differs, a label is not in [0, 1], or the targets are
            distributions over classes.
    """
    if targets.shape != values.shape:
        raise ValueError(_target_error(values, targets))
    labels = targets.detach().double().cpu()
    low, high = (float(bound) for bound in torch.aminmax(labels))
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(error_message("targets", "labels in [0, 1]", [low, high]))
    if labels.ndim == 2 and labels.shape[1] > 1 and _sum_to_one(values) and _sum_to_one(labels):
        rule, found = "class indices, or independent labels", "distributions over classes"
        cure = "pass targets.argmax(1) for class indices"
        raise ValueError(error_message("targets", rule, Unquoted(found), cure))
    return labels


def _sum_to_one(rows: Tensor) -> bool:
    """Return whether each row is a distribution, up to rounding."""
    return bool(((rows.sum(1) - 1).abs() < 1e-3).all())


def _target_error(values: Tensor, targets: Tensor) -> str:
    """Return the error message for targets of another shape than the probabilities need."""
    rule = f"class indices of shape ({len(values)},), or floating-point labels of shape "
    rule += str(tuple(values.shape))
    cure = "convert labels with targets.float()" if targets.shape == values.shape else None
    return error_message("targets", rule, tuple(targets.shape), cure)


def _wilson(right: float, count: int) -> tuple[float, float]:
    """Return the Wilson score interval of a fraction."""
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
    """Plot a reliability diagram: accuracy against confidence, with a histogram of the confidence.

    A perfectly calibrated classifier is on the diagonal; below it, the classifier is
    overconfident. The vertical bars are 95 % confidence intervals, which are wide for bins with few
    examples. A bin with fewer than 30 predictions is paler the fewer it has, down to 30 % of the
    color; the diagram then says so.

    With several labels, the plot shows the fraction of present labels against their probability,
    with all labels pooled; below the diagonal, the probabilities are too high. The intervals count
    the labels of one example as independent.

    Args:
        probabilities: Probabilities of the classes or labels, for example from
            :meth:`mlpkit.SoftmaxClassifier.predict_proba` or
            :meth:`mlpkit.MultilabelClassifier.predict_proba`.
        targets: Class indices; or floating-point labels in [0, 1], 1 for present ones.
        num_bins: Number of bins of equal width in [0, 1].
        appearance: ``"light"`` or ``"dark"`` background.

    Shape:
        - probabilities: ``(N, C)``; targets: ``(N,)`` for class indices.
        - Both ``(N, L)``, or ``(N,)`` for one label, for labels.

    Raises:
        ValueError: For the reasons given in :func:`reliability`.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit.plots import calibration
        >>> figure = calibration(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0]))
        >>> figure.axes[1].get_xlabel()
        'probability of the predicted class [%]'
    """
    measured = reliability(probabilities, targets, num_bins=num_bins)
    words = _LABEL_WORDS if targets.is_floating_point() else _CLASS_WORDS
    figure, look = new_figure(4.8, 5.4, appearance)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    bins = measured.bins
    x = [100 * b.confidence for b in bins]
    y = [100 * b.accuracy for b in bins]
    above.plot([0, 100], [0, 100], "--", color=look.quiet, linewidth=1.2)
    opacity = [b.opacity for b in bins]
    color = look.series[0]
    for (x1, y1, alpha1), (x2, y2, alpha2) in itertools.pairwise(zip(x, y, opacity, strict=True)):
        alpha = min(alpha1, alpha2)
        above.plot([x1, x2], [y1, y2], color=color, linewidth=1.6, alpha=alpha)
    low, high = ([100 * b.interval[end] for b in bins] for end in (0, 1))
    above.vlines(x, low, high, colors=color, linewidth=1.2, alpha=opacity)
    above.scatter(x, y, s=36, color=color, linewidths=0, alpha=opacity, zorder=3)
    above.set_xlim(-2, 102)
    above.set_ylim(-2, 102)
    above.set_ylabel(words.outcome)
    above.annotate(
        words.below, (97, 4), ha="right", color=look.quiet, fontsize=9, fontstyle="italic"
    )
    above.annotate(words.above, (3, 94), color=look.quiet, fontsize=9, fontstyle="italic")
    if any(b.count < b.full_count for b in bins):
        note = f"Paler: bins of fewer than {ReliabilityBin.full_count} {words.noun}."
        figure.supxlabel(note, color=look.quiet, fontsize=9, fontstyle="italic")
    style_axes(
        above, look, title=f"Expected calibration error {100 * measured.calibration_error:.2f} %"
    )
    below.bar(
        [100 * b.lower for b in bins],
        [100 * b.count / measured.num_examples for b in bins],
        width=100 / num_bins,
        align="edge",
        color=color,
        edgecolor=look.paper,
    )
    below.set_xlabel(words.confidence)
    below.set_ylabel(f"{words.noun} [%]")
    style_axes(below, look)
    return figure
