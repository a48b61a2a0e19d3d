"""The metric that decides which epoch is best, and whether a run has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

from mlpkit import _serialization
from mlpkit._checks import Unquoted, check_choice, error_message, nearest, store_checked
from mlpkit.training.metrics import CustomMetrics
from mlpkit.training.objectives import Task

__all__ = [
    "MONITOR_DIRECTIONS",
    "Monitor",
    "MonitorMode",
    "MonitorName",
    "check_monitor",
    "check_monitored_task",
    "known_monitor",
    "monitor_of",
]

MonitorMode: TypeAlias = Literal["min", "max"]
MonitorName: TypeAlias = Literal[
    "train_accuracy",
    "train_loss",
    "train_rmse",
    "val_accuracy",
    "val_error",
    "val_loss",
    "val_mae",
    "val_objective_loss",
    "val_r2",
    "val_rmse",
]

#: Whether the best value of each column is the smallest or the largest.
MONITOR_DIRECTIONS: Final[Mapping[MonitorName, MonitorMode]] = {
    "train_accuracy": "max",
    "train_loss": "min",
    "train_rmse": "min",
    "val_accuracy": "max",
    "val_error": "min",
    "val_loss": "min",
    "val_mae": "min",
    "val_objective_loss": "min",
    "val_r2": "max",
    "val_rmse": "min",
}

_OF_A_CLASSIFIER = ("train_accuracy", "val_accuracy", "val_error", "val_objective_loss")
_OF_A_REGRESSION = ("train_rmse", "val_mae", "val_r2", "val_rmse")


@dataclass(frozen=True, slots=True)
class Monitor:
    """A column of the history that decides which epoch is best, and its direction.

    The name alone is enough for the columns of the library, such as ``"val_loss"``, and for a
    custom metric with an attribute ``higher_is_better``.

    Args:
        name: The column: ``"train_loss"``, ``"grad_norm"``, or one of the validation, such as
            ``"val_loss"``, or ``"val_f1"`` of the custom metric ``f1``.
        mode: ``"min"`` if the best value is the smallest, ``"max"`` if it is the largest.

    Raises:
        ValueError: If ``name`` is no such column or ``mode`` is something else.

    Example:
        >>> from mlpkit.training import Monitor, TrainerConfig
        >>> config = TrainerConfig(monitor=Monitor("val_f1", mode="max"))
        >>> TrainerConfig.from_toml(config.to_toml()) == config
        True
    """

    name: str
    mode: MonitorMode

    def __post_init__(self) -> None:
        check_mode = partial(check_choice, names=get_args(MonitorMode))
        store_checked(self, {"name": _check_name, "mode": check_mode}, prefix="monitor.")


def check_monitor(argument: str, value: object) -> str | Monitor:
    """Return a monitored column, or its name; a mapping is a :class:`Monitor` in plain values.

    Whether a column of the validation exists is known when the trainer has the custom metrics.
    """
    if isinstance(value, Monitor):
        return value
    if isinstance(value, Mapping):
        return _serialization.from_dict(Monitor, value)
    return _check_name(argument, value)


def _check_name(argument: str, value: object) -> str:
    names = (*MONITOR_DIRECTIONS, "grad_norm")
    if isinstance(value, str) and value.isidentifier() and value.startswith("val_"):
        return str(value)
    return check_choice(argument, value, names)


def known_monitor(monitor: str | Monitor, metrics: CustomMetrics) -> str | Monitor:
    """Return the monitored column with its direction, unless the table of columns has it.

    Raises:
        ValueError: If no run has the column, or its direction is unknown.
    """
    name = monitor if isinstance(monitor, str) else monitor.name
    custom = {f"val_{metric}": metric for metric in metrics.names}
    names = (*MONITOR_DIRECTIONS, "grad_norm", *custom)
    if name not in names:
        meant = _nearest(name, names)
        cure = "add the metric to metrics" if meant is None else f"did you mean {meant!r}?"
        listed = ", ".join(repr(one) for one in sorted(names))
        raise ValueError(error_message("monitor", f"one of {listed}", name, cure))
    if isinstance(monitor, Monitor) or name in MONITOR_DIRECTIONS:
        return monitor
    mode = metrics.direction(custom[name]) if name in custom else None
    if mode is None:
        rule = "a Monitor for a column whose direction is unknown"
        cure = f'use Monitor({name!r}, mode="min") or Monitor({name!r}, mode="max")'
        raise ValueError(error_message("monitor", rule, name, cure))
    return Monitor(name, mode)


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """Return the most similar name; a common prefix alone does not make names similar."""
    bare = {one.removeprefix("val_"): one for one in names}
    found = nearest(name.removeprefix("val_"), list(bare))
    return None if found is None else bare[found]


def monitor_of(monitor: str | Monitor) -> Monitor:
    """Return a monitored column whose direction is known."""
    if isinstance(monitor, Monitor):
        return monitor
    for name, mode in MONITOR_DIRECTIONS.items():
        if name == monitor:
            return Monitor(name, mode)
    return monitor_of(known_monitor(monitor, CustomMetrics()))


def check_monitored_task(name: str, task: Task) -> None:
    """Raise if no run of a task has a column.

    Raises:
        ValueError: If it is one of another task.
    """
    if task == "regression" and name in _OF_A_CLASSIFIER:
        rule, found = f"a classification for monitor={name!r}", "a regression"
    elif task != "regression" and name in _OF_A_REGRESSION:
        rule, found = f"a regression for monitor={name!r}", "a classification"
    else:
        return
    raise ValueError(error_message("train", rule, Unquoted(found), 'use monitor="val_loss"'))
