"""Re-estimation of batch norm statistics, for weights that were not trained with them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit._checks import error_message
from mlpkit._devices import accumulator_dtype

__all__ = ["reestimate_batch_norm"]


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    r"""Recompute the running statistics of every batch norm layer, in one pass over the data.

    During the pass batch norm layers normalize with the statistics of the batch, as in training,
    and all other modules are in evaluation mode, so there is no dropout. The mean and the variance
    of each layer become the exact values over all its inputs in the pass, however the examples are
    divided into batches: with :math:`n_b` rows, mean :math:`m_b` and sum of squared deviations
    :math:`S_b` of each batch,

    .. math::
        m = \frac{1}{n} \sum_b n_b m_b, \qquad
        v = \frac{1}{n - 1} \sum_b \left( S_b + n_b (m_b - m)^2 \right)

    The weights, the momentum, the batch counter and the mode of every module do not change. If the
    pass fails, the statistics do not change either. For a model without batch norm nothing is done,
    and no batch is read.

    Args:
        model: The model, for instance with averaged weights.
        batches: Inputs of the model, each batch with at least two rows.

    Raises:
        ValueError: If ``batches`` is empty.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.training import reestimate_batch_norm
        >>> norm = nn.BatchNorm1d(1)
        >>> batches = [torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [6.0]])]
        >>> reestimate_batch_norm(norm, batches)
        >>> norm.running_mean
        tensor([3.])

    References:
        Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance", equation 2.1.
        Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima", section 3.2.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not layers:
        return
    moments = [_RunningMoments(layer) for layer in layers]
    hooks = [
        layer.register_forward_hook(one.update) for layer, one in zip(layers, moments, strict=True)
    ]
    modes = {module: module.training for module in model.modules()}
    num_batches = 0
    try:
        model.eval()
        for one in moments:
            one.start()
        for inputs in batches:
            model(inputs)
            num_batches += 1
        if num_batches == 0:
            raise ValueError(error_message("batches", "at least one batch", 0))
        for one in moments:
            one.finish()
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
        for one in moments:
            one.restore()


class _RunningMoments:
    """Count, mean and squared deviations of all inputs of one batch norm layer."""

    def __init__(self, layer: _BatchNorm) -> None:
        self._layer = layer
        self._momentum = layer.momentum
        self._buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
        self._count = 0
        self._mean = torch.zeros(())
        self._deviations = torch.zeros(())

    def start(self) -> None:
        """Make the layer store the statistics of each batch as its running statistics."""
        self._layer.training = True
        self._layer.momentum = 1.0
        self._layer.reset_running_stats()

    def update(self, _layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Merge the statistics of the latest batch of the layer; a forward hook."""
        running_mean, running_var = self._running()
        rows = inputs[0].numel() // self._layer.num_features
        wide = accumulator_dtype(running_mean.device)
        mean = running_mean.to(wide)
        deviations = running_var.to(wide) * (rows - 1)  # the running variance is unbiased
        if self._count == 0:
            self._count, self._mean, self._deviations = rows, mean.clone(), deviations
            return
        total = self._count + rows
        delta = mean - self._mean
        self._mean += delta * (rows / total)
        self._deviations += deviations + delta.square() * (self._count * rows / total)
        self._count = total

    def _running(self) -> tuple[Tensor, Tensor]:
        mean, var = self._layer.running_mean, self._layer.running_var
        if mean is None or var is None:
            raise RuntimeError("a batch norm layer that tracks running statistics has none")
        return mean, var

    def finish(self) -> None:
        """Make :meth:`restore` write the new statistics; an unused layer keeps the old ones."""
        if self._count:
            self._buffers["running_mean"].copy_(self._mean)
            self._buffers["running_var"].copy_(self._deviations / (self._count - 1))

    def restore(self) -> None:
        """Restore momentum and counter, and the old statistics, or the new ones once finished."""
        self._layer.momentum = self._momentum
        for name, buffer in self._layer.named_buffers():
            buffer.copy_(self._buffers[name])
