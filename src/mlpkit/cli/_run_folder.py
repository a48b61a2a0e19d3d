"""The folder of a run: each run gets a new folder, and all folders have the same file names."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mlpkit import _serialization
from mlpkit._checks import error_message
from mlpkit._files import write_atomically
from mlpkit.data import DatasetName, FileSource
from mlpkit.errors import ConfigError

__all__ = ["RunFolder", "make_folder", "missing_run_cure"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of the files of a run.

    Attributes:
        path: The folder itself.
    """

    path: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """Create a new folder for a run; an existing folder is never reused.

        Raises:
            ConfigError: If ``parent`` is not a folder.
            OSError: If the folder cannot be created.
        """
        moment = datetime.datetime.now(tz=datetime.UTC).astimezone().strftime("%Y%m%d-%H%M%S")
        make_folder("--runs", parent)
        for number in itertools.count(1):
            path = parent / (f"{name}-{moment}" + (f"-{number}" if number > 1 else ""))
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)
        raise AssertionError("itertools.count never ends")

    @classmethod
    def find(cls, parent: Path, *, launch: str, config: str) -> RunFolder | None:
        """Return the folder that an earlier attempt of a launch has created, if there is one.

        Args:
            parent: The folder of the folders of runs.
            launch: Name of the launch.
            config: The options of the run, as TOML.
        """
        found = [cls(path.parent) for path in parent.glob("*/launch.txt")]
        own = [
            folder
            for folder in found
            if folder.launch.read_text("utf-8") == launch
            and folder.config.read_text("utf-8") == config
        ]
        return max(own, key=lambda folder: folder.launch.stat().st_mtime, default=None)

    @property
    def launch(self) -> Path:
        """The launch of the run, by which its processes find the folder after a restart."""
        return self.path / "launch.txt"

    @property
    def config(self) -> Path:
        """The options of the run, as TOML; ``mlpkit train --config`` reads it back."""
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def history_csv(self) -> Path:
        """The history as CSV, updated after every epoch."""
        return self.path / "history.csv"

    @property
    def history_json(self) -> Path:
        """The history as JSON, written at the end of the run."""
        return self.path / "history.json"

    @property
    def model(self) -> Path:
        """The folder of the trained classifier."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """The test metrics, as JSON."""
        return self.path / "test.json"

    @property
    def layer_health(self) -> Path:
        """Activation statistics before the first and after each epoch, as JSON."""
        return self.path / "layer_health.json"

    def read_source(self) -> FileSource | None:
        """Return the files that the run was trained on; None for a data set, or if unknown.

        The path may be that of the model inside the folder of the run.

        Raises:
            ConfigError: If the file of the options cannot be read.
        """
        return FileSource.from_config(self._read_config())

    def read_dataset(self) -> DatasetName | None:
        """Return the name of the data set that the run used; None for files, or if unknown.

        Raises:
            ConfigError: If the file of the options cannot be read.
        """
        given = self._read_config().get("dataset")
        return next((name for name in get_args(DatasetName) if name == given), None)

    def read_root(self, dataset: str) -> tuple[Path | None, bool]:
        """Return where the run found a data set, and whether it verified the files.

        Returns:
            None and True if the run used another data set or the default folders.

        Raises:
            ConfigError: If the file of the options cannot be read.
        """
        values = self._read_config()
        if values.get("dataset") != dataset:
            return None, True
        root = values.get("root")
        return Path(root) if isinstance(root, str) else None, values.get("verify") is not False

    def _read_config(self) -> dict[str, object]:
        """Return the options of the run; empty without the file."""
        path = self.config
        if not path.is_file() and self.path.resolve().name == "model":
            path = self.path.resolve().parent / "config.toml"
        if not path.is_file():
            return {}
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                error_message(str(path), "a readable TOML file", str(error))
            ) from error
        return _serialization.parse_toml(text, source=str(path))

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(path, lambda file: file.write(text.encode()))


def make_folder(option: str, path: Path) -> None:
    """Create a folder and its parents unless it exists.

    Args:
        option: The option that names the folder, for the error message.
        path: The folder.

    Raises:
        ConfigError: If a file has its path, or that of a parent.
        OSError: If it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        cure = "a file has this path or the path of a parent folder"
        raise ConfigError(error_message(option, "a folder", str(path), cure)) from error


def missing_run_cure(path: Path) -> str:
    """Return what to do about a folder of a run that does not exist.

    The newest run is named whose folder begins like ``path``: documentation and users write
    ``runs/mnist-...`` for the name, which ends with the time.
    """
    beginning = path.name.rstrip(".").removesuffix("…")
    found = (each for each in path.parent.glob("*/config.toml") if path.parent.is_dir())
    runs = [each.parent for each in found if each.parent.name.startswith(beginning)]
    if not runs:
        return "mlpkit train creates one in runs"
    newest = max(runs, key=lambda each: (each / "config.toml").stat().st_mtime)
    return f"the newest one is {newest}"
