"""Normalization over the last axis, the feature axis of an MLP."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.nn._options import NormName

__all__ = ["BatchNorm", "build_norm"]


class BatchNorm(nn.BatchNorm1d):
    r"""Batch normalization with the features on the last axis.

    .. math:: y_i = \gamma_i \frac{x_i - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}} + \beta_i

    In training mode, :math:`\mu_i` and :math:`\sigma_i^2` are the mean and the biased variance of
    feature i over all axes but the last, and the running statistics are updated. In eval mode they
    are the running statistics. On inputs with two axes the layer equals
    :class:`torch.nn.BatchNorm1d`. On inputs with three axes :class:`torch.nn.BatchNorm1d` expects
    the features on axis 1; here they are always on the last axis.

    Shape:
        - Input: :math:`(*, H)` with H equal to ``num_features``.
        - Output: as the input.

    Raises:
        ValueError: In ``forward`` in training mode, if there is one example.

    Example:
        >>> import torch
        >>> from mlpkit.nn import BatchNorm
        >>> BatchNorm(3)(torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 3])

    References:
        Ioffe, Szegedy (2015), Batch Normalization, arXiv:1502.03167, algorithm 1.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        """Return the normalized ``input``."""
        flat = input.reshape(-1, input.shape[-1])  # (*, H) -> (N, H)
        try:
            return super().forward(flat).reshape(input.shape)
        except ValueError as error:  # of torch, for one example
            cure = "call model.eval() to predict; to train, drop the incomplete last batch or use "
            cure += "norm='layer'"
            rule = "a batch of at least 2 examples in training mode"
            raise ValueError(error_message("input", rule, tuple(input.shape), cure)) from error

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        """Do nothing: ``forward`` passes two axes, and torch.fx cannot trace a comparison."""


_NORMS: dict[NormName, Callable[..., nn.BatchNorm1d | nn.LayerNorm | nn.RMSNorm]] = {
    "batch": BatchNorm,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}


def build_norm(
    norm: NormName, features: int, *, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    """Return a new normalization layer over a last axis of size ``features``."""
    return _NORMS[norm](features, device=device, dtype=dtype)
