"""Error messages about the dtype, layout and device of the input of a network."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message

__all__ = ["check_fits_weight", "input_type_error"]

_CONVERSIONS: Final = {
    torch.float64: "double()",
    torch.float32: "float()",
    torch.float16: "half()",
    torch.bfloat16: "bfloat16()",
}


def input_type_error(x: object, weight: object) -> TypeError:
    """Return the error for an input that is not a dense floating tensor."""
    dtype = weight.dtype if isinstance(weight, Tensor) else torch.float32
    rule = "a floating tensor"
    if not isinstance(x, Tensor):
        cure = f"torch.as_tensor(x, dtype={dtype}) makes one"
        return TypeError(error_message("x", rule, x, cure))
    if x.is_nested:
        cure = "pad it with torch.nested.to_padded_tensor(x, 0.0)"
        return TypeError(error_message("x", "a dense tensor", Unquoted("a nested one"), cure))
    if x.layout is not torch.strided and x.layout is not torch.jagged:
        cure = "convert it with x.to_dense()"
        return TypeError(error_message("x", "a dense tensor", x.layout, cure))
    convert = _conversion(dtype)
    if x.is_complex():
        parts = "torch.view_as_real(x).flatten(-2)"
        cure = f"pass real and imaginary parts as features, {parts}"
    elif x.is_quantized:
        cure = "convert it with x.dequantize()"
    else:
        cure = f"convert it with {convert}, pixels with {convert} / 255"
    return TypeError(error_message("x", rule, x.dtype, cure))


def check_fits_weight(x: Tensor, weight: object, *, cause: Exception) -> None:
    """Raise if the input differs from the weight in dtype or device, after a product has failed.

    Raises:
        TypeError: If the dtypes differ.
        ValueError: If the devices differ.
    """
    if not isinstance(weight, Tensor) or not isinstance(x, Tensor):
        return
    if x.device != weight.device:
        rule = f"on the device of the network ({weight.device})"
        cure = f"move it with x.to({str(weight.device)!r})"
        if weight.is_meta:
            cure = "give the network memory with to_empty(device=...), then load its weights"
        raise ValueError(error_message("x", rule, str(x.device), cure)) from cause
    if x.dtype != weight.dtype and weight.is_floating_point():
        rule = f"of the dtype of the network ({weight.dtype})"
        cure = f"convert it with {_conversion(weight.dtype)}"
        raise TypeError(error_message("x", rule, x.dtype, cure)) from cause


def _conversion(dtype: torch.dtype) -> str:
    """Return the expression that converts ``x`` to a dtype."""
    return f"x.{_CONVERSIONS.get(dtype, f'to({dtype})')}"
