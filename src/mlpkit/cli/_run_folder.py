"""The folder of one training run: a new one each time, with the same file names in each."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass
from pathlib import Path

from mlpkit._files import write_atomically

__all__ = ["RunFolder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what it made.

    Attributes:
        path: The folder itself.
    """

    path: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """Make a folder of its own for a run; one that exists is never used again."""
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
        """A row for each epoch, kept up to date while the run trains."""
        return self.path / "history.csv"

    @property
    def history_json(self) -> Path:
        """The same when the run has ended."""
        return self.path / "history.json"

    @property
    def model(self) -> Path:
        """The folder of the trained classifier."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """The figures on the test set, as JSON."""
        return self.path / "test.json"

    @property
    def layer_health(self) -> Path:
        """What the hidden layers did before the training and after each epoch, as JSON."""
        return self.path / "layer_health.json"

    def write_text(self, path: Path, text: str) -> None:
        """Write a whole text file."""
        write_atomically(path, lambda file: file.write(text.encode()))
