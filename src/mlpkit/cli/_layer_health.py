"""Activation statistics of the hidden layers, measured after each epoch of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._serialization import JSONValue
from mlpkit.cli._model import Model
from mlpkit.nn import ActivationStatistics, activation_statistics
from mlpkit.report import layer_health_from_rows, layer_health_to_rows, write_layer_health
from mlpkit.training import Callback, EpochRow, Trainer

__all__ = ["LayerHealthLog"]

NUM_EXAMPLES = 256  # standard error of a share: at most 0.03; a measurement takes milliseconds


class LayerHealthLog(Callback):
    """Write saturation, dead units and gradient gain to a JSON file, at the start and every epoch.

    The callback does not change the run. Its measurements are part of the checkpoints.

    Args:
        model: The model in training, with at least one hidden layer.
        inputs: Raw examples; each measurement uses the same evenly spaced subset of them.
        path: The file; its folder must exist.
    """

    on_every_rank = False

    def __init__(self, model: Model, inputs: Tensor, path: Path) -> None:
        indices = torch.linspace(0, len(inputs) - 1, min(NUM_EXAMPLES, len(inputs))).long()
        self._model = model
        self._inputs = inputs[indices]
        self._path = path
        self._measured: dict[int, ActivationStatistics] = {}

    def on_fit_start(self, trainer: Trainer) -> None:  # noqa: ARG002 - the hook
        """Measure the untrained network; a resumed run already has that measurement."""
        if not self._measured:
            self._measure(0)
        write_layer_health(self._path, self._measured)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
        """Measure the network and write all measurements."""
        self._measure(row.epoch + 1)
        write_layer_health(self._path, self._measured)

    def state_dict(self) -> dict[str, JSONValue]:
        """Return the measurements."""
        return {"rows": layer_health_to_rows(self._measured)}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Restore the measurements."""
        self._measured = layer_health_from_rows(state["rows"], source="the checkpoint")

    def _measure(self, epoch: int) -> None:
        inputs = self._model.standardize(self._inputs.to(self._model.mean.device))
        self._measured[epoch] = activation_statistics(self._model.network, inputs)
