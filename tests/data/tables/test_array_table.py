"""An array of numbers is read as a frame with the same columns is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from mlpkit.data import TableEncoder
from mlpkit.data.tables import ArrayTable
from mlpkit.errors import DataError

ARRAY = np.array([[1.0, np.nan, 5.0], [2.0, 3.0, 5.0], [4.0, 7.0, 5.0]])


def test_an_array_is_encoded_as_a_frame() -> None:
    frame = pd.DataFrame(ARRAY, columns=["x0", "x1", "x2"])
    encoder = TableEncoder.fit(ArrayTable(ARRAY), categories="codes")
    assert encoder == TableEncoder.fit(frame, categories="codes")
    assert torch.equal(encoder.transform(ArrayTable(ARRAY)), encoder.transform(frame))


def test_columns_can_have_names() -> None:
    table = ArrayTable(ARRAY, names=("a", "b", "c")).select(np.array([1]))
    assert table.columns == ("a", "b", "c")
    assert table.read("c").numbers.tolist() == [5.0]


def test_rows_are_selected() -> None:
    table = ArrayTable(ARRAY.astype(np.float32)).select(np.array([2, 0]))
    assert len(table) == 2
    assert table.read("x0").numbers.tolist() == [4.0, 1.0]


def test_the_array_is_copied() -> None:
    array = ARRAY.copy()
    table = ArrayTable(array)
    array[:] = 0
    assert table.read("x0").numbers.tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"array must be an array of real numbers with two axes, got float64 of"),
        (np.zeros((2, 2), dtype=complex), "got complex128"),
        (np.array([["a"]]), "got <U1"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArrayTable(array)


def test_infinity_is_refused() -> None:
    with pytest.raises(DataError, match="column 'x1' must be finite or missing, got inf"):
        ArrayTable(np.array([[1.0, np.inf]])).read("x1")
