"""Results of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._serialization import JSONValue, to_dict

__all__ = ["ClassMetrics", "ClassificationMetrics", "Evaluation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """Metrics of a classifier for one class; a ratio with denominator 0 is 0.

    Attributes:
        name: Name of the class, or its index as a string.
        precision: Fraction of the examples predicted as the class that belong to it.
        recall: Fraction of the examples of the class that are predicted as the class.
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
    """Metrics of a classifier on a data set.

    Attributes:
        accuracy: Weighted fraction of the examples that are classified correctly.
        calibration_error: Expected calibration error, in [0, 1].
        counts: Nonzero entries of the confusion matrix: true class, predicted class, number of
            examples; at most one entry for each example.
        per_class: The metrics of each class.
    """

    accuracy: float
    calibration_error: float
    counts: tuple[tuple[int, int, int], ...]
    per_class: tuple[ClassMetrics, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """The result of evaluating a model on a data set; ``print`` shows the metrics of each class.

    If the examples have weights, the loss, the accuracy and the error are weighted means. The
    confusion matrix, the metrics of each class and the calibration error are not weighted.

    Attributes:
        loss: Mean loss over the examples, in nats for a classifier.
        num_examples: Number of examples.
        classification: Metrics of a classifier; None for a regression.
        objective_loss: Mean of the objective of a classifier that is trained on another loss than
            cross-entropy; None otherwise.
    """

    loss: float
    num_examples: int
    classification: ClassificationMetrics | None = None
    objective_loss: float | None = None

    def _classification(self, name: str) -> ClassificationMetrics:
        if self.classification is None:
            rule = "read from the evaluation of a classifier"
            raise AttributeError(error_message(name, rule, "a regression", "use loss"))
        return self.classification

    @property
    def accuracy(self) -> float:
        """Fraction of correctly classified examples; a soft target counts as its largest class."""
        return self._classification("accuracy").accuracy

    @property
    def error(self) -> float:
        """One minus the accuracy."""
        return 1.0 - self._classification("error").accuracy

    @property
    def confusion(self) -> Tensor:
        """Number of examples by true class (row) and predicted class (column), int64, ``(C, C)``.

        The matrix is built when it is read.
        """
        found = self._classification("confusion")
        matrix = torch.zeros(len(found.per_class), len(found.per_class), dtype=torch.int64)
        if found.counts:
            true, predicted, counts = torch.tensor(found.counts).unbind(1)
            matrix[true, predicted] = counts
        return matrix

    @property
    def per_class(self) -> tuple[ClassMetrics, ...]:
        """Precision, recall, F1 and support of each class."""
        return self._classification("per_class").per_class

    @property
    def calibration_error(self) -> float:
        """The expected calibration error, mean difference of confidence and accuracy, in [0, 1]."""
        return self._classification("calibration_error").calibration_error

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the evaluation in plain values that JSON can represent.

        The value of ``counts`` is the confusion matrix.
        """
        found = to_dict(self)
        if self.classification is not None:
            whole = to_dict(self.classification)
            found["classification"] = {**whole, "counts": self.confusion.tolist()}
        return found

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
        width = max(len("class"), *(len(one.name) for one in self.per_class))
        lines.append(f"{'class':>{width}}  precision  recall      f1  support")
        lines.extend(
            f"{one.name:>{width}}  {one.precision:9.4f}  {one.recall:6.4f}"
            f"  {one.f1:6.4f}  {one.support:7d}"
            for one in self.per_class
        )
        return "\n".join(lines)
