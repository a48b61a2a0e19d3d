"""A CSV file or a folder of images, split before anything is fitted."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mlpkit.data import FileSource, LabeledTensors, TableEncoder
from mlpkit.errors import ConfigError, DataError


def write_table(folder: Path, count: int = 100) -> pd.DataFrame:
    """Write a table with numbers, text and classes to table.csv, and return it."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "row": np.arange(count),
            "x": generator.normal(size=count),
            "kind": generator.choice(["p", "q"], count),
            "y": ["no"] * (count - count // 5) + ["yes"] * (count // 5),
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    return pd.read_csv(folder / "table.csv")  # earlier versions of pandas round the last digit


def write_images(folder: Path, count: int = 12, classes: tuple[str, ...] = ("a", "b")) -> Path:
    """Write gray images of 6 x 5 pixels with the value of their number."""
    for number in range(count):
        path = folder / "images" / classes[number % len(classes)] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 6), number).save(path)
    return folder / "images"


def test_a_table_is_split_by_class_and_encoded_with_the_training_rows(tmp_path: Path) -> None:
    frame = write_table(tmp_path)
    source = FileSource(path=tmp_path / "table.csv", target=("y",))
    train, val, test = source.load()
    assert val is not None
    parts = [part.inputs[:, 0].long() for part in (train, val, test)]
    assert sorted(torch.cat(parts).tolist()) == list(range(100))
    assert [part.class_counts.tolist() for part in (train, val, test)] == [
        [56, 14],
        [12, 3],
        [12, 3],
    ]
    rows = frame.iloc[parts[0].numpy()]
    assert train.encoder == TableEncoder.fit(rows, target="y")
    assert test.encoder is train.encoder
    assert train.classes == ("no", "yes")
    again = source.load()
    assert torch.equal(again.test.inputs, test.inputs)
    other = FileSource(path=tmp_path / "table.csv", target=("y",), split_seed=1).load()
    assert not torch.equal(other.test.inputs, test.inputs)


def test_what_the_test_rows_hold_changes_nothing_in_training(tmp_path: Path) -> None:
    """No statistic leaks from the rows that are held out."""
    frame = write_table(tmp_path)
    source = FileSource(path=tmp_path / "table.csv", target=("y",))
    train, val, test = source.load()
    assert val is not None
    held_out = torch.cat([val.inputs[:, 0], test.inputs[:, 0]]).long().numpy()
    frame.loc[held_out, "x"] = 1e6
    frame.loc[held_out[::2], "x"] = np.nan
    frame.loc[held_out, "kind"] = "other"
    frame.to_csv(tmp_path / "table.csv", index=False)
    again = source.load()
    assert again.train.encoder == train.encoder
    assert torch.equal(again.train.inputs, train.inputs)
    assert not torch.equal(again.test.inputs, test.inputs)


def test_options_of_a_table(tmp_path: Path) -> None:
    write_table(tmp_path)
    path = str(tmp_path / "table.csv")
    source = FileSource(
        path=path, target=("x",), ignore=("row", "y"), val_fraction=0.0, test_fraction=0.5
    )
    train, val, test = source.load()
    assert val is None
    assert (len(train), len(test)) == (50, 50)
    assert train.targets.is_floating_point()
    assert train.encoder is not None
    assert train.encoder.feature_names == ("kind=p", "kind=q")


def test_a_folder_of_images_is_split_by_class(tmp_path: Path) -> None:
    path = write_images(tmp_path, 40)
    train, val, test = FileSource(path=path).load()
    assert val is not None
    parts = [part.inputs[:, 0, 0].long() for part in (train, val, test)]
    assert sorted(torch.cat(parts).tolist()) == list(range(40))
    assert [part.class_counts.tolist() for part in (train, val, test)] == [
        [14, 14],
        [3, 3],
        [3, 3],
    ]
    everything = LabeledTensors.from_folder(path)
    assert torch.equal(train.inputs[0], everything.inputs[int(parts[0][0]) // 2])
    resized = FileSource(path=path, image_size=(3, 4), color=True).load()
    assert resized.train.inputs.shape[1:] == (3, 3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "target must be the name of the column to predict, got none; there are row, x, kind"),
        ({"target": "z"}, "target must be the name of a column, got 'z'"),
        ({"target": "y", "ignore": "z"}, "ignore must be the name of a column, got 'z'"),
        ({"target": "y", "task": "other"}, "task must be one of"),
        ({"target": "y", "val_fraction": 0.9}, "val_fraction must be less than 0.85"),
        ({"target": "y", "test_fraction": 0.0}, "test_fraction must be a finite number greater"),
        ({"target": "y", "test_fraction": 1e-4}, "test_fraction must be large enough for one of"),
        ({"target": "y", "image_size": (3,)}, "image_size must be two integers"),
        ({"target": "y", "image_size": (3, 3)}, "image_size must be left out for a CSV file"),
        ({"target": "y", "color": True}, "color must be left out for a CSV file"),
        ({"target": "y", "split_seed": -1}, "split_seed must be a non-negative integer"),
    ],
)
def test_wrong_options_of_a_table_are_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    write_table(tmp_path)
    with pytest.raises(ValueError, match=message):
        FileSource(path=tmp_path / "table.csv", **options).load()  # type: ignore[arg-type]


def test_too_few_examples_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path, 9)
    with pytest.raises(DataError, match=r"must be of at least 10 rows, to be split .* got 9"):
        FileSource(path=tmp_path / "table.csv", target=("y",)).load()
    with pytest.raises(DataError, match=r"must be of at least 10 images, to be split .* got 2"):
        FileSource(path=write_images(tmp_path, 2)).load()
    one = write_images(tmp_path / "one", 1)
    with pytest.raises(DataError, match="for each of two or more classes, got one subfolder, a"):
        FileSource(path=one).load()
    with pytest.raises(DataError, match=r"none must be a CSV file, or a folder .*got no such file"):
        FileSource(path=tmp_path / "none").load()
    with pytest.raises(ValueError, match="target must be left out for a folder of images"):
        FileSource(path=one, target=("y",)).load()


def test_the_files_of_a_run_are_found_in_its_configuration() -> None:
    values: dict[str, object] = {
        "dataset": "/data/table.csv",
        "data": {"target": ["y"], "image_size": [3, 4], "split_seed": 3},
        "network": {},
    }
    source = FileSource.from_config(values)
    assert source == FileSource(
        path="/data/table.csv", target=("y",), image_size=(3, 4), split_seed=3
    )
    for name in ("mnist", 3, None):
        assert FileSource.from_config({"dataset": name}) is None
    with pytest.raises(ConfigError, match="data must be a table of options"):
        FileSource.from_config({"dataset": "x.csv", "data": 3})
    with pytest.raises(ConfigError, match="did you mean 'target'"):
        FileSource.from_config({"dataset": "x.csv", "data": {"tagret": ["y"]}})
    with pytest.raises(ConfigError, match="split_seed must be"):
        FileSource.from_config({"dataset": "x.csv", "data": {"split_seed": "a"}})


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = "".join(f"{n},{n % 3},{2 * n}.5\n" for n in range(40))
    path.write_text("x,group,y\n" + rows)
    source = FileSource(path=path, target=("y",))
    digest = source.digest()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    meant = dataclasses.replace(source, sha256=digest)
    assert len(meant.load().train) == 28
    path.write_text("x,group,y\n" + rows + "40,1,80.5\n")
    with pytest.raises(DataError, match="must be the CSV file that the run was trained on"):
        meant.load()
    assert source.load().train.inputs.shape[1] == 2


def test_a_given_encoder_is_used(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,group,y\n" + "".join(f"{n},{n % 3},{2 * n}.5\n" for n in range(40)))
    source = FileSource(path=path, target=("y",))
    train, _, test = source.load()
    path.write_text("group,x,y\n" + "".join(f"{n % 3},{n},{2 * n}.5\n" for n in range(40)))
    other = source.load()
    assert not torch.equal(other.test.inputs, test.inputs)  # in the order of the columns
    same = source.load(encoder=train.encoder)
    assert torch.equal(same.test.inputs, test.inputs)
