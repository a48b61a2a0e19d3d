"""Gated linear units: half of the features gate the other half."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy

from mlpkit._checks import error_message

__all__ = ["GEGLU", "GLU", "ReGLU", "SwiGLU"]


class Gated(nn.Module):
    """Base class: the first half of the last axis times a gate computed from the second half."""

    expansion: ClassVar[int] = 2

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        """Return the first half times the gate of the second half."""
        given: object = input
        is_traced = isinstance(given, Proxy)  # by torch.fx: it has no shape
        if not is_traced and (input.dim() == 0 or input.shape[-1] % 2 != 0):
            cure = "the linear layer before a gated unit has two outputs for each unit"
            rule = "a tensor whose last axis has an even size"
            raise ValueError(error_message("input", rule, tuple(input.shape), cure))
        value, gate = input.chunk(2, dim=-1)
        return value * self.gate(gate)

    def gate(self, gate: Tensor) -> Tensor:
        """Return the factor on the value, computed from the second half of the features."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...  # noqa: A002


class GLU(Gated):
    r"""Gated linear unit with a sigmoid gate.

    .. math:: \mathrm{GLU}(v, g) = v \odot \sigma(g)

    The first half of the last axis is the value v, the second half is the gate g, as in
    :func:`torch.nn.functional.glu`.

    Shape:
        - Input: :math:`(*, 2 m)`.
        - Output: :math:`(*, m)`.

    Raises:
        ValueError: In ``forward``, if the size of the last axis is odd.

    Example:
        >>> import torch
        >>> from mlpkit.nn import GLU
        >>> GLU()(torch.tensor([3.0, 0.0])).tolist()
        [1.5]

    References:
        Dauphin, Fan, Auli, Grangier (2017), Language Modeling with Gated Convolutional Networks,
        arXiv:1612.08083, equation 1.
    """

    def gate(self, gate: Tensor) -> Tensor:
        """Return the sigmoid of the gate half."""
        return gate.sigmoid()


class ReGLU(Gated):
    r"""Gated linear unit with a ReLU gate.

    .. math:: \mathrm{ReGLU}(v, g) = v \odot \max(0, g)

    The first half of the last axis is the value v, the second half is the gate g.

    Shape:
        - Input: :math:`(*, 2 m)`.
        - Output: :math:`(*, m)`.

    Raises:
        ValueError: In ``forward``, if the size of the last axis is odd.

    Example:
        >>> import torch
        >>> from mlpkit.nn import ReGLU
        >>> ReGLU()(torch.tensor([3.0, 2.0])).tolist()
        [6.0]

    References:
        Shazeer (2020), GLU Variants Improve Transformer, arXiv:2002.05202, equation 5.
    """

    def gate(self, gate: Tensor) -> Tensor:
        """Return the ReLU of the gate half."""
        return gate.relu()


class GEGLU(Gated):
    r"""Gated linear unit with a GELU gate.

    .. math:: \mathrm{GEGLU}(v, g) = v \odot g \, \Phi(g)

    The first half of the last axis is the value v, the second half is the gate g;
    :math:`\Phi` is the cumulative distribution function of the standard normal distribution.

    Shape:
        - Input: :math:`(*, 2 m)`.
        - Output: :math:`(*, m)`.

    Raises:
        ValueError: In ``forward``, if the size of the last axis is odd.

    Example:
        >>> import torch
        >>> from mlpkit.nn import GEGLU
        >>> GEGLU()(torch.tensor([3.0, 0.0])).tolist()
        [0.0]

    References:
        Shazeer (2020), GLU Variants Improve Transformer, arXiv:2002.05202, equation 5.
    """

    def gate(self, gate: Tensor) -> Tensor:
        """Return the GELU of the gate half."""
        return F.gelu(gate)


class SwiGLU(Gated):
    r"""Gated linear unit with a SiLU (Swish) gate.

    .. math:: \mathrm{SwiGLU}(v, g) = v \odot g \, \sigma(g)

    The first half of the last axis is the value v, the second half is the gate g.

    Shape:
        - Input: :math:`(*, 2 m)`.
        - Output: :math:`(*, m)`.

    Raises:
        ValueError: In ``forward``, if the size of the last axis is odd.

    Example:
        >>> import torch
        >>> from mlpkit.nn import SwiGLU
        >>> SwiGLU()(torch.tensor([3.0, 0.0])).tolist()
        [0.0]

    References:
        Shazeer (2020), GLU Variants Improve Transformer, arXiv:2002.05202, equation 5.
    """

    def gate(self, gate: Tensor) -> Tensor:
        """Return the SiLU of the gate half."""
        return F.silu(gate)
