"""FileSource: a CSV file or a folder of images, and how its examples are split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self, get_args

import torch
from torch import Tensor

from mlpkit import _serialization
from mlpkit._checks import (
    Check,
    Unquoted,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_tuple,
    error_message,
    or_none,
    store_checked,
)
from mlpkit._files import open_regular, printable
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data.sets import DatasetName, Splits
from mlpkit.data.tables import (
    Table,
    TableEncoder,
    TableTarget,
    TargetTask,
    check_text,
    read_csv,
)
from mlpkit.errors import ConfigError, DataError

__all__ = ["FileSource"]

_FEWEST: Final = 10  # examples that can be split


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    r"""A CSV file, or a folder with one subfolder of images per class, and how it is split.

    The split depends on the file, the targets and the seed alone. It is stratified by class, and
    made before the columns of a table are encoded: the encoder is fitted on the training rows.

    Attributes:
        path: The file or folder.
        target: Names of the columns to predict; empty for a folder of images.
        task: What the targets of a table are; None finds it, see :meth:`TableEncoder.fit`.
        ignore: Names of columns of a table that are left out.
        image_size: Height and width to which images are resized; None requires equal sizes.
        color: Whether images are read as RGB, not as gray.
        val_fraction: Fraction of the examples held out for validation, in [0, 1).
        test_fraction: Fraction of the examples held out for the test, in (0, 1).
        split_seed: Seed of the split.
        sha256: SHA-256 of the CSV file that is meant; a file with other content is refused. None
            accepts any.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a field is out of range, or nothing is left for training.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mlpkit.data import FileSource
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "table.csv"
        ...     rows = "".join(f"{n},{n % 3},{2 * n}.5\n" for n in range(100))
        ...     _ = path.write_text("x,group,y\n" + rows)
        ...     train, val, test = FileSource(path=path, target=("y",)).load()
        >>> len(train), len(val), len(test), train.encoder.feature_names
        (70, 15, 15, ('x', 'group'))
    """

    path: str | Path
    target: tuple[str, ...] = ()
    task: TargetTask | None = None
    ignore: tuple[str, ...] = ()
    image_size: tuple[int, ...] | None = None
    color: bool = False
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        store_checked(self, _CHECKS)
        if self.val_fraction + self.test_fraction >= 1.0:
            rule = f"less than {1 - self.test_fraction:g}, so that training examples are left"
            raise ValueError(error_message("val_fraction", rule, self.val_fraction))

    @classmethod
    def from_config(cls, values: Mapping[str, object]) -> Self | None:
        """Return the files of a run from the content of its ``config.toml``.

        Returns:
            None if ``dataset`` is the name of a data set.

        Raises:
            ConfigError: If a value is invalid.
        """
        path, options = values.get("dataset"), values.get("data", {})
        if not isinstance(path, str) or path in get_args(DatasetName):
            return None
        if not isinstance(options, Mapping):
            raise ConfigError(error_message("data", "a table of options", options))
        try:
            return _serialization.from_dict(cls, {**options, "path": path})
        except (TypeError, ValueError) as error:
            raise ConfigError(str(error)) from error

    @property
    def is_folder(self) -> bool:
        """Whether the path is a folder of images rather than a CSV file."""
        return Path(self.path).is_dir()

    def digest(self) -> str | None:
        """Return the SHA-256 of the CSV file; None for a folder.

        Raises:
            OSError: If the file cannot be read.
        """
        if self.is_folder:
            return None
        digest = hashlib.sha256()
        with open_regular(self.path) as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    def load(self, *, encoder: TableEncoder | None = None) -> Splits:
        """Read and split the examples.

        Args:
            encoder: Encodes the rows of a table, such as that of a trained model; None fits one on
                the training rows.

        Raises:
            DataError: If the path does not exist, or the examples cannot be read or split.
            ValueError: If a column does not exist, or an option does not fit the path.
            MissingDependencyError: If pandas or narwhals is not installed and the path is a file.
        """
        if not Path(self.path).exists():
            rule = "a CSV file, or a folder with one subfolder of images per class"
            raise DataError(error_message(printable(self.path), rule, Unquoted("no such file")))
        return self._load_images() if self.is_folder else self._load_table(encoder)

    def _load_images(self) -> Splits:
        for name in ("target", "task", "ignore"):
            value = getattr(self, name)
            if value:
                rule = "left out for a folder of images"
                cure = "the names of the subfolders are the classes"
                raise ValueError(error_message(name, rule, value, cure))
        size = None if self.image_size is None else (self.image_size[0], self.image_size[1])
        data = LabeledTensors.from_folder(self.path, size=size, color=self.color)
        if data.num_classes == 1:
            rule = "a folder with a subfolder of images for each of two or more classes"
            found = Unquoted(f"one subfolder, {(data.classes or ('',))[0]}")
            raise DataError(error_message(printable(self.path), rule, found))
        self._check_count(len(data), "images")
        rows = self._split(data.targets)
        train, val, test = (data.subset(part) for part in rows)
        return Splits(train, val if len(val) else None, test)

    def _load_table(self, encoder: TableEncoder | None) -> Splits:
        if self.image_size is not None or self.color:
            name = "color" if self.image_size is None else "image_size"
            rule = "left out for a CSV file"
            raise ValueError(error_message(name, rule, getattr(self, name)))
        if self.sha256 is not None and self.digest() != self.sha256:
            rule = "the CSV file that the run was trained on"
            cure = "restore it, or evaluate a file of another name with all its rows"
            found = Unquoted("other content")
            raise DataError(error_message(printable(self.path), rule, found, cure))
        frame = read_csv(self.path, text_columns=() if encoder is None else encoder.text_columns)
        table = Table(frame)
        if not self.target:
            listed = ", ".join(table.columns[:20]) + (", ..." if len(table.columns) > 20 else "")
            rule = "the name of the column to predict"
            raise ValueError(error_message("target", rule, Unquoted("none"), f"there are {listed}"))
        meaning = None if encoder is None else encoder.target
        if meaning is None:
            meaning = TableTarget.fit(table, self.target, task=self.task)
        self._check_count(len(table), "rows")
        rows = [part.numpy() for part in self._split(meaning.encode(table))]
        if encoder is None:
            encoder = TableEncoder.fit(table.select(rows[0]), target=meaning, ignore=self.ignore)
        train, val, test = (
            LabeledTensors.from_frame(frame.iloc[part], encoder=encoder) if len(part) else None
            for part in rows
        )
        assert train is not None, "the encoder was fitted on its rows"
        assert test is not None, "an empty test set is refused"
        return Splits(train, val, test)

    def _check_count(self, count: int, what: str) -> None:
        """Refuse too few examples for a split."""
        if count < _FEWEST:
            rule = f"of at least {_FEWEST} {what}, to be split into training and test {what}"
            raise DataError(error_message(printable(self.path), rule, count))

    def _split(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the indices of the training, validation and test examples, each in order."""
        held_out = [self.val_fraction, self.test_fraction]
        indices = LabeledTensors(torch.arange(len(targets)), targets)
        train, val, test = indices.split([1 - sum(held_out), *held_out], seed=self.split_seed)
        if not len(test):
            rule = f"large enough for one of the {len(targets)} examples"
            raise ValueError(error_message("test_fraction", rule, self.test_fraction))
        return train.inputs, val.inputs, test.inputs


def _check_path(argument: str, value: object) -> str | Path:
    """Return a path."""
    if not isinstance(value, str | Path) or not str(value):
        raise TypeError(error_message(argument, "the path of a file or folder", value))
    return str(value) if isinstance(value, str) else value  # NumPy's string becomes Python's


def _check_names(argument: str, value: object) -> tuple[str, ...]:
    """Return names of columns as a tuple; one name may stand alone."""
    names = (value,) if isinstance(value, str) else value
    return check_tuple(argument, names, check_text, rule="names of columns")


def _check_size(argument: str, value: object) -> tuple[int, ...]:
    """Return height and width."""
    rule = "two integers, height and width"
    sides = check_tuple(argument, value, partial(check_int, minimum=1), rule=rule)
    if len(sides) != 2:
        raise ValueError(error_message(argument, rule, sides))
    return sides


def _check_sha256(argument: str, value: object) -> str:
    """Return 64 hexadecimal digits."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(error_message(argument, "64 hexadecimal digits", value))
    return str(value)


_CHECKS: Mapping[str, Check[object]] = MappingProxyType(
    {
        "path": _check_path,
        "target": _check_names,
        "task": or_none(partial(check_choice, names=get_args(TargetTask))),
        "ignore": _check_names,
        "image_size": or_none(_check_size),
        "color": check_bool,
        "val_fraction": partial(check_float, minimum=0.0, below=1.0),
        "test_fraction": partial(check_float, above=0.0, below=1.0),
        "split_seed": partial(check_int, minimum=0),
        "sha256": or_none(_check_sha256),
    }
)
