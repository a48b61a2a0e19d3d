"""The three matrix products of a linear layer in training, into memory that is used again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import torch
from torch import Tensor, nn

from mlpkit._devices import SideStream

__all__ = ["NARROW", "AffineProducts", "OneDNNLinear", "linear_by_onednn"]

OneDNNLinear: TypeAlias = Callable[
    [Tensor, Tensor, Tensor | None, str, list[float | None], str], Tensor
]

# Below this width a call of oneDNN costs more than it saves, and so does cuBLAS with a bias.
NARROW: Final = 64


def linear_by_onednn() -> OneDNNLinear | None:
    """Return oneDNN's linear layer for float32, where torch has it.

    ``torch.mm`` takes MKL for float32, which on some processors is slower, on AMD's up to twice.
    The operator is the one that torch's compiler emits for linear layers on a CPU.
    """
    if not (torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()):
        return None
    operator: object = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return cast("OneDNNLinear | None", getattr(operator, "default", None))


class AffineProducts:
    r"""What a linear layer computes in a training step, without a graph.

    .. math::
        Z = X W^\top + b, \qquad
        \frac{\partial L}{\partial W} = G^\top X, \quad
        \frac{\partial L}{\partial b} = \sum_n G_n, \quad
        \frac{\partial L}{\partial X} = G W, \qquad G = \frac{\partial L}{\partial Z}

    Args:
        linear: The layer; its parameters are read anew in each step.
        has_input_gradient: Whether something before the layer learns.
        bit_exact: Whether each product is the one that autograd computes, to the same bits.
            Otherwise Z and the gradient of X may come from oneDNN, which sums in another order.
        side_stream: Where the gradients of W and b are computed on a CUDA device, by products in an
            order of their own; None computes them at once.

    Shape:
        - X: ``(N, in_features)``; Z and G: ``(N, out_features)``.
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        has_input_gradient: bool,
        bit_exact: bool,
        side_stream: SideStream | None = None,
    ) -> None:
        weight = linear.weight
        wide = min(linear.in_features, linear.out_features) >= NARROW
        on_cpu = weight.device.type == "cpu"
        fits = on_cpu and weight.dtype == torch.float32 and wide and not bit_exact
        self._linear = linear
        self._side_stream = side_stream
        # A float32 product with few outputs takes cuBLAS twice as long if it adds the bias itself.
        self._adds_bias_after = side_stream is not None and linear.out_features < NARROW
        self._has_bias = linear.bias is not None
        self._has_input_gradient = has_input_gradient
        self._onednn = linear_by_onednn() if fits else None
        self._low: list[Tensor] = []  # weight, and bias, as autocast casts them
        self._input: Tensor | None = None
        self._ones: Tensor | None = None
        self._buffers: dict[str, Tensor] = {}

    def forward(self, x: Tensor, *, autocast_dtype: torch.dtype | None, fuse_relu: bool) -> Tensor:
        """Return Z, or ReLU of it.

        Args:
            x: The input; kept for :meth:`backward`.
            autocast_dtype: The dtype to compute in; None where autocast is off.
            fuse_relu: Whether ReLU follows.
        """
        weight: Tensor = self._linear.weight
        bias: Tensor | None = self._linear.bias if self._has_bias else None
        if autocast_dtype is not None and weight.dtype != torch.float64:  # autocast leaves it alone
            weight, bias = self._cast(weight, bias, autocast_dtype)
            x = x.to(autocast_dtype)
        self._input = x
        if self._onednn is not None and x.dtype == weight.dtype == torch.float32:
            out = self._onednn(x, weight, bias, "none", [], "")
            return out.relu_() if fuse_relu else out  # its own ReLU would make 0 of NaN
        out = self._buffer("forward", x.shape[0], weight.shape[0], x.dtype)
        if bias is None:
            torch.mm(x, weight.t(), out=out)
        elif self._adds_bias_after and x.dtype == torch.float32:
            torch.mm(x, weight.t(), out=out).add_(bias)
        else:
            torch.addmm(bias, x, weight.t(), out=out)
        return out.relu_() if fuse_relu else out

    def backward(self, grad: Tensor) -> Tensor | None:
        """Set the gradients of the parameters, and return that of the input, where one is needed.

        Args:
            grad: Gradient of Z, in the type of Z.
        """
        x = self._input
        assert x is not None, "backward follows forward"
        parameter = self._linear.weight
        if self._side_stream is None:
            self._differentiate(grad, x)
        else:
            gradients = self._gradients  # in memory of the main line, which reads them
            self._side_stream.do(lambda: self._differentiate_by_products(grad, x, *gradients), grad)
        parameter.grad = self._gradients[0]
        if self._has_bias:
            self._linear.bias.grad = self._gradients[1]
        if not self._has_input_gradient:
            return None
        weight = parameter if grad.dtype == parameter.dtype else self._low[0]
        if self._onednn is not None and grad.dtype == torch.float32:
            return self._onednn(grad, weight.t(), None, "none", [], "")
        return torch.mm(
            grad, weight, out=self._buffer("backward", x.shape[0], x.shape[1], grad.dtype)
        )

    @functools.cached_property
    def _gradients(self) -> list[Tensor]:
        """Memory for the gradients of weight and bias."""
        of_weight = torch.empty_like(self._linear.weight)
        return [of_weight, torch.empty_like(self._linear.bias)] if self._has_bias else [of_weight]

    def _differentiate(self, grad: Tensor, x: Tensor) -> None:
        """Fill the gradients of weight and bias; in low precision as autocast rounds them."""
        of_weight, *of_bias = self._gradients
        if grad.dtype == of_weight.dtype:
            torch.mm(grad.t(), x, out=of_weight)
            for gradient in of_bias:
                torch.sum(grad, 0, out=gradient)
        else:
            rows, columns = of_weight.shape
            low = self._buffer("weight", rows, columns, grad.dtype)
            of_weight.copy_(torch.mm(grad.t(), x, out=low))
            for gradient in of_bias:
                gradient.copy_(torch.sum(grad, 0, dtype=grad.dtype))

    def _differentiate_by_products(
        self, grad: Tensor, x: Tensor, of_weight: Tensor, *of_bias: Tensor
    ) -> None:
        """Do the same on a CUDA device: in low precision without rounding what was summed.

        A sum over rows is a product with ones, for which more blocks of threads are at work.
        """
        _product(grad.t(), x, out=of_weight)
        for gradient in of_bias:
            rows = grad.shape[0]
            if self._ones is None or self._ones.shape[1] < rows or self._ones.dtype != grad.dtype:
                self._ones = grad.new_ones(1, rows)
            _product(self._ones[:, :rows], grad, out=gradient.unsqueeze(0))

    def _cast(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """Return the parameters in low precision, as they are in this step."""
        parameters = [weight] if bias is None else [weight, bias]
        if not self._low or self._low[0].dtype != dtype:
            self._low = [torch.empty_like(each, dtype=dtype) for each in parameters]
        for low, parameter in zip(self._low, parameters, strict=True):
            low.copy_(parameter)
        return self._low[0], self._low[1] if bias is not None else None

    def _buffer(self, use: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Return memory for one result; the same in each step, shorter for a short batch."""
        known = self._buffers.get(use)
        if known is None or known.shape[0] < rows or known.dtype != dtype:
            known = torch.empty(rows, columns, dtype=dtype, device=self._linear.weight.device)
            self._buffers[use] = known
        return known if known.shape[0] == rows else known[:rows]


def _product(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """Write the matrix product into ``out``, in whose type the sums are kept."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    else:
        torch.mm(a, b, out.dtype, out=out)
