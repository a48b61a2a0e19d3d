"""Batch norm with the statistics of a batch of which each process has a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mlpkit.training._ranks import Ranks

__all__ = ["SynchronizedBatchNorm"]


class SynchronizedBatchNorm(TorchFunctionMode):
    """A mode in which :func:`torch.nn.functional.batch_norm` uses the examples of all processes.

    :class:`torch.nn.SyncBatchNorm` does the same on an accelerator, but refuses tensors on the CPU.
    The modules are not changed, so a saved model does not know of the processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Call a function of torch, or its replacement."""
        kwargs = {} if kwargs is None else kwargs
        if func is F.batch_norm:
            return _batch_norm(self._ranks, *args, **kwargs)
        return func(*args, **kwargs)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _sum(gradients[0].contiguous(), ctx.ranks), None


def _sum(tensor: Tensor, ranks: Ranks) -> Tensor:
    total: Tensor = _Sum.apply(tensor, ranks)
    return total


def _batch_norm(
    ranks: Ranks,
    input: Tensor,  # noqa: A002 - torch's name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002 - torch's signature
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return what torch's function returns for the parts of all processes together.

    The sum of the deviations is taken after the mean is known, which costs a second sum over the
    processes and has no cancellation.
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    axes = [axis for axis in range(input.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(input.ndim)]
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    rows = wide.new_full((1,), input.numel() // input.shape[1])
    sums = _sum(torch.cat([wide.sum(axes), rows]), ranks)
    count = sums[-1].detach()
    if input.device.type == "cpu" and float(count) == 1.0:  # reading it would wait for a device
        message = "Expected more than 1 value per channel when training"  # as torch says it
        raise ValueError(f"{message}, got one in all processes")
    mean = sums[:-1] / count
    centered = wide - mean.view(shape)
    variance = _sum(centered.square().sum(axes), ranks) / count
    y = centered * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = y + bias.view(shape)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = variance * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return y.to(input.dtype)
