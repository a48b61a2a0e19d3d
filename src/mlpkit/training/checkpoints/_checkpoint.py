"""A checkpoint that is opened without the run: weights, history and settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from mlpkit._serialization import JSONValue, Saved
from mlpkit.training._config import TrainerConfig
from mlpkit.training._tracker import TrainState
from mlpkit.training.checkpoints._checkpointer import saved_config
from mlpkit.training.checkpoints._file_format import read_checkpoint
from mlpkit.training.metrics import History
from mlpkit.training.optim import AverageState

__all__ = ["Checkpoint", "checkpoint_of", "load_checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Checkpoint:
    """The content of a checkpoint, on the CPU; see :func:`load_checkpoint`.

    Attributes:
        path: Path of the file.
        trained_state: ``state_dict`` of the model after the latest step.
        average: State of the average of the weights; None if none was kept.
        best_state: ``state_dict`` of the model in the best epoch so far; None without
            ``restore_best``. For the file ``best.pt`` read ``model_state`` instead.
        history: One row for each completed epoch.
        state: Counters of the run.
        config: Settings of the run, with a value for every default, but without ``checkpoints``.
        model_config: Configuration of the model in plain values, such as that of an
            :class:`mlpkit.MLP`; None if the model has none.
        versions: Versions of mlpkit, torch and Python that wrote the file, by name.
    """

    path: Path
    trained_state: Mapping[str, Tensor]
    average: AverageState | None
    best_state: Mapping[str, Tensor] | None
    history: History
    state: TrainState
    config: TrainerConfig
    model_config: Mapping[str, JSONValue] | None
    versions: Mapping[str, str]

    @property
    def model_state(self) -> dict[str, Tensor]:
        """``state_dict`` of the model with the weights that the run validated.

        They are the averaged weights if an average was kept, else the trained ones. Batch norm has
        its averaged statistics, which a validation recomputes from the training data.
        """
        average = self.average
        if average is None or not average["num_averaged"]:
            return dict(self.trained_state)
        tensors = average["tensors"]
        return {
            name: tensors[name].to(value.dtype) if name in tensors else value
            for name, value in self.trained_state.items()
        }

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, epoch={self.state.epoch}, step={self.state.step})"


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint without its data and its model; every byte is verified, and no code runs.

    To resume the run pass the path to ``Trainer.fit(..., resume=path)`` instead.

    Args:
        path: Path of a checkpoint that a :class:`Trainer` wrote.

    Raises:
        CheckpointCorruptError: If the file is truncated, altered or no checkpoint.
        CheckpointVersionError: If the version of the format is not supported.
        CheckpointError: If the file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from mlpkit import MLP
        >>> from mlpkit.data import LabeledTensors
        >>> from mlpkit.training import CheckpointConfig, Trainer, TrainerConfig, load_checkpoint
        >>> data = LabeledTensors(torch.rand(8, 2), torch.arange(8) % 2)
        >>> with TemporaryDirectory() as folder:
        ...     checkpoints = CheckpointConfig(folder=folder)
        ...     config = TrainerConfig(epochs=3, checkpoints=checkpoints, progress=False)
        ...     result = Trainer(MLP(2, (4,), 2), config).fit(data)
        ...     checkpoint = load_checkpoint(checkpoints.last)
        >>> len(checkpoint.history), checkpoint.state.epoch
        (3, 3)
        >>> MLP(2, (4,), 2).load_state_dict(checkpoint.model_state)
        <All keys matched successfully>
    """
    return checkpoint_of(Path(path), read_checkpoint(path))


def checkpoint_of(path: Path, content: Mapping[str, Saved]) -> Checkpoint:
    """Return a checkpoint whose content has been read.

    Raises:
        CheckpointCorruptError: If a part is missing.
    """
    config = saved_config(content, path)  # checks that no part is missing
    return Checkpoint(
        path=path,
        trained_state=cast("dict[str, Tensor]", content["model"]),
        average=cast("AverageState | None", content["average"]),
        best_state=cast("dict[str, Tensor] | None", content.get("best")),
        history=History.from_dict(cast("list[dict[str, object]]", content["history"])),
        state=TrainState(**cast("dict[str, int]", content["state"])),
        config=config,
        model_config=cast("dict[str, JSONValue] | None", content.get("model_config")),
        versions=cast("dict[str, str]", content["versions"]),
    )
