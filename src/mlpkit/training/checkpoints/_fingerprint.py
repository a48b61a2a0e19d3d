"""Fingerprint of a run, which decides whether a checkpoint can be resumed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from mlpkit._checks import stable_repr
from mlpkit._serialization import flattened
from mlpkit.errors import ResumeMismatchError
from mlpkit.training._config import TrainerConfig
from mlpkit.training._monitor import monitor_of
from mlpkit.training.batches import BatchSource
from mlpkit.training.objectives import Objective

__all__ = ["check_same", "normalize_reprs", "run_fingerprint", "settings"]

#: Settings that may change on resume: they affect when a run ends and what it reports, but not the
#: steps. The number of epochs and the limit of steps affect the steps through the schedule, which
#: is checked; the limit also where it has cut an epoch short, which the checkpointer checks.
FREE = frozenset(
    {
        *("epochs", "max_steps", "batch_size", "eval_batch_size", "device", "deterministic"),
        *("validate_every", "train_metrics", "early_stopping", "checkpoints", "max_seconds"),
        *("sharding", "sync_every", "progress"),
    }
)

_ABSENT = "absent"


def run_fingerprint(
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    train: BatchSource,
    val: BatchSource | None,
) -> dict[str, str]:
    """Return what a resumed run must have in common with this one, as text by field."""
    fields = {
        "data.train": train.fingerprint,
        "data.train.num_examples": str(train.num_examples),
        "data.train.num_batches": str(len(train)),
        "data.val": _ABSENT if val is None else val.fingerprint,
        "objective": stable_repr(objective),
        "optimizer": type(optimizer).__qualname__,
    }
    for name, module in model.named_modules():
        described = f"{type(module).__qualname__}({module.extra_repr()})"
        fields[f"model.{name}" if name else "model"] = _without_addresses(described)
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            fields[f"model.{name}"] = f"{str(value.dtype).removeprefix('torch.')} {[*value.shape]}"
    return fields


def settings(config: TrainerConfig) -> dict[str, str]:
    """Return the settings that must not change on resume, as text by field."""
    monitor = monitor_of(config.monitor)  # a name alone means the same as one with its direction
    plain = config.to_dict() | {"monitor": f"{monitor.name}:{monitor.mode}"}
    checked = {name: value for name, value in plain.items() if name not in FREE}
    return {f"config.{name}": repr(value) for name, value in flattened(checked).items()}


def normalize_reprs(
    saved: Mapping[str, str], now: Mapping[str, str], model: nn.Module
) -> dict[str, str]:
    """Return the saved fields, with the reprs of torch's modules as this version writes them.

    A version of torch may show an option that another omits: ``BatchNorm1d(4)`` becomes
    ``BatchNorm1d(4, bias=True)``. Modules count as equal if all options that both show are equal.
    """
    normalized = dict(saved)
    for name, module in model.named_modules():
        field = f"model.{name}" if name else "model"
        if type(module).__module__.startswith("torch.") and field in saved and field in now:
            old, new = _options(saved[field]), _options(now[field])
            if all(old[key] == new[key] for key in old.keys() & new.keys()):
                normalized[field] = now[field]
    return normalized


def _options(described: str) -> dict[str, str]:
    """Return the class, the positional and the named options of ``Class(1, name=value)``."""
    name, _, rest = described.partition("(")
    words = rest.removesuffix(")").split(", ")
    positional = [word for word in words if "=" not in word]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    return {"class": name, "positional": ", ".join(positional), **named}


def check_same(path: Path, saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise if a checkpoint differs in any field; the error lists all differences.

    Raises:
        ResumeMismatchError: If a field differs or exists on one side only.
    """
    differences = {
        field: (saved.get(field, _ABSENT), now.get(field, _ABSENT))
        for field in sorted(saved.keys() | now.keys())
        if saved.get(field, _ABSENT) != now.get(field, _ABSENT)
    }
    if differences:
        raise ResumeMismatchError(path, differences)


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
