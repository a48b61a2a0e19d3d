"""The predictions for the rows of a table, as CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit._serialization import JSONValue
from mlpkit.cli._model import Model
from mlpkit.data import TableEncoder
from mlpkit.errors import DataError
from mlpkit.models import MultilabelClassifier, SoftmaxClassifier

__all__ = ["PredictedRows", "predicted_rows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedRows:
    """A table of predictions.

    Attributes:
        names: Names of the columns.
        columns: The values of each column.
    """

    names: tuple[str, ...]
    columns: tuple[Sequence[str | int | float], ...]

    def to_csv(self) -> str:
        """Return the table as CSV; a number has the digits that determine it in float32."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.names)
        writer.writerows(zip(*(map(_shortest, column) for column in self.columns), strict=True))
        return text.getvalue()

    def to_dicts(self) -> list[JSONValue]:
        """Return one dict per row."""
        return [dict(zip(self.names, row, strict=True)) for row in zip(*self.columns, strict=True)]


def predicted_rows(model: Model, encoder: TableEncoder, inputs: Tensor) -> PredictedRows:
    """Return the predictions of a model for rows of a table.

    The columns have the names of the targets. ``P(species=setosa)`` is the probability of a class
    and ``P(label)`` that of a label; ``std(price)`` is a predicted standard deviation.

    Args:
        model: The model.
        encoder: Its encoder.
        inputs: The encoded rows.

    Raises:
        DataError: If a prediction is not finite.
    """
    names = () if encoder.target is None else encoder.target.names
    if isinstance(model, SoftmaxClassifier):
        target = names[0] if names else "class"
        probabilities = _rows(model.predict_proba(inputs))
        classes = [model.classes[index] for index in probabilities.argmax(1).tolist()]
        return PredictedRows(
            names=(target, *(f"P({target}={name})" for name in model.classes)),
            columns=(classes, *_columns(probabilities)),
        )
    if isinstance(model, MultilabelClassifier):
        probabilities = _rows(model.predict_proba(inputs))
        labels = model.classes if len(model.classes) == probabilities.shape[1] else names
        decisions = _rows(model.predict(inputs).int())
        return PredictedRows(
            names=(*labels, *(f"P({name})" for name in labels)),
            columns=(*_columns(decisions), *_columns(probabilities)),
        )
    predictions = _rows(model.predict(inputs))
    found = model.target_names or names
    if len(found) != predictions.shape[1]:
        found = tuple(f"prediction {index}" for index in range(predictions.shape[1]))
    if not model.predicts_std:
        return PredictedRows(names=found, columns=_columns(predictions))
    return PredictedRows(
        names=(*found, *(f"std({name})" for name in found)),
        columns=(*_columns(predictions), *_columns(_rows(model.predict_std(inputs)))),
    )


def _rows(values: Tensor) -> Tensor:
    """Return predictions as (N, D) on the CPU, after a check that they are finite."""
    rows = values.cpu().reshape(len(values), -1)
    if not bool(rows.isfinite().all()):
        row = int((~rows.isfinite()).nonzero()[0, 0])
        cure = "check the values of the row, and the weights of the model"
        found = Unquoted("NaN or infinity")
        raise DataError(error_message(f"the prediction for row {row}", "finite", found, cure))
    return rows


def _columns(rows: Tensor) -> tuple[Sequence[int | float], ...]:
    """Return the columns of (N, D) as plain numbers."""
    return tuple(column.tolist() for column in rows.T)


def _shortest(value: str | float) -> str | float:
    """Return a number with up to 9 digits, which determine a float32."""
    return float(f"{value:.9g}") if isinstance(value, float) else value
