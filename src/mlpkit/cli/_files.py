"""CSV files and folders of images on the command line, in the place of the name of a data set."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import get_args

from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit.cli._options import DataOptions
from mlpkit.cli._run_folder import RunFolder, missing_run_cure
from mlpkit.data import DatasetName, FileSource, LabeledTensors, Splits
from mlpkit.errors import ArtifactError, ConfigError, DataError
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.report import Run, read_run
from mlpkit.training import Task

__all__ = [
    "ReadSplits",
    "check_dataset",
    "dataset_name",
    "load_files",
    "read_for_model",
    "read_run_files",
    "task_of",
]

_SIZE_CURE = "pass size=(height, width)"


class ReadSplits:
    """Examples that were read for the defaults of the options; tyro does not look into it."""

    def __init__(self) -> None:
        self.splits: Splits | None = None


def read_run_files(folder: Path, root: Path | None) -> Run:
    """Read a run and its test set; the message for a file that was moved names the cure.

    Raises:
        ConfigError: If the folder is not that of a finished run.
        ArtifactError: If the model is missing or damaged.
        DataError: If the data cannot be found.
    """
    if not folder.exists():
        rule = "the folder of a run"
        raise ConfigError(error_message("RUN", rule, str(folder), missing_run_cure(folder)))
    try:
        return read_run(folder, root=root)
    except DataError as error:
        source = RunFolder(folder).read_source()
        if root is not None or source is None or Path(source.path).exists():
            raise
        raise DataError(f"{error}; pass --root with its new folder or path") from error


def dataset_name(text: str) -> DatasetName | None:
    """Return the data set with this name; None for the path of a file or folder."""
    return next((name for name in get_args(DatasetName) if name == text), None)


def check_dataset(text: str) -> None:
    """Raise unless ``text`` names a data set or may be a path; a path need not exist.

    Raises:
        ValueError: If it is neither; the message suggests the nearest name.
    """
    looks_like_a_path = os.sep in text or Path(text).suffix != "" or Path(text).exists()
    if dataset_name(text) is not None or looks_like_a_path:
        return
    try:
        check_choice("dataset", text, get_args(DatasetName))
    except ValueError as error:
        message = str(error)
        if "did you mean" not in message:
            message += "; or give the path of a CSV file or of a folder of images"
        raise ValueError(message) from None


def load_files(options: DataOptions, path: str) -> Splits:
    """Read and split a CSV file or a folder of images.

    Raises:
        DataError: If the path does not exist, or its examples cannot be read or split.
        ValueError: If an option does not fit the path.
    """
    try:
        return options.source(Path(path)).load()
    except DataError as error:
        raise _with_options(error) from error


def _with_options(error: DataError) -> DataError:
    """Return an error with the option for the size of images."""
    if _SIZE_CURE not in str(error):
        return error
    return DataError(str(error).replace(_SIZE_CURE, "pass --image-size HEIGHT WIDTH"))


def task_of(data: LabeledTensors) -> Task:
    """Return what the targets of examples from files are; images have classes."""
    target = None if data.encoder is None else data.encoder.target
    return "classification" if target is None else target.task


def read_for_model(
    model: SoftmaxClassifier | MultilabelClassifier | Regressor,
    path: Path,
    source: FileSource | None,
    split: str,
) -> LabeledTensors:
    """Return the labeled examples of a file or folder on which a model is evaluated.

    Args:
        model: The model.
        path: A CSV file, or a folder with one subfolder of images per class.
        source: The files that the model was trained on; None if they are unknown. If they, or a
            copy of the CSV file, are at ``path``, one part of their split is returned, else all
            examples.
        split: The part, ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        DataError: If the examples cannot be read, or do not have the inputs of the model.
        ArtifactError: If the model is not one of a table or of images.
    """
    if not path.exists():
        rule = "the name of a data set, a CSV file or a folder of images"
        raise DataError(error_message("DATASET", rule, str(path), "there is no such file"))
    if source is not None and _is_source(path, source):
        own = dataclasses.replace(source, path=path)
        part: LabeledTensors | None = getattr(own.load(encoder=model.encoder), split)
        if part is None:
            rule = f"one with examples for --split {split}"
            raise DataError(error_message("DATASET", rule, str(path), "the run held out none"))
        return part
    if path.is_dir():
        shape = model.input_shape
        if len(shape) not in (2, 3) or not isinstance(model, SoftmaxClassifier):
            raise ArtifactError(error_message("MODEL", "a classifier of images", _found(model)))
        size = (shape[-2], shape[-1])
        return LabeledTensors.from_folder(
            path, size=size, color=len(shape) == 3, classes=model.classes
        )
    if model.encoder is None:
        cure = "mlpkit train FILE.csv --target COLUMN trains one"
        raise ArtifactError(
            error_message("MODEL", "a model of a table for a CSV file", _found(model), cure)
        )
    return LabeledTensors.from_csv(path, encoder=model.encoder)


def _is_source(path: Path, source: FileSource) -> bool:
    """Return whether the files at a path are those of a run, or a copy of its CSV file."""
    if path.resolve() == Path(source.path).resolve():
        return True
    return source.sha256 is not None and FileSource(path=path).digest() == source.sha256


def _found(model: SoftmaxClassifier | MultilabelClassifier | Regressor) -> Unquoted:
    """Return what a model takes, in words."""
    return Unquoted(f"a {type(model).__name__} of inputs of shape {model.input_shape}")
