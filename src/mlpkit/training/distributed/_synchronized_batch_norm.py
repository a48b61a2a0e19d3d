"""Batch norm with the statistics of a batch of which each process has a part."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit._checks import error_message
from mlpkit.training._ranks import Ranks

__all__ = ["synchronized_batch_norm"]

_FORWARDS = (_BatchNorm.forward, nn.SyncBatchNorm.forward)


@contextlib.contextmanager
def synchronized_batch_norm(model: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Make every batch norm in training use the examples of all processes, in a ``with`` block.

    :class:`torch.nn.SyncBatchNorm` does the same on an accelerator, but refuses tensors on the CPU.
    The modules keep their classes, so a saved model does not know of the processes. A layer whose
    features are not on axis 1 says so by its attribute ``_feature_axis``.

    Raises:
        ValueError: If a layer computes something else, in a custom forward method.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        is_known = type(layer).forward in _FORWARDS or hasattr(layer, "_feature_axis")
        if not is_known or "forward" in vars(layer):
            rule = f"False for a {type(layer).__name__} with a custom forward method"
            cure = "normalize in a layer of torch or mlpkit"
            raise ValueError(error_message("sync_batch_norm", rule, True, cure))  # noqa: FBT003 - the value
    for layer in layers:
        layer.forward = functools.partial(_forward, layer, ranks)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


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


def _forward(layer: _BatchNorm, ranks: Ranks, x: Tensor) -> Tensor:
    """Return what :class:`torch.nn.BatchNorm1d` returns for the parts of all processes together.

    The sum of the deviations is taken after the mean is known, which costs a second sum over the
    processes and has no cancellation.
    """
    if not layer.training and layer.running_mean is not None:
        return type(layer).forward(layer, x)
    layer._check_input_dim(x)  # type: ignore[no-untyped-call]
    features: int = getattr(layer, "_feature_axis", 1) % x.ndim
    axes = [axis for axis in range(x.ndim) if axis != features]
    shape = [-1 if axis == features else 1 for axis in range(x.ndim)]
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    rows = wide.new_full((1,), x.numel() // layer.num_features)
    sums = _sum(torch.cat([wide.sum(axes), rows]), ranks)
    count = sums[-1].detach()
    if x.device.type == "cpu" and float(count) == 1.0:  # reading it would wait for a device
        message = "Expected more than 1 value per channel when training"  # as torch says it
        raise ValueError(f"{message}, got one in all processes")
    mean = sums[:-1] / count
    centered = wide - mean.view(shape)
    variance = _sum(centered.square().sum(axes), ranks) / count
    y = centered * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.weight is not None:
        y = y * layer.weight.view(shape)
    if layer.bias is not None:
        y = y + layer.bias.view(shape)
    if layer.training:
        _update(layer, mean.detach(), variance.detach() * (count / (count - 1)))
    return y.to(x.dtype)


@torch.no_grad()
def _update(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics of a layer that has them."""
    if layer.running_mean is None or layer.running_var is None:
        return
    momentum = layer.momentum
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if momentum is None:  # the mean over all batches
            momentum = 1.0 / float(layer.num_batches_tracked)
    share = 0.0 if momentum is None else momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), share)
