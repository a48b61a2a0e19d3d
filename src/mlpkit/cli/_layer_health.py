"""What the hidden layers of a run do, measured after each epoch while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._serialization import JSONValue
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import ActivationStatistics, activation_statistics
from mlpkit.report._layer_health import layer_health_to_dict, read_plain, write_layer_health
from mlpkit.training import Callback, EpochRow, Trainer

__all__ = ["LayerHealthLog"]

NUM_EXAMPLES = 256  # a share is then known to some 0.03, and a measurement takes milliseconds


class LayerHealthLog(Callback):
    """Keeps a JSON file of saturation, dead units and gradient gain, before and after each epoch.

    Nothing about the training changes; what was measured is in its checkpoints too.

    Args:
        model: The classifier that is trained, with at least one hidden layer.
        inputs: Raw examples of which a few, evenly spread, are looked at each time.
        path: The file; its folder must exist.
    """

    def __init__(self, model: SoftmaxClassifier, inputs: Tensor, path: Path) -> None:
        places = torch.linspace(0, len(inputs) - 1, min(NUM_EXAMPLES, len(inputs))).long()
        self._model = model
        self._inputs = inputs[places]
        self._path = path
        self._measured: dict[int, ActivationStatistics] = {}

    def on_fit_start(self, trainer: Trainer) -> None:  # noqa: ARG002 - the hook
        """Measure the network as it begins; one that goes on has been measured."""
        if not self._measured:
            self._measure(0)
        write_layer_health(self._path, self._measured)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
        """Measure, and write all measurements."""
        self._measure(row.epoch + 1)
        write_layer_health(self._path, self._measured)

    def state_dict(self) -> dict[str, JSONValue]:
        """Return the measurements."""
        return {"rows": layer_health_to_dict(self._measured)}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Take the measurements back."""
        self._measured = read_plain(state["rows"], source="the checkpoint")

    def _measure(self, epoch: int) -> None:
        inputs = self._model.standardize(self._inputs.to(self._model.mean.device))
        self._measured[epoch] = activation_statistics(self._model.network, inputs)
