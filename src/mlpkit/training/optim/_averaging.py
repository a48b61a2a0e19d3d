"""Averages of the weights over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import torch
from torch import Tensor, nn

from mlpkit._checks import (
    Check,
    Unquoted,
    check_float,
    check_int,
    error_message,
    or_none,
    store_checked,
)
from mlpkit.training._named_tensors import named_tensors
from mlpkit.training._shards import local, part_like

__all__ = ["AverageState", "AveragingConfig", "WeightAverage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragingConfig:
    r"""Settings of an average of the weights over the optimizer steps.

    After :math:`n` averaged steps with weights :math:`\theta_1, \dots, \theta_n` the average is

    .. math::
        \bar\theta_n = \frac{\sum_{i=1}^{n} d^{\,n-i}\, \theta_i}{\sum_{i=1}^{n} d^{\,n-i}},

    with ``decay`` :math:`d`. The average does not contain the initial weights: it is a
    bias-corrected exponential average, like the moments of Adam. Without a decay all averaged steps
    have the same weight, :math:`d = 1`.

    Args:
        decay: Factor on the older weights at each averaged step, in [0, 1); None for the uniform
            average. The average covers about the latest ``1 / (1 - decay)`` averaged steps.
        start_step: Number of the first optimizer step that is averaged, from 0.
        every: Number of optimizer steps between two averaged steps.

    Raises:
        ValueError: If a value is out of range.

    References:
        Kingma and Ba 2015, "Adam", section 3 and 7.2 (correction, averaging).
        Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima", section 3 (uniform).
    """

    decay: float | None = 0.999
    start_step: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        cure = "None is the uniform average"
        checks: dict[str, Check[object]] = {
            "decay": or_none(partial(check_float, minimum=0.0, below=1.0, cure=cure)),
            "start_step": partial(check_int, minimum=0),
            "every": partial(check_int, minimum=1),
        }
        store_checked(self, checks)

    def share(self, num_averaged: int) -> float:
        r"""Return the coefficient of the newest weights in an average of ``num_averaged`` steps.

        .. math::
            \bar\theta_n = \bar\theta_{n-1} + s_n (\theta_n - \bar\theta_{n-1}), \qquad
            s_n = \frac{1 - d}{1 - d^n} \quad\text{or}\quad \frac{1}{n}
        """
        if self.decay is None:
            return 1.0 / num_averaged
        if self.decay == 0.0:
            return 1.0
        return (1.0 - self.decay) / -math.expm1(num_averaged * math.log(self.decay))


class AverageState(TypedDict):
    """State of a :class:`WeightAverage` in plain values and tensors."""

    num_averaged: int
    tensors: dict[str, Tensor]


class WeightAverage:
    """An average of the weights of a model over the optimizer steps; it does not affect training.

    Floating-point buffers, such as the running statistics of batch norm, are averaged like the
    parameters, which is a good approximation for an average over few steps. For an average over
    many steps recompute them with :func:`mlpkit.training.reestimate_batch_norm`. Other buffers have
    their newest value.

    The average of a tensor has the dtype of the tensor, or float32 for a tensor in half precision.

    Args:
        model: The model, on the device where it is trained.
        config: Settings of the average.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.training import AveragingConfig, WeightAverage
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = WeightAverage(model, AveragingConfig(decay=None))
        >>> for step in range(3):
        ...     _ = model.weight.data.fill_(step)
        ...     average.update(model, step)
        >>> with average.applied(model):
        ...     model.weight.item()
        1.0
        >>> model.weight.item()
        2.0
    """

    def __init__(self, model: nn.Module, config: AveragingConfig) -> None:
        self._config = config
        self._num_averaged = 0
        self._averages = {
            name: tensor.to(_average_dtype(tensor.dtype), copy=True)
            for name, tensor in _detached(model).items()
        }

    @property
    def num_averaged(self) -> int:
        """Number of optimizer steps in the average."""
        return self._num_averaged

    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after an optimizer step to the average, if the step is averaged.

        Args:
            model: The model that the average was created for.
            step: Number of the latest step, from 0.
        """
        config = self._config
        since = step - config.start_step
        if since < 0 or since % config.every:
            return
        self._num_averaged += 1
        share = config.share(self._num_averaged)
        averages: list[Tensor] = []
        newest: list[Tensor] = []
        for tensor, average in self._pairs(model):
            if average.is_floating_point():
                averages.append(local(average))
                same = tensor.dtype == average.dtype
                newest.append(local(tensor if same else tensor.to(average.dtype)))
            else:
                average.copy_(tensor)
        if averages:
            torch._foreach_lerp_(averages, newest, share)

    def _pairs(self, model: nn.Module) -> list[tuple[Tensor, Tensor]]:
        """Return each tensor of the model with its average."""
        tensors = _detached(model)
        if tensors.keys() != self._averages.keys():
            differing = sorted(tensors.keys() ^ self._averages.keys())
            rule = "the model that the average was created for"
            raise ValueError(
                error_message("model", rule, Unquoted(f"other names: {', '.join(differing)}"))
            )
        return [(tensors[name], average) for name, average in self._averages.items()]

    def copy_to(self, model: nn.Module) -> None:
        """Copy the average to the model; without an averaged step the model is not changed."""
        if self._num_averaged:
            for tensor, average in self._pairs(model):
                tensor.copy_(average)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights within a ``with`` block.

        On exit every parameter and buffer is restored bit for bit, also if the block changed it.
        Without an averaged step the model keeps its weights.
        """
        saved = [(tensor, tensor.clone()) for tensor in _detached(model).values()]
        try:
            self.copy_to(model)
            yield
        finally:
            for tensor, value in saved:
                tensor.copy_(value)

    def state_dict(self) -> AverageState:
        """Return the state; its tensors share memory with the average."""
        return AverageState(num_averaged=self._num_averaged, tensors=dict(self._averages))

    def load_state_dict(self, state: AverageState) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: If a tensor is missing, unexpected, or has another shape.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in state["tensors"].items()}
        expected = {name: tuple(average.shape) for name, average in self._averages.items()}
        if shapes != expected:
            differing = sorted(
                name
                for name in shapes.keys() | expected.keys()
                if shapes.get(name) != expected.get(name)
            )
            rule = "the average of a model with the same parameters"
            raise ValueError(
                error_message("state", rule, Unquoted(f"differences in {', '.join(differing)}"))
            )
        self._num_averaged = check_int("num_averaged", state["num_averaged"], minimum=0)
        for name, average in self._averages.items():
            average.copy_(part_like(state["tensors"][name], average))


def _detached(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer by name, detached."""
    return {name: tensor.detach() for name, tensor in named_tensors(model).items()}


def _average_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
