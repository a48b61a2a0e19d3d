"""Maxout: the largest of several linear pieces for each unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mlpkit._checks import check_int, error_message

__all__ = ["Maxout", "contiguous_pieces"]


class Maxout(nn.Module):
    r"""Maxout: each unit is the largest of ``num_pieces`` linear pieces.

    .. math:: h_u = \max_{0 \le j < k} z_{uk + j}

    The groups are contiguous: unit u owns the features ``[u * k, (u + 1) * k)`` of the last axis,
    so the linear layer before it has k outputs for each unit (``expansion`` says so). Where pieces
    tie for the largest, each of them gets an equal share of the gradient.

    Args:
        num_pieces: The number k of pieces for each unit, at least 1; 1 is the identity.

    Shape:
        - Input: :math:`(*, m k)`.
        - Output: :math:`(*, m)`.

    Raises:
        TypeError: If ``num_pieces`` is no integer.
        ValueError: If ``num_pieces`` is less than 1; in ``forward``, if the last axis is not a
            multiple of it.

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
        """Features that come in for each unit that goes out, which is ``num_pieces``."""
        return self.num_pieces

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        """Return the largest piece of every unit."""
        if input.dim() == 0 or input.shape[-1] % self.num_pieces != 0:
            rule = f"a tensor whose last axis is a multiple of num_pieces={self.num_pieces}"
            cure = "the linear layer before Maxout has num_pieces outputs for each unit"
            raise ValueError(error_message("input", rule, tuple(input.shape), cure))
        # amax splits the gradient of a tie evenly; max(dim) would give it to one piece.
        units = input.shape[-1] // self.num_pieces
        return input.reshape(*input.shape[:-1], units, self.num_pieces).amax(-1)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of ``repr``."""
        return f"num_pieces={self.num_pieces}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...  # noqa: A002


def contiguous_pieces(parameter: Tensor, num_pieces: int) -> Tensor:
    """Reorder the first axis of a weight or bias from strided pieces to those of :class:`Maxout`.

    TensorFlow Addons and Lua torch give unit u the features u, u + m, u + 2 m, ...; here it owns
    ``[u * k, (u + 1) * k)``. A network from there computes the same with its parameters reordered.

    Args:
        parameter: Weight or bias of the linear layer before Maxout.
        num_pieces: The number k of pieces for each unit, at least 1.

    Shape:
        - Input: :math:`(k m, *)`.
        - Output: as the input.

    Raises:
        TypeError: If ``num_pieces`` is no integer.
        ValueError: If the first axis is not a multiple of ``num_pieces``.

    Example:
        >>> import torch
        >>> from mlpkit.nn import contiguous_pieces
        >>> contiguous_pieces(torch.tensor([10, 20, 30, 11, 21, 31]), num_pieces=2).tolist()
        [10, 11, 20, 21, 30, 31]
    """
    num_pieces = check_int("num_pieces", num_pieces, minimum=1)
    if parameter.dim() == 0 or parameter.shape[0] % num_pieces != 0:
        rule = f"a tensor whose first axis is a multiple of num_pieces={num_pieces}"
        raise ValueError(error_message("parameter", rule, tuple(parameter.shape)))
    units = parameter.shape[0] // num_pieces
    rest = parameter.shape[1:]
    return parameter.reshape(num_pieces, units, *rest).transpose(0, 1).reshape(-1, *rest)
