"""How good a model is on a data set, counted on the device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit._devices import accumulator_dtype
from mlpkit._serialization import JSONValue, to_dict
from mlpkit.training.objectives import CrossEntropy, MeanSquaredError, check_class_targets

__all__ = [
    "ClassMetrics",
    "ClassificationAccumulator",
    "ClassificationMetrics",
    "Evaluation",
    "RegressionAccumulator",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """What a classifier does with one class; a ratio without examples is 0.

    Attributes:
        name: Name of the class, or its index as a string.
        precision: Fraction of the examples put into the class that belong there.
        recall: Fraction of the examples of the class that were put there.
        f1: Harmonic mean of precision and recall.
        support: Number of examples of the class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationMetrics:
    """What a classifier does with a data set.

    Attributes:
        accuracy: Weighted fraction of the examples that are classified correctly.
        calibration_error: Expected calibration error, in [0, 1].
        counts: For each true class, the number of examples put into each class.
        per_class: The figures of each class.
    """

    accuracy: float
    calibration_error: float
    counts: tuple[tuple[int, ...], ...]
    per_class: tuple[ClassMetrics, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """The result of evaluating a model on a data set; ``print`` shows it with all classes.

    The loss, the accuracy and the error are means over the example weights, where there are any;
    the confusion matrix, the figures of each class and the calibration error count every example
    once.

    Attributes:
        loss: Mean loss over the examples, in nats for a classifier.
        num_examples: Number of examples.
        classification: Metrics of a classifier; None for a regression.
        objective_loss: Mean of the objective that a classifier was trained on, where that is not
            ``loss``; None otherwise.
    """

    loss: float
    num_examples: int
    classification: ClassificationMetrics | None = None
    objective_loss: float | None = None

    def _classification(self, name: str) -> ClassificationMetrics:
        if self.classification is None:
            rule = "asked of a classification"
            raise AttributeError(error_message(name, rule, "a regression", "use loss"))
        return self.classification

    @property
    def accuracy(self) -> float:
        """Fraction of the examples that are classified correctly; for soft targets, like argmax."""
        return self._classification("accuracy").accuracy

    @property
    def error(self) -> float:
        """One minus the accuracy."""
        return 1.0 - self._classification("error").accuracy

    @property
    def confusion(self) -> Tensor:
        """Number of examples by true class (row) and predicted class (column), int64."""
        return torch.tensor(self._classification("confusion").counts, dtype=torch.int64)

    @property
    def per_class(self) -> tuple[ClassMetrics, ...]:
        """Precision, recall, F1 and support of each class."""
        return self._classification("per_class").per_class

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, how far confidence is from accuracy, in [0, 1]."""
        return self._classification("calibration_error").calibration_error

    def to_dict(self) -> dict[str, JSONValue]:
        """Return numbers, strings, lists and dicts only, ready for JSON."""
        return to_dict(self)

    def __repr__(self) -> str:
        parts = [f"loss={self.loss:.4f}", f"num_examples={self.num_examples}"]
        if self.objective_loss is not None:
            parts.append(f"objective_loss={self.objective_loss:.4f}")
        if self.classification is not None:
            parts += [
                f"accuracy={self.accuracy:.4f}",
                f"calibration_error={self.calibration_error:.4f}",
                f"num_classes={len(self.per_class)}",
            ]
        return f"Evaluation({', '.join(parts)})"

    def __str__(self) -> str:
        lines = [f"loss {self.loss:.4f} on {self.num_examples:,} examples"]
        if self.objective_loss is not None:
            lines[0] += f", objective {self.objective_loss:.4f}"
        if self.classification is None:
            return lines[0]
        lines[0] += f", accuracy {self.accuracy:.2%}, error {self.error:.2%}"
        lines[0] += f", calibration error {self.calibration_error:.2%}"
        width = max(len("class"), *(len(figures.name) for figures in self.per_class))
        lines.append(f"{'class':>{width}}  precision  recall      f1  support")
        lines.extend(
            f"{figures.name:>{width}}  {figures.precision:9.4f}  {figures.recall:6.4f}"
            f"  {figures.f1:6.4f}  {figures.support:7d}"
            for figures in self.per_class
        )
        return "\n".join(lines)


class ClassificationAccumulator:
    r"""Loss, accuracy, confusion matrix and calibration of a classifier, batch by batch.

    Everything is summed on the device of the logits, in float64 and int64; nothing waits for
    the device before :meth:`compute`. The last batch may be shorter: sums, not means, are kept.

    The expected calibration error bins the examples by the probability of the predicted class
    into ``num_bins`` bins of equal width, open on the left, and compares in each:

    .. math::
        \mathrm{ECE} = \sum_{b} \frac{n_b}{N}\, |\mathrm{acc}_b - \mathrm{conf}_b|

    Args:
        classes: Names of the classes, for the figures of each; None means their indices.
        num_bins: Number of bins of the calibration error, at least 1.

    Example:
        >>> import torch
        >>> from mlpkit.training import ClassificationAccumulator
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
        self._sums: _Sums | None = None

    def update(
        self,
        logits: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Count one batch.

        Args:
            logits: Output of the model, ``(N, C)``.
            targets: Class indices ``(N,)`` or distributions ``(N, C)``, whose largest entry is
                the true class then.
            weights: Weight of each example in loss and accuracy, ``(N,)``; None means 1.
            losses: Loss of each example, ``(N,)``, where it is not the plain cross-entropy.

        Raises:
            TypeError: If the targets are neither int64 nor floating-point.
            ValueError: If a shape does not fit.
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
                sums = self._sums = _Sums(logits.shape[1], self._num_bins, logits.device)
            true = targets.argmax(dim=1) if targets.is_floating_point() else targets
            sums.add(logits, true, losses, weights)

    def _check_classes(self, num_classes: int) -> None:
        if self._classes is not None and len(self._classes) != num_classes:
            rule = f"one name for each of the {num_classes} outputs"
            raise ValueError(error_message("classes", rule, self._classes))

    def compute(self) -> Evaluation:
        """Return the figures over everything counted so far; here the device is waited for.

        Raises:
            ValueError: If nothing was counted, or all weights are zero.
        """
        if self._sums is None:
            raise ValueError(error_message("data", "at least one example", 0))
        loss, accuracy, bins, confusion = self._sums.fetch()
        num_examples = int(confusion.sum())
        bin_count, bin_correct, bin_confidence = bins
        gap = (bin_correct - bin_confidence).abs().sum()  # n_b |acc_b - conf_b|, summed
        return Evaluation(
            loss=loss,
            num_examples=num_examples,
            classification=ClassificationMetrics(
                accuracy=accuracy,
                calibration_error=float(gap / bin_count.sum()),
                counts=tuple(tuple(row) for row in confusion.tolist()),
                per_class=_per_class(confusion, self._classes),
            ),
        )


class RegressionAccumulator:
    """The mean loss of a regression, batch by batch, summed in float64 on the device.

    Example:
        >>> import torch
        >>> from mlpkit.training import RegressionAccumulator
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
        """Count one batch.

        Args:
            outputs: Output of the model, ``(N, ...)``.
            targets: What it should have been, of the same shape.
            weights: Weight of each example, ``(N,)``; None means 1.
            losses: Loss of each example, ``(N,)``, where it is not the squared error.
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
        """Return the mean loss over everything counted so far.

        Raises:
            ValueError: If nothing was counted, or all weights are zero.
        """
        if self._sums is None:
            raise ValueError(error_message("data", "at least one example", 0))
        return Evaluation(loss=self._sums.fetch(), num_examples=self._num_examples)


def _check_rows(name: str, values: Tensor | None, num_rows: int) -> None:
    if values is not None and values.shape != (num_rows,):
        raise ValueError(error_message(name, f"of shape ({num_rows},)", tuple(values.shape)))


class _LossSums:
    """The sum of the weighted losses and of the weights."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=accumulator_dtype(device), device=device)
        self.weight = torch.zeros_like(self.loss)

    def add(self, losses: Tensor, weights: Tensor | None) -> Tensor | None:
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
        weight = float(self.weight)
        _check_weight(weight)
        return float(self.loss) / weight


def _check_weight(weight: float) -> None:
    if weight <= 0.0:
        raise ValueError(error_message("weights", "greater than 0 for some example", weight))


class _Sums:
    """Everything that a classifier is judged by, as sums on the device."""

    def __init__(self, num_classes: int, num_bins: int, device: torch.device) -> None:
        self._losses = _LossSums(device)
        wide = self._losses.loss.dtype
        self._correct = torch.zeros((), dtype=wide, device=device)
        self._confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)
        # rows: number of examples, of correct ones, sum of confidences
        self._bins = torch.zeros(3, num_bins, dtype=wide, device=device)
        self._edges = (torch.arange(1, num_bins, dtype=wide) / num_bins).to(device)
        self._bin_ids = torch.arange(num_bins, device=device)
        self._num_classes = num_classes

    def add(self, logits: Tensor, true: Tensor, losses: Tensor, weights: Tensor | None) -> None:
        wide = self._losses.loss.dtype
        confidence, predicted = logits.to(wide).softmax(dim=1).max(dim=1)
        correct = (predicted == true).to(wide)
        weights = self._losses.add(losses, weights)
        self._correct += correct.sum() if weights is None else (correct * weights).sum()
        ones = torch.ones_like(true)
        # index_add_ of integers is exact in any order, so it is deterministic everywhere
        self._confusion.index_add_(0, true * self._num_classes + predicted, ones)
        in_bin = torch.bucketize(confidence, self._edges)[:, None] == self._bin_ids  # (N, bins)
        rows = torch.stack([torch.ones_like(confidence), correct, confidence])  # (3, N)
        self._bins += rows @ in_bin.to(wide)

    def fetch(self) -> tuple[float, float, Tensor, Tensor]:
        """Return loss, accuracy, bins and confusion matrix on the CPU."""
        loss = self._losses.fetch()
        accuracy = float(self._correct) / float(self._losses.weight)
        confusion = self._confusion.view(self._num_classes, self._num_classes)
        return loss, accuracy, self._bins.cpu().double(), confusion.cpu()


def _per_class(confusion: Tensor, classes: tuple[str, ...] | None) -> tuple[ClassMetrics, ...]:
    predicted, support = confusion.sum(dim=0).tolist(), confusion.sum(dim=1).tolist()
    figures = []
    for index, hits in enumerate(confusion.diagonal().tolist()):
        either = predicted[index] + support[index]
        figures.append(
            ClassMetrics(
                name=str(index) if classes is None else classes[index],
                precision=hits / predicted[index] if predicted[index] else 0.0,
                recall=hits / support[index] if support[index] else 0.0,
                f1=2 * hits / either if either else 0.0,
                support=support[index],
            )
        )
    return tuple(figures)
