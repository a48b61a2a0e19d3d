"""The history: typed rows that survive every round trip to the last bit."""

from __future__ import annotations

import csv
import importlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpkit.errors import ConfigError, MissingDependencyError
from mlpkit.training import EpochRow, History
from mlpkit.training.metrics._history import COLUMNS


def row(epoch: int, train_loss: float = 0.1, val_loss: float | None = None) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        step=10 * (epoch + 1),
        lr=1e-3,
        train_loss=train_loss,
        seconds=1.5,
        examples_per_second=4e4,
        val_loss=val_loss,
    )


THREE = History([row(0, 0.1 + 0.2), row(1, 1 / 3, 5e-324), row(2, 1e308, 0.0)])


def test_is_a_sequence_of_rows() -> None:
    assert isinstance(THREE, Sequence)
    assert len(THREE) == 3
    assert THREE[-1].epoch == 2
    assert [one.epoch for one in THREE] == [0, 1, 2]
    assert THREE[1:] == History([THREE[1], THREE[2]])
    assert row(1) not in THREE


def test_equality_is_that_of_the_rows() -> None:
    assert History(list(THREE)) == THREE
    assert History() != THREE
    assert History([row(0, 0.1)]) != History([row(0, math.nextafter(0.1, 1.0))])


def test_json_round_trip_is_exact(tmp_path: Path) -> None:
    path = THREE.save_json(tmp_path / "history.json")
    assert History.load_json(path) == THREE
    assert [file.name for file in tmp_path.iterdir()] == ["history.json"]


@given(loss=st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_comes_back_to_the_last_bit(loss: float) -> None:
    text = json.dumps(History([row(0, loss)]).to_dict(), allow_nan=False)
    (again,) = History.from_dict(json.loads(text))
    assert again.train_loss.hex() == loss.hex()


def test_csv_reads_back_with_the_standard_library(tmp_path: Path) -> None:
    path = THREE.to_csv(tmp_path / "history.csv")
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(COLUMNS)
    for line, one in zip(lines, THREE, strict=True):
        for column, value in one.to_dict().items():
            assert line[column] == "" if value is None else float(line[column]) == value


def test_to_pandas_has_a_row_for_each_epoch() -> None:
    pytest.importorskip("pandas", reason="pandas is optional")
    frame = THREE.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["train_loss"].tolist() == [one.train_loss for one in THREE]
    assert list(History().to_pandas().columns) == list(COLUMNS)


def test_to_pandas_without_pandas_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        THREE.to_pandas()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=f"train_loss must be a finite number, got {bad}"):
        row(0, bad)
    with pytest.raises(ValueError, match=f"val_loss must be a finite number, got {bad}"):
        row(0, 0.1, bad)


def test_append_refuses_an_epoch_that_is_there() -> None:
    history = History([row(3)])
    with pytest.raises(
        ValueError, match=r"row\.epoch must be greater than the last one \(3\), got 3"
    ):
        history.append(row(3))
    assert len(history) == 1


def test_an_old_file_stays_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = THREE.save_json(tmp_path / "history.json")

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        History().save_json(path)
    monkeypatch.undo()
    assert History.load_json(path) == THREE
    assert len(list(tmp_path.iterdir())) == 1


class TestForeignFiles:
    @pytest.mark.parametrize("text", ["", "{", "[1, 2]", "{}", '{"format": "else"}', "\x00"])
    def test_what_is_no_history_is_refused(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "history.json"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"history\.json must be a history"):
            History.load_json(path)

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "history.json"
        path.write_text(json.dumps({"format": "mlpkit.history", "version": 2, "rows": []}))
        with pytest.raises(ConfigError, match="a history of version 1, got 2"):
            History.load_json(path)

    @pytest.mark.parametrize("rows", [None, 3, [3]])
    def test_rows_that_are_none_are_refused(self, rows: object, tmp_path: Path) -> None:
        path = tmp_path / "history.json"
        path.write_text(json.dumps({"format": "mlpkit.history", "version": 1, "rows": rows}))
        with pytest.raises(ConfigError, match=r"rows in .* must be a list of objects"):
            History.load_json(path)

    def test_an_unknown_column_is_refused_by_name(self) -> None:
        with pytest.raises(ConfigError, match="got 'train_los'; did you mean 'train_loss'"):
            History.from_dict([{"train_los": 1.0}])


def test_notebooks_show_the_columns_that_have_values() -> None:
    """Losses with four decimals; a metric without a value is empty; others are not shown."""
    shown = replace(row(1, 1 / 3, 0.5), val_accuracy=0.75, metrics={"f<1>": None, "auc": 0.12345})
    html = History([row(0), shown])._repr_html_()
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in html.split("<tr>")[1:]]
    assert cells == [
        ["epoch", "train_loss", "val_loss", "val_accuracy", "val_auc", "lr", "seconds"],
        ["0", "0.1000", "", "", "", "0.001", "1.5"],
        ["1", "0.3333", "0.5000", "0.7500", "0.1235", "0.001", "1.5"],
    ]
    regression = replace(row(0, 2.0), val_rmse=1234.5678, val_mae=1e-5, val_r2=0.5)
    assert "<td>1235</td><td>1e-05</td><td>0.5000</td>" in History([regression])._repr_html_()
    assert History()._repr_html_() == "<p>no epochs</p>"


def test_print_shows_every_epoch_with_aligned_columns() -> None:
    """The text has the cells of the table of notebooks."""
    history = History(row(epoch) for epoch in range(50))
    lines = str(history).splitlines()
    assert len(lines) == 51
    assert len({len(line) for line in lines}) == 1
    html = history[7:8]._repr_html_()
    assert lines[8].split() == re.findall("<td>(.*?)</td>", html)
    assert lines[0].split() == re.findall("<th>(.*?)</th>", html)
    assert str(History()) == "no epochs"


def test_notebooks_show_the_ends_of_a_long_history() -> None:
    html = History(row(epoch) for epoch in range(500))._repr_html_()
    assert html.count("<tr>") == 32
    assert "470 more rows" in html
    assert "<td>499</td>" in html
