"""Accumulation of the metrics of a classifier over batches, on the device."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit.training.metrics._calibration_bins import CalibrationBins
from mlpkit.training.metrics._loss_sums import LossSums, checked_losses, no_examples
from mlpkit.training.metrics._results import ClassificationMetrics, ClassMetrics, Evaluation
from mlpkit.training.objectives import CrossEntropy, check_class_targets

__all__ = ["ClassificationAccumulator", "class_metrics"]


class ClassificationAccumulator:
    r"""Accumulates loss, accuracy, confusion matrix and calibration of a classifier.

    All values are summed on the device of the logits, in float64 (float32 on MPS) and int64.
    :meth:`update` does not synchronize with the device. The result does not depend on how the
    examples are divided into batches.

    The expected calibration error assigns the examples to ``num_bins`` bins of equal width, open on
    the left, by the probability of the predicted class, and compares accuracy and mean probability
    in each bin:

    .. math::
        \mathrm{ECE} = \sum_{b} \frac{n_b}{N}\, |\mathrm{acc}_b - \mathrm{conf}_b|

    Args:
        classes: Names of the classes; None means their indices.
        num_bins: Number of bins of the calibration error, at least 1.

    Example:
        >>> import torch
        >>> from mlpkit.training.metrics import ClassificationAccumulator
        >>> metrics = ClassificationAccumulator()
        >>> metrics.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        >>> metrics.compute().accuracy
        0.5

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """

    def __init__(self, classes: Sequence[str] | None = None, *, num_bins: int = 15) -> None:
        self._classes = None if classes is None else tuple(classes)
        self._num_bins = check_int("num_bins", num_bins, minimum=1)
        self._cross_entropy = CrossEntropy()
        self._sums: _ClassificationSums | None = None

    def update(
        self,
        logits: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Add one batch.

        Args:
            logits: Outputs of the model, ``(N, C)``.
            targets: Class indices, ``(N,)``, or distributions, ``(N, C)``, whose largest entry is
                the true class.
            weights: Weight of each example in loss and accuracy, ``(N,)``; None means 1.
            losses: Loss of each example, ``(N,)``; None means the cross-entropy.

        Raises:
            TypeError: If the targets are neither int64 nor floating-point.
            ValueError: If a shape does not match.
        """
        check_class_targets(logits, targets)
        with torch.no_grad():
            losses = checked_losses(
                self._cross_entropy, logits, targets, weights=weights, losses=losses
            )
            sums = self._sums
            if sums is None:
                self._check_classes(logits.shape[1])
                sums = _ClassificationSums(logits.shape[1], self._num_bins, logits.device)
                self._sums = sums
            true = targets.argmax(dim=1) if targets.is_floating_point() else targets
            sums.add(logits, true, losses, weights)

    def _check_classes(self, num_classes: int) -> None:
        if self._classes is not None and len(self._classes) != num_classes:
            rule = f"one name for each of the {num_classes} outputs"
            raise ValueError(error_message("classes", rule, self._classes))

    def compute(self) -> Evaluation:
        """Return the metrics of all batches so far; synchronizes with the device.

        Raises:
            ValueError: If there was no example, or all weights are zero.
        """
        if self._sums is None:
            raise no_examples()
        loss, accuracy, calibration_error, rows = self._sums.fetch()
        num_examples = int(rows[:, 2].sum())
        return Evaluation(
            loss=loss,
            num_examples=num_examples,
            classification=ClassificationMetrics(
                accuracy=accuracy,
                calibration_error=calibration_error,
                counts=tuple((true, predicted, count) for true, predicted, count in rows.tolist()),
                per_class=_per_class(rows, self._sums.num_classes, self._classes),
            ),
        )


_MAX_PAIRS = 1 << 20  # pairs of true and predicted class that are kept before they are counted


class _ClassificationSums:
    """Sums on the device from which all metrics of a classifier follow."""

    def __init__(self, num_classes: int, num_bins: int, device: torch.device) -> None:
        self._losses = LossSums(device)
        wide = self._losses.loss.dtype
        self._correct = torch.zeros((), dtype=wide, device=device)
        self._pairs: list[Tensor] = []  # true * C + predicted of each example, or of distinct pairs
        self._pair_counts: list[Tensor] = []
        self._num_pairs = 0
        self._bins = CalibrationBins(num_bins, device)
        self.num_classes = num_classes

    def add(self, logits: Tensor, true: Tensor, losses: Tensor, weights: Tensor | None) -> None:
        wide = self._losses.loss.dtype
        confidence, predicted = logits.to(wide).softmax(dim=1).max(dim=1)
        correct = (predicted == true).to(wide)
        weights = self._losses.add(losses, weights)
        self._correct += correct.sum() if weights is None else (correct * weights).sum()
        self._pairs.append(true * self.num_classes + predicted)
        self._pair_counts.append(torch.ones_like(true))
        self._num_pairs += len(true)
        if self._num_pairs > _MAX_PAIRS:
            self._merge_pairs()
        self._bins.add(confidence, correct)

    def _merge_pairs(self) -> None:
        """Count equal pairs, so that memory grows with the examples or with the distinct pairs."""
        pairs, inverse = torch.unique(torch.cat(self._pairs), return_inverse=True)
        counts = torch.zeros_like(pairs).index_add_(0, inverse, torch.cat(self._pair_counts))
        self._pairs, self._pair_counts, self._num_pairs = [pairs], [counts], len(pairs)

    def fetch(self) -> tuple[float, float, float, Tensor]:
        """Return loss, accuracy, calibration error, and rows of true class, predicted class, count.

        The rows are on the CPU and sorted, and there is one for each pair that occurs.
        """
        loss = self._losses.fetch()
        accuracy = float(self._correct) / float(self._losses.weight)
        self._merge_pairs()
        (pairs,), (counts,) = self._pairs, self._pair_counts
        true = torch.div(pairs, self.num_classes, rounding_mode="floor")
        rows = torch.stack([true, pairs % self.num_classes, counts], dim=1)
        return loss, accuracy, self._bins.fetch(), rows.cpu()


def _per_class(
    rows: Tensor, num_classes: int, classes: tuple[str, ...] | None
) -> tuple[ClassMetrics, ...]:
    """Return the metrics of each class from rows of true class, predicted class and count."""
    true, guess, counts = rows.unbind(1)

    def totals(labels: Tensor, values: Tensor) -> list[int]:
        found: list[int] = values.new_zeros(num_classes).index_add_(0, labels, values).tolist()
        return found

    return class_metrics(
        hits=totals(true, counts * (true == guess)),
        predicted=totals(guess, counts),
        support=totals(true, counts),
        names=classes,
    )


def class_metrics(
    *,
    hits: Sequence[int],
    predicted: Sequence[int],
    support: Sequence[int],
    names: Sequence[str] | None,
) -> tuple[ClassMetrics, ...]:
    """Return the metrics of each class or label.

    Args:
        hits: Number of examples that belong to the class and are predicted as it.
        predicted: Number of examples that are predicted as the class.
        support: Number of examples that belong to the class.
        names: Names of the classes; None means their indices.
    """
    return tuple(
        ClassMetrics(
            name=str(index) if names is None else names[index],
            precision=hits[index] / predicted[index] if predicted[index] else 0.0,
            recall=hits[index] / support[index] if support[index] else 0.0,
            f1=2 * hits[index] / either if either else 0.0,
            support=support[index],
        )
        for index, either in enumerate(map(operator.add, predicted, support))
    )
