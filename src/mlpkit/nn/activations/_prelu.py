"""PReLU with its slopes on the last axis, where the features of an MLP are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, check_int, error_message

__all__ = ["PReLU"]


class PReLU(nn.Module):
    r"""Parametric ReLU: a learnt slope for negative values, on the last axis.

    .. math:: f(y_i) = \max(0, y_i) + a_i \min(0, y_i)

    On inputs of two axes it equals :class:`torch.nn.PReLU` in value and in gradient, and the one
    loads the other's ``state_dict``. On more axes :class:`torch.nn.PReLU` takes axis 1 for the
    features; here they are always the last. The gradient at exactly 0 is :math:`a_i`.

    Keep weight decay away from the slopes: it pulls PReLU towards ReLU (section 2.1 of the paper).

    Args:
        num_parameters: 1 for one slope shared by all features, else the number of features.
        init: The slope to start from; any finite number, 0 is ReLU and 1 the identity.
        device: Device of ``weight``; None is torch's default device.
        dtype: Floating dtype of ``weight``; None is torch's default dtype.

    Shape:
        - Input: :math:`(*, H)` with H equal to ``num_parameters``, or any shape if that is 1.
        - Output: as the input.
        - ``weight``: ``(num_parameters,)``.

    Raises:
        TypeError: If ``num_parameters`` is no integer or ``init`` no number.
        ValueError: If ``num_parameters`` is less than 1 or ``init`` not finite; in ``forward``,
            if the last axis does not have ``num_parameters`` features.

    Example:
        >>> import torch
        >>> from mlpkit.nn import PReLU
        >>> PReLU()(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [-0.5, 0.0, 3.0]

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, arXiv:1502.01852, equation 1.
    """

    num_parameters: int
    init: float
    weight: nn.Parameter

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = check_int("num_parameters", num_parameters, minimum=1)
        self.init = check_float("init", init)
        self.weight = nn.Parameter(torch.empty(self.num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope back to ``init``."""
        nn.init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        """Return ``input`` with its negative values scaled by the slopes."""
        if self.num_parameters == 1:
            return F.prelu(input, self.weight)
        if input.dim() == 0 or input.shape[-1] != self.num_parameters:
            shape = tuple(input.shape)
            cure = "PReLU acts on the last axis, so give it num_parameters=1 or that axis's size"
            rule = f"a tensor of shape (*, {self.num_parameters})"
            raise ValueError(error_message("input", rule, shape, cure))
        # F.prelu keeps the dtype under autocast, where torch.where would promote to the slope's;
        # it takes axis 1 for the features, so all axes before the last become one.
        return F.prelu(input.reshape(-1, self.num_parameters), self.weight).reshape(input.shape)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of ``repr``."""
        return f"num_parameters={self.num_parameters}, init={self.init:g}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...  # noqa: A002
