"""PReLU with the slopes on the last axis, the feature axis of an MLP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy

from mlpkit._checks import check_float, check_int, error_message

__all__ = ["PReLU"]


class PReLU(nn.Module):
    r"""Parametric ReLU: a learned slope for negative inputs, with the features on the last axis.

    .. math:: f(y_i) = \max(0, y_i) + a_i \min(0, y_i)

    On inputs with two axes it equals :class:`torch.nn.PReLU` in value and gradient, and either can
    load the other's ``state_dict``. On inputs with more axes :class:`torch.nn.PReLU` expects the
    features on axis 1; here they are always on the last axis. The gradient at 0 is :math:`a_i`.

    The slopes should have no weight decay, which pulls PReLU towards ReLU (section 2.1 of the
    paper).

    Args:
        num_parameters: 1 for one slope shared by all features, or the number of features.
        init: Initial slope, any finite number; 0 is ReLU and 1 is the identity.
        device: Device of ``weight``; None is torch's default device.
        dtype: Floating dtype of ``weight``; None is torch's default dtype.

    Shape:
        - Input: :math:`(*, H)` with H equal to ``num_parameters``, or any shape if
          ``num_parameters`` is 1.
        - Output: as the input.
        - ``weight``: ``(num_parameters,)``.

    Raises:
        TypeError: If ``num_parameters`` is not an integer or ``init`` is not a number.
        ValueError: If ``num_parameters`` is less than 1 or ``init`` is not finite; in ``forward``,
            if the size of the last axis is not ``num_parameters``.

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
        """Set every slope to ``init``."""
        nn.init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        """Return ``input`` with its negative values multiplied by the slopes."""
        if self.num_parameters == 1:
            return F.prelu(input, self.weight)
        given: object = input
        is_traced = isinstance(given, Proxy)  # by torch.fx: it has no shape
        if not is_traced and (input.dim() == 0 or input.shape[-1] != self.num_parameters):
            shape = tuple(input.shape)
            cure = "PReLU acts on the last axis; pass num_parameters=1 or the size of that axis"
            rule = f"a tensor of shape (*, {self.num_parameters})"
            raise ValueError(error_message("input", rule, shape, cure))
        # Under autocast F.prelu keeps the dtype of the input; torch.where would promote it to the
        # dtype of the slopes. F.prelu expects the features on axis 1: (*, H) -> (N, H).
        if not is_traced and input.dim() > 2 and not input.is_contiguous():  # keeps channels_last
            return F.prelu(input.transpose(1, -1), self.weight).transpose(1, -1)
        return F.prelu(input.reshape(-1, self.num_parameters), self.weight).reshape(input.shape)

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"num_parameters={self.num_parameters}, init={self.init:g}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...  # noqa: A002
