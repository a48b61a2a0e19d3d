"""Batch norm statistics measured anew, for weights that no training step has seen."""

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
    r"""Measure the running statistics of every batch norm layer anew, in one pass over the data.

    Within the pass batch norm normalizes by its batch, as in training, and everything else is in
    evaluation mode: no dropout. Each layer's mean and variance become those of all its inputs in
    the pass, exactly, however the examples are cut into batches: with :math:`n_b` rows, mean
    :math:`m_b` and sum of squared deviations :math:`S_b` of each batch,

    .. math::
        m = \frac{1}{n} \sum_b n_b m_b, \qquad
        v = \frac{1}{n - 1} \sum_b \left( S_b + n_b (m_b - m)^2 \right)

    The weights, the momentum, the batch counter and the mode of every module stay as they were,
    and if a batch fails, the statistics too.
    A model without batch norm is left alone, and no batch is read.

    Args:
        model: The model, for instance with averaged weights.
        batches: Inputs of the model, each batch with at least two rows.

    Raises:
        ValueError: If there is no batch.

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
    pools = {layer: _Pool(layer) for layer in layers}
    hooks = [layer.register_forward_hook(pool.take) for layer, pool in pools.items()]
    modes = {module: module.training for module in model.modules()}
    num_batches = 0
    try:
        model.eval()
        for pool in pools.values():
            pool.start()
        for inputs in batches:
            model(inputs)
            num_batches += 1
        if num_batches == 0:
            raise ValueError(error_message("batches", "at least one batch", 0))
        for pool in pools.values():
            pool.finish()
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
        for pool in pools.values():
            pool.restore()


class _Pool:
    """Count, mean and squared deviations of everything that entered one batch norm layer."""

    def __init__(self, layer: _BatchNorm) -> None:
        self._layer = layer
        self._momentum = layer.momentum
        self._buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
        self._count = 0
        self._mean = torch.zeros(())
        self._deviations = torch.zeros(())

    def start(self) -> None:
        """Make the layer leave the statistics of each batch in its running ones."""
        self._layer.training = True
        self._layer.momentum = 1.0
        self._layer.reset_running_stats()

    def take(self, _layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """Merge the statistics of the batch that has just passed through the layer."""
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
            raise RuntimeError("a batch norm layer that tracks statistics has none")
        return mean, var

    def finish(self) -> None:
        """Let what was measured be what :meth:`restore` leaves; unused layers keep theirs."""
        if self._count:
            self._buffers["running_mean"].copy_(self._mean)
            self._buffers["running_var"].copy_(self._deviations / (self._count - 1))

    def restore(self) -> None:
        """Put back momentum, counter, and the statistics: the measured ones once finished."""
        self._layer.momentum = self._momentum
        for name, buffer in self._layer.named_buffers():
            buffer.copy_(self._buffers[name])
