"""Where and how precisely a trained model computes: the options --device and --precision."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path

from mlpkit._devices import Precision, autocast, available_device, find_device
from mlpkit.cli._model import load_model
from mlpkit.models import SoftmaxClassifier

__all__ = ["ComputeOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ComputeOptions:
    """What computes."""

    device: str = "auto"
    """auto: an accelerator where there is one; else a name as torch knows it, such as cuda:0."""
    precision: Precision = "fp32"
    """Numbers that the network computes with; the model's own stay as they are."""

    def __post_init__(self) -> None:
        find_device(self.device)

    def load_model(self, path: Path) -> SoftmaxClassifier:
        """Return the classifier of a folder, on the device.

        Raises:
            ArtifactError: If there is none, or it cannot be trusted.
            ValueError: If this machine has no such device.
        """
        device = available_device(self.device)
        return load_model(path).to(device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in the precision."""
        return autocast(self.precision, available_device(self.device))
