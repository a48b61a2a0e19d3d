"""Metrics that users give by name: functions of all outputs, or objects that accumulate batches."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message, plain_scalar
from mlpkit.training.metrics._history import COLUMNS
from mlpkit.training.objectives import checked_outputs, widened

__all__ = ["CustomMetrics", "Metric", "MetricFunction", "MetricLike"]


@runtime_checkable
class Metric(Protocol):
    """A metric that accumulates batches, such as one of torchmetrics.

    The trainer calls :meth:`reset` before an evaluation, :meth:`update` for each batch and
    :meth:`compute` once at the end. A metric that is an ``nn.Module`` is moved to the device of the
    model. A bool attribute ``higher_is_better`` tells whether the best value is the largest one.
    """

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Add the outputs of the model and the targets of one batch."""
        ...

    def compute(self) -> float | Tensor:
        """Return the metric of all batches since the last reset, one number."""
        ...

    def reset(self) -> None:
        """Forget all batches."""
        ...


#: A function of the outputs and targets of all examples that returns one number.
MetricFunction: TypeAlias = Callable[[Tensor, Tensor], float | Tensor]
MetricLike: TypeAlias = Metric | MetricFunction


class CustomMetrics:
    """The custom metrics of a run by name.

    Args:
        metrics: A function or an object for each name.

    Raises:
        TypeError: If a metric is neither a function nor an object with the methods of
            :class:`Metric`.
        ValueError: If a name is no identifier, its column exists already, or one object has two
            names.
    """

    def __init__(self, metrics: Mapping[str, MetricLike] | None = None) -> None:
        if not isinstance(metrics, Mapping | None):
            raise TypeError(error_message("metrics", "a mapping from names to metrics", metrics))
        self._objects: dict[str, Metric] = {}
        for name, metric in (metrics or {}).items():
            _check_name(name)
            found = _as_object(name, metric)
            for other, one in self._objects.items():
                if one is found:
                    rule = f"another object than metrics[{other!r}], which would count twice"
                    cure = "pass a second object, or copy.deepcopy(...) of the first"
                    raise ValueError(error_message(f"metrics[{name!r}]", rule, metric, cure))
            self._objects[name] = found
        self._given: Mapping[str, MetricLike] = dict(metrics or {})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics, in the order given."""
        return tuple(self._objects)

    def direction(self, name: str) -> Literal["min", "max"] | None:
        """Return whether the best value of a metric is the smallest or the largest, if it says."""
        higher: object = getattr(self._given[name], "higher_is_better", None)
        return None if not isinstance(higher, bool) else "max" if higher else "min"

    def reset(self, device: torch.device) -> None:
        """Start an evaluation on a device."""
        with _no_grad():
            for metric in self._objects.values():
                if isinstance(metric, nn.Module):
                    metric.to(device)
                metric.reset()

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch; outputs in half precision are converted to float32."""
        if self._objects:
            with _no_grad():
                outputs = widened(checked_outputs(outputs))
                for metric in self._objects.values():
                    metric.update(outputs, targets)

    def compute(self) -> dict[str, float]:
        """Return the value of each metric, which may be NaN or infinite, and free the memory."""
        with _no_grad():
            found = {name: _number(name, one.compute()) for name, one in self._objects.items()}
            for metric in self._objects.values():
                if isinstance(metric, _OnAllOutputs):
                    metric.reset()
        return found


class _OnAllOutputs:
    """Keeps the outputs and targets of all batches on their device, for a function of all."""

    def __init__(self, function: MetricFunction) -> None:
        self._function = function
        self.reset()

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Keep one batch; copied, since a compiled model may reuse the memory of its outputs."""
        self._outputs.append(outputs.clone())
        self._targets.append(targets)

    def compute(self) -> float | Tensor:
        """Call the function."""
        return self._function(torch.cat(self._outputs), torch.cat(self._targets))

    def reset(self) -> None:
        """Free the memory."""
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []


@contextlib.contextmanager
def _no_grad() -> Iterator[None]:
    """Compute without gradients, but not in inference mode, whose tensors cannot be changed."""
    with torch.inference_mode(mode=False), torch.no_grad():
        yield


def _as_object(name: str, metric: object) -> Metric:
    argument = f"metrics[{name!r}]"
    rule = "a function of outputs and targets, or an object with update, compute and reset"
    if isinstance(metric, type):
        raise TypeError(error_message(argument, rule, metric, f"pass {metric.__name__}(...)"))
    if isinstance(metric, Metric):
        return metric
    if not callable(metric):
        raise TypeError(error_message(argument, rule, metric))
    return _OnAllOutputs(metric)


def _check_name(name: object) -> None:
    rule = "identifiers as names of metrics"
    if not isinstance(name, str):
        raise TypeError(error_message("metrics", rule, name))
    if not name.isidentifier():
        meant = "".join(char if f"a{char}".isidentifier() else "_" for char in name)
        meant = meant.removeprefix("val_")
        if not meant.isidentifier() or f"val_{meant}" in COLUMNS:
            meant = f"metric_{meant}".rstrip("_")
        raise ValueError(error_message("metrics", rule, name, f"use a name such as {meant!r}"))
    if name.startswith("val_"):
        cure = f"use {name.removeprefix('val_')!r}, whose column is {name!r}"
        raise ValueError(error_message("metrics", "names without the prefix 'val_'", name, cure))
    if f"val_{name}" in COLUMNS:
        cure = f"the column 'val_{name}' exists already; choose another name"
        raise ValueError(error_message("metrics", "other names", name, cure))


def _number(name: str, value: object) -> float:
    scalar = plain_scalar(value)
    if isinstance(scalar, bool) or not isinstance(scalar, numbers.Real):
        rule, shown, cure = "a metric whose result is one number", value, "average it"
        if isinstance(scalar, bool):
            shown, cure = scalar, "convert it with float(...)"
        elif isinstance(value, Tensor) and value.ndim:
            rule += ", not a tensor with axes"
            shown = tuple(value.shape)
        elif value is None:
            cure = "return it"
        elif isinstance(value, Mapping):
            cure = "pass its metrics one by one"
        raise TypeError(error_message(f"metrics[{name!r}]", rule, shown, cure))
    return float(scalar)
