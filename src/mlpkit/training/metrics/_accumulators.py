"""Accumulation of metrics over batches, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.training.metrics._results import ClassificationMetrics, ClassMetrics, Evaluation
from mlpkit.training.objectives import CrossEntropy, MeanSquaredError, check_class_targets

__all__ = ["ClassificationAccumulator", "RegressionAccumulator"]


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
        _check_rows("weights", weights, len(logits))
        _check_rows("losses", losses, len(logits))
        with torch.no_grad():
            if losses is None:
                losses = self._cross_entropy.loss(logits, targets)
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
            raise ValueError(error_message("data", "at least one example", 0))
        loss, accuracy, bins, rows = self._sums.fetch()
        num_examples = int(rows[:, 2].sum())
        bin_count, bin_correct, bin_confidence = bins
        gap = (bin_correct - bin_confidence).abs().sum()  # sum of n_b |acc_b - conf_b|
        return Evaluation(
            loss=loss,
            num_examples=num_examples,
            classification=ClassificationMetrics(
                accuracy=accuracy,
                calibration_error=float(gap / bin_count.sum()),
                counts=tuple((true, predicted, count) for true, predicted, count in rows.tolist()),
                per_class=_per_class(rows, self._sums.num_classes, self._classes),
            ),
        )


class RegressionAccumulator:
    """Accumulates the mean loss of a regression, in float64 (float32 on MPS) on the device.

    Example:
        >>> import torch
        >>> from mlpkit.training.metrics import RegressionAccumulator
        >>> metrics = RegressionAccumulator()
        >>> metrics.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
        >>> metrics.compute().loss
        2.0
    """

    def __init__(self) -> None:
        self._mean_squared_error = MeanSquaredError()
        self._sums: _LossSums | None = None
        self._num_examples = 0

    def update(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Add one batch.

        Args:
            outputs: Outputs of the model, ``(N, ...)``.
            targets: Targets, of the same shape.
            weights: Weight of each example, ``(N,)``; None means 1.
            losses: Loss of each example, ``(N,)``; None means the mean squared error.
        """
        _check_rows("weights", weights, len(outputs))
        _check_rows("losses", losses, len(outputs))
        with torch.no_grad():
            if losses is None:
                losses = self._mean_squared_error.loss(outputs, targets)
            if self._sums is None:
                self._sums = _LossSums(losses.device)
            self._sums.add(losses, weights)
            self._num_examples += len(losses)

    def compute(self) -> Evaluation:
        """Return the mean loss of all batches so far; synchronizes with the device.

        Raises:
            ValueError: If there was no example, or all weights are zero.
        """
        if self._sums is None:
            raise ValueError(error_message("data", "at least one example", 0))
        return Evaluation(loss=self._sums.fetch(), num_examples=self._num_examples)


def _check_rows(name: str, values: Tensor | None, num_rows: int) -> None:
    if values is not None and values.shape != (num_rows,):
        raise ValueError(error_message(name, f"of shape ({num_rows},)", tuple(values.shape)))


class _LossSums:
    """Sum of the weighted losses and sum of the weights."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=accumulator_dtype(device), device=device)
        self.weight = torch.zeros_like(self.loss)

    def add(self, losses: Tensor, weights: Tensor | None) -> Tensor | None:
        """Add a batch, and return its weights in the dtype of the sums."""
        losses = losses.to(self.loss.dtype)
        if weights is None:
            self.loss += losses.sum()
            self.weight += len(losses)
            return None
        weights = weights.to(self.loss.dtype)
        self.loss += (losses * weights).sum()
        self.weight += weights.sum()
        return weights

    def fetch(self) -> float:
        """Return the mean loss."""
        weight = float(self.weight)
        _check_weight(weight)
        return float(self.loss) / weight


def _check_weight(weight: float) -> None:
    if weight <= 0.0:
        raise ValueError(
            error_message("weights", "greater than 0 for at least one example", weight)
        )


_MAX_PAIRS = 1 << 20  # pairs of true and predicted class that are kept before they are counted


class _ClassificationSums:
    """Sums on the device from which all metrics of a classifier follow."""

    def __init__(self, num_classes: int, num_bins: int, device: torch.device) -> None:
        self._losses = _LossSums(device)
        wide = self._losses.loss.dtype
        self._correct = torch.zeros((), dtype=wide, device=device)
        self._pairs: list[Tensor] = []  # true * C + predicted of each example, or of distinct pairs
        self._pair_counts: list[Tensor] = []
        self._num_pairs = 0
        # rows: number of examples, of correct ones, sum of confidences
        self._bins = torch.zeros(3, num_bins, dtype=wide, device=device)
        self._edges = (torch.arange(1, num_bins, dtype=wide) / num_bins).to(device)
        self._bin_ids = torch.arange(num_bins, device=device)
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
        in_bin = torch.bucketize(confidence, self._edges)[:, None] == self._bin_ids  # (N, bins)
        rows = torch.stack([torch.ones_like(confidence), correct, confidence])  # (3, N)
        self._bins += rows @ in_bin.to(wide)

    def _merge_pairs(self) -> None:
        """Count equal pairs, so that memory grows with the examples or with the distinct pairs."""
        pairs, inverse = torch.unique(torch.cat(self._pairs), return_inverse=True)
        counts = torch.zeros_like(pairs).index_add_(0, inverse, torch.cat(self._pair_counts))
        self._pairs, self._pair_counts, self._num_pairs = [pairs], [counts], len(pairs)

    def fetch(self) -> tuple[float, float, Tensor, Tensor]:
        """Return loss, accuracy, bins, and rows of true class, predicted class, number of examples.

        They are on the CPU. The rows are sorted, and there is one for each pair that occurs.
        """
        loss = self._losses.fetch()
        accuracy = float(self._correct) / float(self._losses.weight)
        self._merge_pairs()
        (pairs,), (counts,) = self._pairs, self._pair_counts
        true = torch.div(pairs, self.num_classes, rounding_mode="floor")
        rows = torch.stack([true, pairs % self.num_classes, counts], dim=1)
        return loss, accuracy, self._bins.cpu().double(), rows.cpu()


def _per_class(
    rows: Tensor, num_classes: int, classes: tuple[str, ...] | None
) -> tuple[ClassMetrics, ...]:
    """Return the metrics of each class from rows of true class, predicted class and count."""
    true, guess, counts = rows.unbind(1)

    def totals(labels: Tensor, values: Tensor) -> list[int]:
        found: list[int] = values.new_zeros(num_classes).index_add_(0, labels, values).tolist()
        return found

    predicted, support = totals(guess, counts), totals(true, counts)
    per_class = []
    for index, hits in enumerate(totals(true, counts * (true == guess))):
        either = predicted[index] + support[index]
        per_class.append(
            ClassMetrics(
                name=str(index) if classes is None else classes[index],
                precision=hits / predicted[index] if predicted[index] else 0.0,
                recall=hits / support[index] if support[index] else 0.0,
                f1=2 * hits / either if either else 0.0,
                support=support[index],
            )
        )
    return tuple(per_class)
