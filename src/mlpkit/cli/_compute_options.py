"""The options --device and --precision of commands that use a trained model."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path

from mlpkit._checks import error_message
from mlpkit._devices import Precision, autocast, available_device, find_device
from mlpkit.cli._model import Model, load_model

__all__ = ["ComputeOptions", "check_device_option"]


def check_device_option(name: str) -> None:
    """Raise unless a device has a valid name, and holds values: a meta device has none."""
    if find_device(name).type == "meta":
        raise ValueError(error_message("--device", "a device that holds values", name))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ComputeOptions:
    """The device and the precision of a trained model."""

    device: str = "auto"
    """auto: an accelerator if there is one, else the CPU; or a device of torch such as cuda:0."""
    precision: Precision = "fp32"
    """Autocast precision of the network; the stored weights are unchanged."""

    def __post_init__(self) -> None:
        check_device_option(self.device)

    def load_model(self, path: Path) -> Model:
        """Load the model of a folder and move it to the device.

        Raises:
            ArtifactError: If the model is missing or damaged.
            ValueError: If this machine has no such device.
        """
        device = available_device(self.device)
        return load_model(path).to(device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context of the precision."""
        return autocast(self.precision, available_device(self.device))
