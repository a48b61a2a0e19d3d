"""Where and how precisely a trained model computes: the options --device and --precision."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from mlpkit.classifier import SoftmaxClassifier
from mlpkit.cli._model import load_model
from mlpkit.training._config import find_device, usable_device

__all__ = ["Machine", "Precision"]

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]

_AUTOCAST: Mapping[Precision, torch.dtype | None] = {
    "fp32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
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
            ArtefactError: If there is none, or it cannot be trusted.
            ValueError: If this machine has no such device.
        """
        device = usable_device(self.device)
        return load_model(path).to(device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in the precision."""
        dtype = _AUTOCAST[self.precision]
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(usable_device(self.device).type, dtype)
