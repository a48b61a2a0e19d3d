"""Models that cannot be trained are refused by every entry point."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.training import Trainer, TrainerConfig, fit_many

CONFIG = TrainerConfig(epochs=1, progress=False, device="cpu")
DATA = LabeledTensors(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))


def in_torch_script(kind: str) -> nn.Module:
    linear = nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch warn that it is deprecated
        if kind == "script":
            return torch.jit.script(linear)
        return torch.jit.trace(linear, DATA.inputs)  # type: ignore[no-any-return,no-untyped-call]


@pytest.mark.parametrize("kind", ["script", "trace"])
@pytest.mark.parametrize("nested", [True, False])
def test_torch_script_is_refused(kind: str, *, nested: bool) -> None:
    model = in_torch_script(kind)
    model = nn.Sequential(nn.Flatten(), model) if nested else model
    with pytest.raises(TypeError, match=r"^model must be a module without parts in TorchScript"):
        Trainer(model, CONFIG)
    with pytest.raises(TypeError, match=r"^models\[1\] must be a module without parts in"):
        fit_many([nn.Linear(3, 2), model], DATA, config=CONFIG)


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^model must be a torch.nn.Module, got 3"):
        Trainer(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^models\[0\] must be a torch.nn.Module, got 3"):
        fit_many([3], DATA, config=CONFIG)  # type: ignore[list-item]
