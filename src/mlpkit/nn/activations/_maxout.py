"""Maxout: each unit is the maximum of several linear pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from mlpkit._checks import check_int, error_message

__all__ = ["Maxout", "contiguous_pieces"]


class Maxout(nn.Module):
    r"""Maxout: each unit is the maximum of ``num_pieces`` linear pieces.

    .. math:: h_u = \max_{0 \le j < k} z_{uk + j}

    The pieces of a unit are contiguous: unit u takes the features ``[u * k, (u + 1) * k)`` of the
    last axis. The linear layer before it has k outputs per unit, so ``expansion`` is k. If several
    pieces attain the maximum, the gradient is divided equally among them.

    Args:
        num_pieces: Number k of pieces per unit, at least 1; 1 is the identity.

    Shape:
        - Input: :math:`(*, m k)`.
        - Output: :math:`(*, m)`.

    Raises:
        TypeError: If ``num_pieces`` is not an integer.
        ValueError: If ``num_pieces`` is less than 1; in ``forward``, if the size of the last axis
            is not a multiple of it.

    Example:
        >>> import torch
        >>> from mlpkit.nn import Maxout
        >>> Maxout(num_pieces=3)(torch.tensor([1.0, 5.0, 2.0, -3.0, -1.0, -2.0])).tolist()
        [5.0, -1.0]

    References:
        Goodfellow, Warde-Farley, Mirza, Courville, Bengio (2013), Maxout Networks,
        arXiv:1302.4389, section 3.
    """

    num_pieces: int

    def __init__(self, num_pieces: int = 2) -> None:
        super().__init__()
        self.num_pieces = check_int("num_pieces", num_pieces, minimum=1)

    @property
    def expansion(self) -> int:
        """Input features per output feature, equal to ``num_pieces``."""
        return self.num_pieces

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        """Return the maximum over the pieces of every unit."""
        # amax divides the gradient equally among tied pieces; max(dim) gives it to one of them.
        given: object = input
        if isinstance(given, Proxy):  # of torch.fx: it has no shape
            return torch.unflatten(input, -1, (-1, self.num_pieces)).amax(-1)
        if input.dim() == 0 or input.shape[-1] % self.num_pieces != 0:
            rule = f"a tensor whose last axis has a size divisible by num_pieces={self.num_pieces}"
            cure = "the linear layer before Maxout has num_pieces outputs per unit"
            raise ValueError(error_message("input", rule, tuple(input.shape), cure))
        if input.dim() > 3 and not input.is_contiguous():
            channels_last = input.movedim(1, -1)
            if channels_last.is_contiguous():  # amax would return another memory format
                maxima = torch.unflatten(channels_last, -2, (-1, self.num_pieces)).amax(-2)
                return maxima.movedim(-1, 1)
        units = input.shape[-1] // self.num_pieces
        return input.reshape(*input.shape[:-1], units, self.num_pieces).amax(-1)

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"num_pieces={self.num_pieces}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...  # noqa: A002


def contiguous_pieces(parameter: Tensor, num_pieces: int) -> Tensor:
    """Reorder a weight or bias from strided pieces to the contiguous pieces of :class:`Maxout`.

    In TensorFlow Addons and Lua torch the pieces of unit u are the features u, u + m, u + 2 m, ...;
    here they are ``[u * k, (u + 1) * k)``. With reordered parameters the network computes the same
    function.

    Args:
        parameter: Weight or bias of the linear layer before Maxout.
        num_pieces: Number k of pieces per unit, at least 1.

    Shape:
        - Input: :math:`(k m, *)`.
        - Output: as the input.

    Raises:
        TypeError: If ``num_pieces`` is not an integer.
        ValueError: If the size of the first axis is not a multiple of ``num_pieces``.

    Example:
        >>> import torch
        >>> from mlpkit.nn import contiguous_pieces
        >>> contiguous_pieces(torch.tensor([10, 20, 30, 11, 21, 31]), num_pieces=2).tolist()
        [10, 11, 20, 21, 30, 31]
    """
    num_pieces = check_int("num_pieces", num_pieces, minimum=1)
    if parameter.dim() == 0 or parameter.shape[0] % num_pieces != 0:
        rule = f"a tensor whose first axis has a size divisible by num_pieces={num_pieces}"
        raise ValueError(error_message("parameter", rule, tuple(parameter.shape)))
    units = parameter.shape[0] // num_pieces
    rest = parameter.shape[1:]
    return parameter.reshape(num_pieces, units, *rest).transpose(0, 1).reshape(-1, *rest)
