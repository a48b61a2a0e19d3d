"""The predictions for the rows of a table as CSV and JSON."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest
import torch

from mlpkit import MLP, MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.cli._predicted_rows import PredictedRows, predicted_rows
from mlpkit.data import TableEncoder
from mlpkit.errors import DataError

FRAME = pd.DataFrame(
    {"x": [0.5, -1.0, 2.0], "kind": ["a", "b", "a, c"], "flag": [0, 1, 1], "y": [1.5, 2.5, 3.0]}
)


def network(outputs: int) -> MLP:
    """Return a linear network of one feature."""
    return MLP(1, (), outputs, generator=torch.Generator().manual_seed(0))


def encoder(*targets: str) -> TableEncoder:
    """Return an encoder of x with these targets."""
    ignore = [name for name in FRAME.columns if name not in ("x", *targets)]
    return TableEncoder.fit(FRAME, target=targets or None, ignore=ignore)


def test_classes_with_their_probabilities() -> None:
    fitted = encoder("kind")
    model = SoftmaxClassifier(network(3), classes=("a", "a, c", "b"))
    inputs = fitted.transform(FRAME)
    rows = predicted_rows(model, fitted, inputs)
    assert rows.names == ("kind", "P(kind=a)", "P(kind=a, c)", "P(kind=b)")
    assert rows.columns[0] == [model.classes[index] for index in model.predict(inputs)]
    read = list(csv.DictReader(io.StringIO(rows.to_csv())))
    found = np.array([[float(row[name]) for name in rows.names[1:]] for row in read], np.float32)
    np.testing.assert_array_equal(found, model.predict_proba(inputs).numpy())  # bit for bit
    assert [row["kind"] for row in read] == list(rows.columns[0])


def test_labels_with_their_probabilities() -> None:
    fitted = encoder("flag")
    model = MultilabelClassifier(network(2), classes=("p", "q"))
    rows = predicted_rows(model, fitted, fitted.transform(FRAME))
    assert rows.names == ("p", "q", "P(p)", "P(q)")
    assert set(rows.columns[0]) <= {0, 1}


def test_numbers_with_and_without_standard_deviations() -> None:
    fitted = encoder("y")
    inputs = fitted.transform(FRAME)
    model = Regressor(network(1), target_mean=100.0)
    rows = predicted_rows(model, fitted, inputs)
    assert rows.names == ("y",)
    assert rows.columns[0] == model.predict(inputs).tolist()
    both = Regressor(network(4), target_shape=(2,), target_names=("u", "v"), predicts_std=True)
    rows = predicted_rows(both, fitted, inputs)
    assert rows.names == ("u", "v", "std(u)", "std(v)")
    assert rows.columns[3] == both.predict_std(inputs)[:, 1].tolist()
    unnamed = Regressor(network(2), target_shape=(2,))
    assert predicted_rows(unnamed, encoder(), inputs).names == ("prediction 0", "prediction 1")


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    model = Regressor(network(1), std=1e-30)
    with pytest.raises(DataError, match="the prediction for row 1 must be finite"):
        predicted_rows(model, encoder("y"), torch.tensor([[0.0], [1e30]]))


def test_json_has_one_object_per_row() -> None:
    rows = PredictedRows(names=("a", "b"), columns=(["x", "y"], [0.5, 1.0]))
    assert rows.to_dicts() == [{"a": "x", "b": 0.5}, {"a": "y", "b": 1.0}]
    assert rows.to_csv() == "a,b\nx,0.5\ny,1.0\n"
