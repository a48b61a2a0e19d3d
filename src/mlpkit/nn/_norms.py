"""Normalization on the last axis, where the features of an MLP are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.nn._config import NormName

__all__ = ["BatchNorm", "build_norm"]


class BatchNorm(nn.BatchNorm1d):
    r"""Batch normalization of the last axis; all axes before it count examples.

    .. math:: y_i = \gamma_i \frac{x_i - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}} + \beta_i

    While training, :math:`\mu_i` and :math:`\sigma_i^2` are the mean and the (biased) variance of
    feature i over all examples, and move the running statistics; in eval mode they are the running
    statistics. On inputs of two axes it equals :class:`torch.nn.BatchNorm1d`, which on three axes
    takes axis 1 for the features; here they are always the last.

    Shape:
        - Input: :math:`(*, H)` with H equal to ``num_features``.
        - Output: as the input.

    Raises:
        ValueError: In ``forward`` while training, if there are fewer than two examples.

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
        if self.training and flat.shape[0] < 2:
            cure = "batch norm needs a spread; call model.eval() to predict, drop the last batch "
            cure += "while training, or use norm='layer'"
            rule = "a batch of at least 2 examples while training"
            raise ValueError(error_message("input", rule, tuple(input.shape), cure))
        return super().forward(flat).reshape(input.shape)


_NORMS: dict[NormName, Callable[..., nn.BatchNorm1d | nn.LayerNorm | nn.RMSNorm]] = {
    "batch": BatchNorm,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}


def build_norm(
    norm: NormName, features: int, *, device: torch.device | str | None, dtype: torch.dtype | None
) -> nn.Module:
    """Return a fresh normalization of the last axis with ``features`` features."""
    return _NORMS[norm](features, device=device, dtype=dtype)
