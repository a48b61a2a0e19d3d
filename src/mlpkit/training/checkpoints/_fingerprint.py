"""Whether a checkpoint belongs to the training that wants to go on with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from mlpkit._checks import stable_repr
from mlpkit._serialization import JSONValue
from mlpkit.errors import ResumeMismatchError
from mlpkit.training._config import TrainerConfig
from mlpkit.training.batches import BatchSource
from mlpkit.training.objectives import Objective

__all__ = ["check_same", "normalize_reprs", "run_fingerprint", "settings"]

#: Settings that may change on resume: they decide when a training ends and what is told of it,
#: not what a step does. The number of epochs counts through the schedule alone.
FREE = frozenset(
    {
        *("epochs", "batch_size", "eval_batch_size", "device", "deterministic", "validate_every"),
        *("early_stopping", "checkpoints", "max_seconds", "sync_every", "progress"),
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
    """Return what makes this training this one, by field, readable."""
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
    """Return the settings that a resume must keep, by field, readable."""
    fields: dict[str, str] = {}
    for key, plain in config.to_dict().items():
        if key not in FREE:
            fields.update(_flat(f"config.{key}", plain))
    return fields


def normalize_reprs(
    saved: Mapping[str, str], now: Mapping[str, str], model: nn.Module
) -> dict[str, str]:
    """Return saved fields, those of torch's own modules as this torch words them.

    A release of torch may show an option that another leaves out: ``BatchNorm1d(4)`` becomes
    ``BatchNorm1d(4, bias=True)``. Where every option that both show is the same, so is the module.
    """
    reworded = dict(saved)
    for name, module in model.named_modules():
        field = f"model.{name}" if name else "model"
        if type(module).__module__.startswith("torch.") and field in saved and field in now:
            was, now_is = _options(saved[field]), _options(now[field])
            if all(was[key] == now_is[key] for key in was.keys() & now_is.keys()):
                reworded[field] = now[field]
    return reworded


def _options(described: str) -> dict[str, str]:
    """Return the class, the positional and the named options of ``Class(1, name=value)``."""
    name, _, rest = described.partition("(")
    words = rest.removesuffix(")").split(", ")
    positional = [word for word in words if "=" not in word]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    return {"class": name, "positional": ", ".join(positional), **named}


def check_same(path: Path, saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse a checkpoint that differs in any field, listing each.

    Raises:
        ResumeMismatchError: If a field differs, or is on one side only.
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


def _flat(name: str, value: JSONValue) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, repr(value)
