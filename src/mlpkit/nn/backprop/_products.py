"""The three matrix products of a linear layer in training, written into reused buffers."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, cast

import torch
from torch import Tensor, nn

from mlpkit._devices import SideStream

__all__ = ["NARROW", "AffineProducts", "OneDNNLinear", "linear_by_onednn"]

OneDNNLinear: TypeAlias = Callable[
    [Tensor, Tensor, Tensor | None, str, list[float | None], str], Tensor
]

# Below this width, oneDNN on the CPU and a bias added by cuBLAS on a GPU do not pay off.
NARROW: Final = 64


@functools.cache
def has_slow_mkl() -> bool:
    """Return whether the processor is AMD's, for which ``torch.mm`` by MKL is slower than oneDNN.

    The vendor decides, so that every run of a machine computes the same bits.
    """
    cpuinfo = Path("/proc/cpuinfo")
    vendor = cpuinfo.read_text() if cpuinfo.exists() else platform.processor()
    return "AuthenticAMD" in vendor


def linear_by_onednn() -> OneDNNLinear | None:
    """Return oneDNN's linear operator for float32; None if MKL is as fast or torch has no oneDNN.

    torch's compiler emits the same operator for linear layers on a CPU. See
    docs/decisions/0008-hand-written-gradients.md for what it saves.
    """
    if not (has_slow_mkl() and torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()):
        return None
    operator: object = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return cast("OneDNNLinear | None", getattr(operator, "default", None))


class AffineProducts:
    r"""Forward and backward pass of a linear layer, without autograd's graph.

    .. math::
        Z = X W^\top + b, \qquad
        \frac{\partial L}{\partial W} = G^\top X, \quad
        \frac{\partial L}{\partial b} = \sum_n G_n, \quad
        \frac{\partial L}{\partial X} = G W, \qquad G = \frac{\partial L}{\partial Z}

    Args:
        linear: The layer; its parameters are read in each step.
        has_input_gradient: Whether :meth:`backward` returns the gradient of X.
        bit_exact: Whether each product has the same bits as autograd's. If False, Z and the
            gradient of X may be computed by oneDNN, which sums in another order.
        side_stream: CUDA stream for the gradients of W and b, which are then computed by products
            that sum in another order; None computes them on the current stream.

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
        # For few outputs in float32, cuBLAS is twice as slow with the bias as without it.
        self._adds_bias_after = side_stream is not None and linear.out_features < NARROW
        self._has_bias = linear.bias is not None
        self._has_input_gradient = has_input_gradient
        self._onednn = linear_by_onednn() if fits else None
        # Weight, and bias if there is one, in the autocast dtype.
        self._autocast_parameters: list[Tensor] = []
        self._input: Tensor | None = None
        self._ones: Tensor | None = None
        self._buffers: dict[str, Tensor] = {}

    def forward(self, x: Tensor, *, autocast_dtype: torch.dtype | None, fuse_relu: bool) -> Tensor:
        """Return Z, or ReLU of Z.

        Args:
            x: The input; it is kept for :meth:`backward`.
            autocast_dtype: The dtype of the products under autocast; None if autocast is off.
            fuse_relu: Whether to apply ReLU, in place.
        """
        weight: Tensor = self._linear.weight
        bias: Tensor | None = self._linear.bias if self._has_bias else None
        if autocast_dtype is not None and weight.dtype != torch.float64:  # autocast skips float64
            weight, bias = self._cast(weight, bias, autocast_dtype)
            x = x.to(autocast_dtype)
        self._input = x
        if self._onednn is not None and x.dtype == weight.dtype == torch.float32:
            out = self._onednn(x, weight, bias, "none", [], "")
            return out.relu_() if fuse_relu else out  # oneDNN's fused ReLU turns NaN into 0
        out = self._buffer("forward", x.shape[0], weight.shape[0], x.dtype)
        if bias is None:
            torch.mm(x, weight.t(), out=out)
        elif self._adds_bias_after and x.dtype == torch.float32:
            torch.mm(x, weight.t(), out=out).add_(bias)
        else:
            torch.addmm(bias, x, weight.t(), out=out)
        return out.relu_() if fuse_relu else out

    def backward(self, grad: Tensor) -> Tensor | None:
        """Set the gradients of the parameters, and return the gradient of the input if needed.

        Args:
            grad: Gradient of Z, with the dtype of Z.
        """
        x = self._input
        assert x is not None, "call forward before backward"
        parameter = self._linear.weight
        if self._side_stream is None:
            self._differentiate(grad, x)
        else:
            gradients = self._gradients  # allocated on the main stream, which reads them
            self._side_stream.do(lambda: self._differentiate_by_products(grad, x, *gradients), grad)
        parameter.grad = self._gradients[0]
        if self._has_bias:
            self._linear.bias.grad = self._gradients[1]
        if not self._has_input_gradient:
            return None
        weight = parameter if grad.dtype == parameter.dtype else self._autocast_parameters[0]
        if self._onednn is not None and grad.dtype == torch.float32:
            return self._onednn(grad, weight.t(), None, "none", [], "")
        return torch.mm(
            grad, weight, out=self._buffer("backward", x.shape[0], x.shape[1], grad.dtype)
        )

    @functools.cached_property
    def _gradients(self) -> list[Tensor]:
        """Buffers for the gradients of the weight and, if there is one, the bias."""
        weight_grad = torch.empty_like(self._linear.weight)
        bias_grad = [torch.empty_like(self._linear.bias)] if self._has_bias else []
        return [weight_grad, *bias_grad]

    def _differentiate(self, grad: Tensor, x: Tensor) -> None:
        """Compute the gradients of weight and bias, rounded as autograd rounds them."""
        weight_grad, *bias_grad = self._gradients
        if grad.dtype == weight_grad.dtype:
            torch.mm(grad.t(), x, out=weight_grad)
            for gradient in bias_grad:
                torch.sum(grad, 0, out=gradient)
        else:
            rows, columns = weight_grad.shape
            product = self._buffer("weight", rows, columns, grad.dtype)
            weight_grad.copy_(torch.mm(grad.t(), x, out=product))
            for gradient in bias_grad:
                gradient.copy_(torch.sum(grad, 0, dtype=grad.dtype))

    def _differentiate_by_products(
        self, grad: Tensor, x: Tensor, weight_grad: Tensor, *bias_grad: Tensor
    ) -> None:
        """Compute the same on a CUDA device, without rounding the sums to the autocast dtype.

        The sum over rows is a product with ones, which uses more thread blocks than a reduction.
        """
        _product(grad.t(), x, out=weight_grad)
        for gradient in bias_grad:
            rows = grad.shape[0]
            if self._ones is None or self._ones.shape[1] < rows or self._ones.dtype != grad.dtype:
                self._ones = grad.new_ones(1, rows)
            _product(self._ones[:, :rows], grad, out=gradient.unsqueeze(0))

    def _cast(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """Return the current parameters in the autocast dtype."""
        parameters = [weight] if bias is None else [weight, bias]
        if not self._autocast_parameters or self._autocast_parameters[0].dtype != dtype:
            self._autocast_parameters = [torch.empty_like(each, dtype=dtype) for each in parameters]
        for copied, parameter in zip(self._autocast_parameters, parameters, strict=True):
            copied.copy_(parameter)
        return self._autocast_parameters[0], None if bias is None else self._autocast_parameters[1]

    def _buffer(self, use: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Return the buffer for one result; a short batch gets its first rows."""
        buffer = self._buffers.get(use)
        if buffer is None or buffer.shape[0] < rows or buffer.dtype != dtype:
            buffer = torch.empty(rows, columns, dtype=dtype, device=self._linear.weight.device)
            self._buffers[use] = buffer
        return buffer if buffer.shape[0] == rows else buffer[:rows]


def _product(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """Write the matrix product into ``out``, without rounding it to the dtype of the factors."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    else:
        torch.mm(a, b, out.dtype, out=out)
