"""Tables: frames of pandas and polars, and CSV files, as tensors of numbers."""

from __future__ import annotations

from mlpkit.data.tables._array_table import ArrayTable
from mlpkit.data.tables._columns import (
    CategoryColumn,
    Column,
    ConstantColumn,
    NumberColumn,
    check_text,
)
from mlpkit.data.tables._csv import read_csv
from mlpkit.data.tables._encoder import CategoryEncoding, TableEncoder, require_target
from mlpkit.data.tables._frame import Frame, Table, check_distinct
from mlpkit.data.tables._target import TableTarget, TargetTask

__all__ = [
    "ArrayTable",
    "CategoryColumn",
    "CategoryEncoding",
    "Column",
    "ConstantColumn",
    "Frame",
    "NumberColumn",
    "Table",
    "TableEncoder",
    "TableTarget",
    "TargetTask",
    "check_distinct",
    "check_text",
    "read_csv",
    "require_target",
]
