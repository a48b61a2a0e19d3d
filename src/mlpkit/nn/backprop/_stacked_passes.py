"""Dropout and activations of several networks in training, without autograd's graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit.nn.backprop._layer_passes import AutogradModules, Pass

__all__ = ["MishPass", "SELUPass", "StackedDropout", "activation_pass"]

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_SATURATED = 20.0  # tanh(softplus(20)) is 1 in float64


class StackedDropout:
    """Dropout of K networks, each with the masks that torch's dropout draws from its generator.

    Args:
        p: Probability of zeroing, in (0, 1].
        generators: The generator of each network, or one whose masks all networks have.

    Shape:
        - Input: ``(K, N, H)``, or ``(N, H)`` if all networks have the same one.
        - Output and gradients: ``(K, N, H)``, in the memory order ``(K, H, N)``; ``(N, H)`` if all
          networks have the same input and masks.
    """

    def __init__(self, p: float, generators: Sequence[torch.Generator]) -> None:
        self._p = p
        self._generators = generators
        self._masks = torch.empty(0)  # (K, N, H), or (1, N, H) if all networks have the same
        self._factors = torch.empty(0)  # the same in the memory order (K, H, N), scaled

    def forward(self, x: Tensor) -> Tensor:
        """Return the input without the elements of a new mask, scaled."""
        rows, features = x.shape[-2:]
        shape = (len(self._generators), rows, features)
        if self._masks.shape != shape or self._masks.dtype != x.dtype:
            self._masks = x.new_empty(shape)
            self._factors = x.new_empty(shape[0], features, rows)
        kept = 1.0 - self._p
        for mask, generator in zip(self._masks.unbind(), self._generators, strict=True):
            mask.bernoulli_(kept, generator=generator)
        if kept:
            torch.div(self._masks.mT, kept, out=self._factors)
        else:
            self._factors.zero_()
        return self._scaled(x)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input."""
        return self._scaled(grad)

    def _scaled(self, x: Tensor) -> Tensor:
        factors = self._factors
        if x.ndim == 2 and len(factors) == 1:  # one input and one mask for all networks
            factors = factors[0]
        return (x.mT * factors).mT


class SELUPass:
    """SELU; the derivative is computed from the input, since that of the output cancels."""

    def __init__(self) -> None:
        self._x = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        """Return SELU of ``x``."""
        self._x = x
        return F.selu(x)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input."""
        found: Tensor = torch.ops.aten.elu_backward(
            grad, _SELU_ALPHA, _SELU_SCALE, 1.0, is_result=False, self_or_result=self._x
        )
        return found


class MishPass:
    r"""Mish with one exponential for the function and its derivative.

    .. math::
        n = e^x (e^x + 2), \qquad t = \tanh(\log(1 + e^x)) = \frac{n}{n + 2}, \qquad
        \phi(x) = x\, t, \qquad \phi'(x) = t + \frac{4 x (n - e^x)}{(n + 2)^2}

    Above the bound of the exponent the fraction is 0 up to rounding, also times a large input.
    """

    def __init__(self) -> None:
        self._slope = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        """Return Mish of ``x``."""
        bounded = x.clamp(max=_SATURATED)
        e = bounded.exp()
        n = (e + 2.0).mul_(e)
        inverse = (n + 2.0).reciprocal_()
        t = n * inverse
        self._slope = torch.add(t, n.sub_(e).mul_(inverse.square_()).mul_(bounded), alpha=4.0)
        return t.mul_(x)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of the input."""
        return self._slope * grad


def activation_pass(modules: Sequence[nn.Module]) -> Pass:
    """Return the passes of an activation, in closed form or by autograd.

    Args:
        modules: The norm, if there is one, and the activation.
    """
    if len(modules) == 1 and type(modules[0]) is nn.SELU:
        return SELUPass()
    if len(modules) == 1 and type(modules[0]) is nn.Mish:
        return MishPass()
    return AutogradModules(*modules)
