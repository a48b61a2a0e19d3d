"""CSV files and folders of images, from training to prediction."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mlpkit.cli import _main as main
from mlpkit.cli._files import check_dataset, read_for_model, task_of
from mlpkit.data import FileSource, LabeledTensors
from mlpkit.errors import ArtifactError, DataError
from mlpkit.models import Regressor, SoftmaxClassifier, load_model
from mlpkit.nn import MLP
from mlpkit.report import read_run

FAST = ("--epochs", "2", "--hidden-features", "8")


def run_in_process(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which is faster than a new one that imports torch."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main.run(words)
        except SystemExit as end:  # raised by tyro
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def write_table(path: Path, count: int = 120, seed: int = 0) -> pd.DataFrame:
    """Write numbers with missing values, categories and targets of each kind, and return them."""
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 10, count)
    city = generator.choice(["Rome", "Oslo", "Bonn"], count)
    price = 3 * age + 20 * (city == "Rome")
    frame = pd.DataFrame(
        {
            "age": np.where(generator.random(count) < 0.1, np.nan, age),
            "city": np.where(generator.random(count) < 0.1, "", city),
            "unit": "cm",
            "price": price,
            "rich": (price > 120).astype(int),
            "old": (age > 40).astype(int),
        }
    )
    frame.to_csv(path, index=False)
    return pd.read_csv(path)  # an empty field is a missing value


def write_images(
    folder: Path, count: int = 20, classes: tuple[str, ...] = ("dark", "light")
) -> None:
    """Write gray images of 8 x 8 pixels, dark and light ones."""
    generator = np.random.default_rng(0)
    for number in range(count):
        place = number % len(classes)
        pixels = generator.integers(0, 100, (8, 8), dtype=np.uint8) + np.uint8(150 * place)
        path = folder / classes[place] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def only_run(folder: Path) -> Path:
    """Return the only folder of a run."""
    (path,) = (folder / "runs").iterdir()
    return path


@pytest.mark.parametrize(
    ("targets", "left_out", "expected"),
    [
        (["rich"], ["old", "price"], "rich, 2 classes (0, 1)"),
        (["price"], ["old", "rich"], "price (numbers)"),
        (["rich", "old"], ["price"], "rich, old (labels)"),
    ],
)
def test_a_table_from_training_to_prediction(
    tmp_path: Path, targets: list[str], left_out: list[str], expected: str
) -> None:
    """The model alone predicts a CSV file, as Python does; report and evaluate find the data."""
    write_table(tmp_path / "table.csv")
    words = [f"--{kind}" for kind in ("target",) * len(targets) + ("ignore",) * len(left_out)]
    options = [word for pair in zip(words, targets + left_out, strict=True) for word in pair]
    result = run_in_process("train", "table.csv", *options, *FAST, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "table.csv: 84 training, 18 validation and 18 test examples" in result.stdout
    assert f"target: {expected}" in result.stdout
    folder = only_run(tmp_path)
    values = tomllib.loads((folder / "config.toml").read_text())
    assert values["dataset"] == str(tmp_path / "table.csv")
    assert values["data"]["target"] == targets

    new = write_table(tmp_path / "new.csv", 15, seed=1)
    result = run_in_process(
        "predict", "new.csv", "--model", str(folder), "--out", "out.csv", cwd=tmp_path
    )
    assert (result.returncode, result.stdout) == (0, "out.csv\n"), result.stderr
    model = load_model(folder / "model")
    assert model.encoder is not None
    inputs = model.encoder.transform(new)
    written = pd.read_csv(tmp_path / "out.csv")
    if isinstance(model, Regressor):
        assert written.columns.tolist() == targets
        predictions = model.predict(inputs)
        np.testing.assert_allclose(written["price"], predictions.numpy(), rtol=1e-6)
    else:
        probabilities = model.predict_proba(inputs).numpy()
        np.testing.assert_allclose(written[written.columns[-2:]], probabilities, rtol=1e-6)
        assert model.classes is not None
        classes = [model.classes[i] for i in probabilities.argmax(1)] if len(targets) == 1 else None
        decided = written[targets].to_numpy()
        chosen = (
            model.predict(inputs).numpy() if classes is None else np.array(classes, int)[:, None]
        )
        np.testing.assert_array_equal(decided, chosen)

    expected_test = json.loads((folder / "test.json").read_text())
    result = run_in_process("evaluate", str(folder), "table.csv", "--json", cwd=tmp_path)
    assert json.loads(result.stdout) == expected_test  # of its test rows
    result = run_in_process("evaluate", str(folder), "new.csv", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["num_examples"] == 15
    assert len(read_run(folder).test) == 18
    for command in ("report", "plot"):
        assert run_in_process(command, str(folder), cwd=tmp_path).returncode == 0


def test_a_run_on_a_table_is_repeated_and_resumed(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    first = ("--target", "price", "--split-seed", "3", *FAST)
    assert run_in_process("train", "./table.csv", *first, cwd=tmp_path).returncode == 0
    folder = only_run(tmp_path)
    config = str(folder / "config.toml")
    result = run_in_process("train", "--config", config, "--runs", "again", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (again,) = (tmp_path / "again").iterdir()
    assert (again / "test.json").read_text() == (folder / "test.json").read_text()
    assert (again / "config.toml").read_text() == (folder / "config.toml").read_text()
    result = run_in_process("train", "--resume", str(folder), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    other = ("--target", "rich", "--task", "regression", "--runs", "other")
    result = run_in_process("train", "--config", config, *other, cwd=tmp_path)
    assert "target: rich (numbers)" in result.stdout, result.stderr


def test_a_file_that_was_moved_is_found_with_root(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    assert (
        run_in_process("train", "table.csv", "--target", "price", *FAST, cwd=tmp_path).returncode
        == 0
    )
    (tmp_path / "moved").mkdir()
    (tmp_path / "table.csv").rename(tmp_path / "moved" / "table.csv")
    folder = only_run(tmp_path)
    result = run_in_process("report", str(folder), cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "table.csv must be a CSV file" in result.stderr
    assert run_in_process("report", str(folder), "--root", "moved", cwd=tmp_path).returncode == 0


def test_a_folder_of_images_from_training_to_prediction(tmp_path: Path) -> None:
    write_images(tmp_path / "mnist")  # a data set's name wins; with ./ it is a path
    result = run_in_process("train", "./mnist", "--epochs", "4", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "mnist: 14 training, 3 validation and 3 test examples" in result.stdout
    assert "target: 2 classes (dark, light)" in result.stdout
    folder = only_run(tmp_path)
    images = sorted((tmp_path / "mnist").rglob("*.png"))
    words = (*map(str, images), "--model", str(folder / "model"), "--json")
    result = run_in_process("predict", *words, cwd=tmp_path)
    predictions = json.loads(result.stdout)
    model = load_model(folder / "model")
    assert isinstance(model, SoftmaxClassifier)
    data = LabeledTensors.from_folder(tmp_path / "mnist")
    expected = model.predict_proba(data.inputs)[:, 0].tolist()
    assert [one["probabilities"]["dark"] for one in predictions] == pytest.approx(expected)
    (tmp_path / "other").mkdir()
    write_images(tmp_path / "other", 6, ("light",))
    result = run_in_process("evaluate", str(folder), "other", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["num_examples"] == 6, result.stderr
    assert run_in_process("report", str(folder), cwd=tmp_path).returncode == 0


def table(text: str) -> Callable[[Path], object]:
    """Return a function that writes table.csv."""
    return lambda folder: (folder / "table.csv").write_bytes(text.encode("latin1"))


def with_images(count: int, classes: tuple[str, ...]) -> Callable[[Path], object]:
    """Return a function that writes a folder of images."""
    return lambda folder: write_images(folder / "images", count, classes)


def nothing(folder: Path) -> None:
    """Write nothing."""


IDS = "id,x,y\n" + "".join(f"user{n},{n % 7},{n % 2}\n" for n in range(40))


@pytest.mark.parametrize(
    ("prepare", "words", "code", "message"),
    [
        (nothing, ("none.csv",), 1, "none.csv must be a CSV file, or a folder"),
        (nothing, ("mnsit",), 2, "DATASET must be one of .*got 'mnsit'; did you mean 'mnist'"),
        (nothing, ("wine",), 2, "got 'wine'; or give the path of a CSV file or of a folder"),
        (table(IDS), ("table.csv",), 2, "--target must be .*got none; there are id, x, y$"),
        (table(IDS), ("table.csv", "--target", "z"), 2, "--target must be .*got 'z'; there are"),
        (table(IDS), ("table.csv", "--target", "Y"), 2, "did you mean 'y'"),
        (table(IDS), ("table.csv", "--target", "y"), 1, "column 'id' must .*pass --ignore id if"),
        (
            table("x,y\n1,2\n" * 1 + "2,\n" * 20),
            ("table.csv", "--target", "y"),
            1,
            "target column 'y' must be given in each row, got 20 missing of 21",
        ),
        (
            table("x,y\n" + "1,2\n2,2\n" * 9),
            ("table.csv", "--target", "y"),
            1,
            "target column 'y' must be of at least two values, got '2' in each of 18 rows",
        ),
        (
            table("x,y\n" + "1,2\n1,3\n" * 9),
            ("table.csv", "--target", "y"),
            1,
            "FILE.csv must be a table with a column of at least two values besides the target",
        ),
        (
            table("day,y\n" + "".join(f"2024-01-{n + 1:02},{n % 2}\n" for n in range(30))),
            ("table.csv", "--target", "y"),
            1,
            "column 'day' must .*pass --ignore day, or convert dates to numbers",
        ),
        (table("x,y\n"), ("table.csv", "--target", "y"), 1, "rows below the names of the columns"),
        (table(""), ("table.csv", "--target", "y"), 1, "got an empty first line"),
        (table("x,y\n1,é\n"), ("table.csv", "--target", "y"), 1, "UTF-8 text, got the byte 0xe9"),
        (table("x,x\n1,2\n"), ("table.csv", "--target", "x"), 1, "distinct names of columns"),
        (table("x,y\n1,2\n"), ("table.csv", "--target", "y"), 1, "must be of at least two values"),
        (table("x,y\n1,2\n2,3\n"), ("table.csv", "--target", "y"), 1, "of at least 10 rows"),
        (table(IDS), ("table.csv", "--target", "y", "--color"), 2, "--color must be left out"),
        (
            table(IDS),
            ("table.csv", "--target", "x", "--ignore", "id", "--pool", "2"),
            1,
            "--pool must be 1 for a table",
        ),
        (
            table(IDS),
            ("table.csv", "--target", "y", "--val-fraction", "2"),
            2,
            "--val-fraction must be a finite number",
        ),
        (with_images(1, ("a",)), ("images",), 1, "for each of two or more classes, got one"),
        (with_images(4, ("a", "b")), ("images",), 1, "must be of at least 10 images"),
        (with_images(9, ("a",)), ("images/a",), 1, "must be a folder of class folders"),
        (with_images(12, ("a", "b")), ("images", "--target", "a"), 2, "--target must be left out"),
    ],
)
def test_every_failure_is_one_message(
    tmp_path: Path,
    prepare: Callable[[Path], object],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """It has the words of the command line; nothing is written."""
    prepare(tmp_path)
    result = run_in_process("train", *words, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "runs").exists()


def test_options_of_files_are_for_files(run_here: Callable[..., int], tmp_path: Path) -> None:
    assert run_here("train", "digits", "--target", "x") == 2
    write_table(tmp_path / "table.csv")
    assert run_here("train", "table.csv", "--target", "price", "--root", ".") == 2
    assert not (tmp_path / "runs").exists()


def test_images_of_different_sizes_name_the_option(
    run_here: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "images", 12)
    Image.new("L", (9, 5)).save(tmp_path / "images" / "dark" / "z.png")
    assert run_here("train", "images") == 1
    assert "pass --image-size HEIGHT WIDTH to resize" in capsys.readouterr().err
    words = ("--image-size", "5", "6", "--color", "--epochs", "1", "--hidden-features", "4")
    assert run_here("train", "images", *words) == 0
    assert load_model(only_run(tmp_path) / "model").input_shape == (3, 5, 6)
    path = str(tmp_path / "images" / "dark" / "z.png")
    assert run_here("predict", path, "--model", str(only_run(tmp_path))) == 0


def test_what_may_be_a_path() -> None:
    for text in ("digits", "mnist", "./mnist", "none.csv", "a/b"):
        check_dataset(text)
    with pytest.raises(ValueError, match="did you mean 'kmnist'"):
        check_dataset("kmnits")


def test_files_that_do_not_fit_a_model_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    write_images(tmp_path / "images")
    images = SoftmaxClassifier(MLP(64, (), 2), classes=("dark", "light"), input_shape=(8, 8))
    with pytest.raises(ArtifactError, match="MODEL must be a model of a table for a CSV file"):
        read_for_model(images, tmp_path / "table.csv", None, "test")
    with pytest.raises(ArtifactError, match="MODEL must be a classifier of images"):
        read_for_model(Regressor(MLP(2, (), 1)), tmp_path / "images", None, "test")
    with pytest.raises(DataError, match="DATASET must be the name of a data set"):
        read_for_model(images, tmp_path / "none", None, "test")
    found = read_for_model(images, tmp_path / "images", None, "test")
    assert torch.equal(found.inputs, LabeledTensors.from_folder(tmp_path / "images").inputs)
    source = FileSource(path=tmp_path / "images", val_fraction=0.0)
    assert len(read_for_model(images, tmp_path / "images", source, "test")) == 3
    with pytest.raises(DataError, match="one with examples for --split val"):
        read_for_model(images, tmp_path / "images", source, "val")
    assert task_of(found) == "classification"


@pytest.mark.parametrize("rows", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_many_rows(tmp_path: Path, rows: int) -> None:
    """The whole file is read, split, encoded and predicted."""
    write_table(tmp_path / "table.csv", rows)
    words = ("--target", "price", "--epochs", "1", "--batch-size", "4096", "--hidden-features", "4")
    result = run_in_process("train", "table.csv", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    sizes = (rows * 7 // 10, rows * 3 // 20)
    expected = "{:,} training, {:,} validation and {:,} test examples".format(*sizes, sizes[1])
    assert expected in result.stdout
    model = str(only_run(tmp_path))
    result = run_in_process(
        "predict", "table.csv", "--model", model, "--out", "o.csv", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    with (tmp_path / "o.csv").open() as file:
        assert sum(1 for _ in csv.reader(file)) == rows + 1


def test_the_test_rows_are_those_of_the_run(tmp_path: Path) -> None:
    """A copy and another path have them; a file that has changed is refused, not encoded anew."""
    frame = write_table(tmp_path / "table.csv")
    words = ("--target", "price", "--ignore", "rich", "--ignore", "old", *FAST)
    assert run_in_process("train", "table.csv", *words, cwd=tmp_path).returncode == 0
    folder = only_run(tmp_path)
    expected = json.loads((folder / "test.json").read_text())

    def evaluated(model: str, file: str, *more: str, cwd: Path = tmp_path) -> object:
        result = run_in_process("evaluate", model, file, "--json", *more, cwd=cwd)
        return json.loads(result.stdout) if result.returncode == 0 else result.stderr

    (tmp_path / "copy.csv").write_bytes((tmp_path / "table.csv").read_bytes())
    assert evaluated(str(folder), "copy.csv") == expected
    assert evaluated(".", "../../../table.csv", cwd=folder / "model") == expected
    (tmp_path / "moved").mkdir()
    (tmp_path / "copy.csv").rename(tmp_path / "moved" / "copy.csv")
    assert evaluated(str(folder), "copy.csv", "--root", "moved") == expected
    frame[["city", "price", "age", "unit", "rich", "old"]].to_csv(tmp_path / "table.csv")
    for command in (("evaluate", str(folder), "table.csv"), ("report", str(folder))):
        result = run_in_process(*command, cwd=tmp_path)
        assert result.returncode == 1
        assert (
            "must be the CSV file that the run was trained on, got other content" in result.stderr
        )


def test_predictions_do_not_replace_their_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    words: tuple[str, ...] = ("train", "table.csv", "--target", "price", *FAST)
    assert run_in_process(*words, cwd=tmp_path).returncode == 0
    before = (tmp_path / "table.csv").read_bytes()
    words = ("predict", "table.csv", "--model", str(only_run(tmp_path)), "--out", "table.csv")
    result = run_in_process(*words, cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "--out must be another file than the one that is read" in result.stderr
    assert (tmp_path / "table.csv").read_bytes() == before


def test_a_run_whose_file_was_moved_and_renamed(tmp_path: Path) -> None:
    """Each command names the cure, and works with the new path; another file is refused."""
    write_table(tmp_path / "table.csv")
    words = ("train", "table.csv", "--target", "price", *FAST)
    assert run_in_process(*words, cwd=tmp_path).returncode == 0
    run_path = str(only_run(tmp_path))
    (tmp_path / "new").mkdir()
    (tmp_path / "table.csv").rename(tmp_path / "new" / "other.csv")
    write_table(tmp_path / "wrong.csv", seed=1)
    before = sorted(only_run(tmp_path).rglob("*"))
    failing: tuple[tuple[tuple[str, ...], str], ...] = (
        (("report", run_path), "pass --root with its new folder or path"),
        (("plot", run_path), "pass --root with its new folder or path"),
        (("train", "--resume", run_path), "give its new path: mlpkit train PATH --resume runs"),
        (("train", "wrong.csv", "--resume", run_path), "got other content"),
    )
    for line_of_words, cure in failing:
        result = run_in_process(*line_of_words, cwd=tmp_path)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert cure.replace(" runs", f" {run_path}") in line
    assert sorted(only_run(tmp_path).rglob("*")) == before
    for line in (
        f"report {run_path} --root new/other.csv",
        f"evaluate {run_path} new/other.csv",
        f"train new/other.csv --resume {run_path}",
    ):
        result = run_in_process(*line.split(), cwd=tmp_path)
        assert result.returncode == 0, result.stderr


def test_predictions_for_other_columns(tmp_path: Path) -> None:
    """Another order and extra columns are fine; a missing column or an unknown class is named."""
    names = "Straße ü.csv"
    frame = write_table(tmp_path / names)[["age", "city", "rich"]]
    frame.to_csv(tmp_path / names, index=False)
    assert run_in_process("train", names, "--target", "rich", *FAST, cwd=tmp_path).returncode == 0
    model = str(only_run(tmp_path))

    def predicted(other: pd.DataFrame, *words: str) -> subprocess.CompletedProcess[str]:
        other.to_csv(tmp_path / "other.csv", index=False)
        if words:
            return run_in_process(*words, cwd=tmp_path)
        return run_in_process("predict", "other.csv", "--model", model, cwd=tmp_path)

    expected = predicted(frame).stdout
    assert expected
    assert predicted(frame.assign(extra=1)[["extra", "city", "age"]]).stdout == expected
    for other, words, message in (
        (frame[["age"]], (), "the columns of the training rows, age, city, got one without city"),
        (frame.assign(age="old"), (), "column 'age' must be numbers, as in the training rows"),
        (
            frame.assign(rich="maybe"),
            ("evaluate", model, "other.csv"),
            "target column 'rich' must be one of the classes (0, 1), got 'maybe'",
        ),
    ):
        result = predicted(other, *words)
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert message in line
