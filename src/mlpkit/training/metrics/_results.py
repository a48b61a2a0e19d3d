"""Results of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from mlpkit import _html
from mlpkit._checks import Unquoted, error_message
from mlpkit._serialization import JSONValue, to_dict
from mlpkit.training.objectives import Task

__all__ = [
    "ClassMetrics",
    "ClassificationMetrics",
    "Evaluation",
    "MultilabelMetrics",
    "RegressionMetrics",
    "TargetMetrics",
]

_Row: TypeAlias = tuple[str, ...]

# Smallest width of the columns after the name.
_SIZES = {"class": (9, 6, 6, 7), "label": (9, 6, 6, 7), "target": (10, 10, 8)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """Metrics of a classifier for one class or one label; a ratio with denominator 0 is 0.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MultilabelMetrics:
    """Metrics of a classifier with several labels on a data set.

    Attributes:
        accuracy: Weighted fraction of the labels that are predicted correctly; one minus the
            Hamming loss.
        exact_match: Weighted fraction of the examples whose labels are all predicted correctly.
        calibration_error: Expected calibration error of the probabilities of all labels, in [0, 1].
        per_label: The metrics of each label.
    """

    accuracy: float
    exact_match: float
    calibration_error: float
    per_label: tuple[ClassMetrics, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMetrics:
    """Weighted metrics of a regression for one entry of the target.

    Attributes:
        name: Name of the target, or its index as a string.
        rmse: Square root of the mean squared error, in the units of the target.
        mae: Mean absolute error, in the units of the target.
        r2: Coefficient of determination, at most 1; a constant target has 1 if it is predicted
            exactly, else 0.
    """

    name: str
    rmse: float
    mae: float
    r2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionMetrics:
    """Metrics of a regression on a data set.

    Attributes:
        rmse: Square root of the mean over the targets of their mean squared errors.
        mae: Mean over the targets of their mean absolute errors.
        r2: Mean over the targets of their coefficients of determination.
        per_target: The metrics of each entry of a target.
    """

    rmse: float
    mae: float
    r2: float
    per_target: tuple[TargetMetrics, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """The result of evaluating a model on a data set; ``print`` and notebooks show all metrics.

    If the examples have weights, the loss, the accuracy, the error, the exact matches and the
    metrics of a regression are weighted. The confusion matrix, the metrics of each class or label
    and the calibration error are not weighted.

    Attributes:
        loss: Mean loss over the examples; for a classifier the cross-entropy, in nats.
        num_examples: Number of examples.
        classification: Metrics of a classifier with one class for each example; None otherwise.
        multilabel: Metrics of a classifier with several labels for each example; None otherwise.
        regression: Metrics of a regression; None otherwise, and if it is unknown which predictions
            the outputs of the model are.
        objective_loss: Mean of the objective of a classifier that is trained on another loss than
            cross-entropy; None otherwise.
        metrics: Value of each custom metric of the trainer by name; it may be NaN or infinite.
    """

    loss: float
    num_examples: int
    classification: ClassificationMetrics | None = None
    multilabel: MultilabelMetrics | None = None
    regression: RegressionMetrics | None = None
    objective_loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def task(self) -> Task:
        """Task of the model."""
        if self.classification is not None:
            return "classification"
        return "regression" if self.multilabel is None else "multilabel"

    def _classifier(self, name: str) -> ClassificationMetrics | MultilabelMetrics:
        found = self.classification or self.multilabel
        if found is None:
            rule = "read from the evaluation of a classifier"
            raise AttributeError(error_message(name, rule, Unquoted("a regression"), "use loss"))
        return found

    def _classification(self, name: str) -> ClassificationMetrics:
        if self.classification is None:
            rule = "read from the evaluation of a classifier"
            got, cure = "a regression", "use loss"
            if self.multilabel is not None:
                rule += " with one class for each example"
                got, cure = "several labels", "use per_label"
            raise AttributeError(error_message(name, rule, Unquoted(got), cure))
        return self.classification

    def _multilabel(self, name: str) -> MultilabelMetrics:
        if self.multilabel is None:
            rule = "read from the evaluation of a classifier with several labels"
            got, cure = "a regression", "use loss"
            if self.classification is not None:
                got, cure = "one class for each example", "use accuracy and per_class"
            raise AttributeError(error_message(name, rule, Unquoted(got), cure))
        return self.multilabel

    def _regression(self, name: str) -> RegressionMetrics:
        if self.regression is None:
            rule = "read from the evaluation of a regression"
            got, cure = "a classifier", "use accuracy"
            if self.task == "regression":
                rule += " whose outputs have the shape of the targets"
                got, cure = "a custom objective", "use loss"
            raise AttributeError(error_message(name, rule, Unquoted(got), cure))
        return self.regression

    @property
    def accuracy(self) -> float:
        """Fraction of correctly classified examples, or of correctly predicted labels.

        A soft target counts as its largest class; a soft label above 0.5 counts as present.
        """
        return self._classifier("accuracy").accuracy

    @property
    def error(self) -> float:
        """One minus the accuracy."""
        return 1.0 - self._classifier("error").accuracy

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
        return self._classifier("calibration_error").calibration_error

    @property
    def exact_match(self) -> float:
        """Fraction of the examples whose labels are all predicted correctly."""
        return self._multilabel("exact_match").exact_match

    @property
    def per_label(self) -> tuple[ClassMetrics, ...]:
        """Precision, recall, F1 and support of each label."""
        return self._multilabel("per_label").per_label

    @property
    def rmse(self) -> float:
        """Square root of the mean squared error, in the units of the targets."""
        return self._regression("rmse").rmse

    @property
    def mae(self) -> float:
        """Mean absolute error, in the units of the targets."""
        return self._regression("mae").mae

    @property
    def r2(self) -> float:
        """Coefficient of determination, at most 1; the mean over the targets."""
        return self._regression("r2").r2

    @property
    def per_target(self) -> tuple[TargetMetrics, ...]:
        """RMSE, MAE and coefficient of determination of each target."""
        return self._regression("per_target").per_target

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the evaluation in plain values that JSON can represent.

        The value of ``counts`` is the confusion matrix. Metrics of another task are None, and so
        are custom metrics that are NaN or infinite.
        """
        found = to_dict(self)
        found["metrics"] = {
            name: value if math.isfinite(value) else None for name, value in self.metrics.items()
        }
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
        if self.multilabel is not None:
            parts += [
                f"accuracy={self.accuracy:.4f}",
                f"exact_match={self.exact_match:.4f}",
                f"calibration_error={self.calibration_error:.4f}",
                f"num_labels={len(self.per_label)}",
            ]
        if self.regression is not None:
            parts += [
                f"rmse={self.rmse:.4g}",
                f"mae={self.mae:.4g}",
                f"r2={self.r2:.4f}",
                f"num_targets={len(self.per_target)}",
            ]
        parts += [f"{name}={value:.4g}" for name, value in self.metrics.items()]
        return f"Evaluation({', '.join(parts)})"

    def __str__(self) -> str:
        head, rows = self._cells()
        if not rows:
            return self._headline()
        # The columns have a minimum width, so the tables of several evaluations align.
        sizes = (max(len(line[0]) for line in (head, *rows)), *_SIZES[head[0]])
        lines = (
            "  ".join(cell.rjust(size) for cell, size in zip(line, sizes, strict=True))
            for line in (head, *rows)
        )
        return "\n".join([self._headline(), *lines])

    def _repr_html_(self) -> str:
        head, rows = self._cells()
        return _html.table(head, rows, caption=self._headline())

    def _headline(self) -> str:
        """Return the metrics of all examples in one line."""
        first = f"loss {self.loss:.4f} on {self.num_examples:,} examples"
        if self.objective_loss is not None:
            first += f", objective {self.objective_loss:.4f}"
        custom = "".join(f", {name} {value:.4g}" for name, value in self.metrics.items())
        if self.classification is not None:
            first += f", accuracy {self.accuracy:.2%}, error {self.error:.2%}"
            return f"{first}, calibration error {self.calibration_error:.2%}{custom}"
        if self.multilabel is not None:
            first += f", accuracy {self.accuracy:.2%}, exact match {self.exact_match:.2%}"
            return f"{first}, calibration error {self.calibration_error:.2%}{custom}"
        if self.regression is not None:
            first += f", RMSE {self.rmse:.4g}, MAE {self.mae:.4g}, R2 {self.r2:.4f}"
        return first + custom

    def _cells(self) -> tuple[_Row, list[_Row]]:
        """Return the heading and the rows of the classes, labels or several targets as text."""
        if self.regression is not None and len(self.per_target) > 1:
            return ("target", "rmse", "mae", "r2"), [
                (one.name, f"{one.rmse:.4g}", f"{one.mae:.4g}", f"{one.r2:.4f}")
                for one in self.per_target
            ]
        kind = "class" if self.multilabel is None else "label"
        classes: tuple[ClassMetrics, ...] = ()
        if self.classification is not None:
            classes = self.per_class
        elif self.multilabel is not None:
            classes = self.per_label
        return (kind, "precision", "recall", "f1", "support"), [
            (one.name, *(f"{x:.4f}" for x in (one.precision, one.recall, one.f1)), str(one.support))
            for one in classes
        ]
