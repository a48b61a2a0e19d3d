"""The folder of a run: each run gets a new folder, and all folders have the same file names."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass
from pathlib import Path

from mlpkit._files import write_atomically

__all__ = ["RunFolder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of the files of a run.

    Attributes:
        path: The folder itself.
    """

    path: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """Create a new folder for a run; an existing folder is never reused."""
        moment = datetime.datetime.now(tz=datetime.UTC).astimezone().strftime("%Y%m%d-%H%M%S")
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = parent / (f"{name}-{moment}" + (f"-{number}" if number > 1 else ""))
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)
        raise AssertionError("itertools.count never ends")

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

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file atomically."""
        write_atomically(path, lambda file: file.write(text.encode()))
