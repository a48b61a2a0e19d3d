"""FeatureScaling: one learned factor for each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, check_int
from mlpkit._protocols import ParamGroup
from mlpkit.nn.tabular._input_checks import check_last_axis

__all__ = ["FeatureScaling"]


class FeatureScaling(nn.Module):
    r"""Multiply each feature by a learned factor, which is 1 at first.

    .. math:: y_i = s_i x_i

    In front of a network it learns how much each feature matters: with a learning rate above that
    of the network, the factors of useful features grow first. The factors have no weight decay.

    Args:
        num_features: Number of features, at least 1.
        lr_factor: Factor on the learning rate of the factors, above 0.
        device: Device of ``weight``; None is torch's default device.
        dtype: Floating dtype of ``weight``; None is torch's default dtype.

    Shape:
        - Input and output: :math:`(*, F)` with F equal to ``num_features``.
        - ``weight``: ``(num_features,)``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range; in ``forward``, if the size of the last axis is
            not ``num_features``.

    Example:
        >>> import torch
        >>> from mlpkit.nn import FeatureScaling
        >>> scaling = FeatureScaling(3)
        >>> scaling(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
        >>> scaling.param_groups(weight_decay=0.01)[0].lr_factor
        6.0

    References:
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491, section 3
        (scaling layer).
    """

    weight: nn.Parameter

    def __init__(
        self,
        num_features: int,
        *,
        lr_factor: float = 6.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = check_int("num_features", num_features, minimum=1)
        self.lr_factor = check_float("lr_factor", lr_factor, above=0.0)
        self.weight = nn.Parameter(torch.empty(self.num_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every factor to 1."""
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features multiplied by their factors."""
        check_last_axis(x, self.num_features)
        return x * self.weight

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return one group without weight decay and with ``lr_factor``."""
        check_float("weight_decay", weight_decay, minimum=0.0)
        return [ParamGroup([self.weight], weight_decay=0.0, lr_factor=self.lr_factor)]

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"{self.num_features}, lr_factor={self.lr_factor:g}"

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...
