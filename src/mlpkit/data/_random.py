"""Counter-based random numbers: pure functions of (state, index), without a generator object.

A ``torch.Generator`` has one stream for a whole batch, so that the numbers of an image would depend
on the images before it. Here every number is an integer hash of a counter, computed with tensor
operations. The bits are the same on every device and for every version of torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK_64 = 2**64 - 1
_GOLDEN_64 = 0x9E3779B97F4A7C15
_MIX_64 = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # splitmix64, Steele et al. 2014, variant 13
_MIX_32 = (0x7FEB352D, 0x846CA68B)  # lowbias32, found by a search for minimal bias


def derive(seed: int, *words: int) -> int:
    """Return a 64-bit state: a hash of a seed and any number of integers, in order."""
    state = _mix(seed & _MASK_64)
    for word in words:
        state = _mix((state + _GOLDEN_64 + (word & _MASK_64)) & _MASK_64)
    return state


def _mix(value: int) -> int:
    """Return the splitmix64 output function of a 64-bit integer, a bijection."""
    value = ((value ^ (value >> 30)) * _MIX_64[0]) & _MASK_64
    value = ((value ^ (value >> 27)) * _MIX_64[1]) & _MASK_64
    return value ^ (value >> 31)


def random_bits(state: int, indices: Tensor) -> Tensor:
    """Return 64 random bits for each index, int64; different indices give different bits.

    Args:
        state: State returned by :func:`derive`.
        indices: Indices, int64, any shape.
    """
    # Every operation is a bijection of 64-bit integers, so no two indices collide.
    bits = indices * _signed(_GOLDEN_64, 64)
    bits += _signed(state, 64)
    bits ^= (bits >> 30) & (2**34 - 1)  # >> is arithmetic; the mask clears the sign bits
    bits *= _signed(_MIX_64[0], 64)
    bits ^= (bits >> 27) & (2**37 - 1)
    bits *= _signed(_MIX_64[1], 64)
    bits ^= (bits >> 31) & (2**33 - 1)
    return bits


def permutation(state: int, count: int, device: torch.device) -> Tensor:
    """Return 0 .. count - 1 in random order, int64, shape (count,)."""
    # All hashes differ, so every sorting algorithm returns the same order.
    return torch.argsort(random_bits(state, torch.arange(count, device=device)))


def uniforms(state: int, indices: Tensor, count: int) -> Tensor:
    """Return ``count`` uniform numbers in (0, 1) for each index, float64, shape (n, count).

    Use :func:`noise` for thousands of numbers per index; it is cheaper.
    """
    first = random_bits(state, indices).unsqueeze(1)
    steps = torch.arange(1, count + 1, device=indices.device)
    bits = random_bits(derive(state, 1), first + steps)
    # 52 bits plus one half: never exactly 0 or 1.
    return (((bits >> 12) & (2**52 - 1)).double() + 0.5) * 2.0**-52


def noise(state: int, indices: Tensor, count: int) -> Tensor:
    """Return ``count`` uniform numbers in (-1, 1) for each index, float32, shape (n, count).

    Each number is one of 65,536 equidistant values, symmetric about 0. It is computed from one half
    of a 32-bit hash of (64-bit key of the index, counter).
    """
    keys = random_bits(state, indices).view(torch.int32).view(-1, 2)
    pairs = torch.arange((count + 1) // 2, dtype=torch.int32, device=indices.device)
    bits = pairs * _signed(_GOLDEN_64 >> 32, 32) + keys[:, :1]
    shifted = torch.empty_like(bits)
    _fold(bits, shifted, 16)
    bits *= _signed(_MIX_32[0], 32)
    bits ^= keys[:, 1:]  # the second key: streams overlap only if both keys are equal
    _fold(bits, shifted, 15)
    bits *= _signed(_MIX_32[1], 32)
    _fold(bits, shifted, 16)
    halves = bits.view(torch.int16)[:, :count].float()
    return halves.add_(0.5).mul_(2.0**-15)


def _fold(bits: Tensor, shifted: Tensor, distance: int) -> None:
    """Compute ``bits ^= bits >>> distance`` for int32 in place; ``shifted`` is a buffer."""
    torch.bitwise_right_shift(bits, distance, out=shifted)
    shifted &= 2 ** (32 - distance) - 1
    bits ^= shifted


def _signed(word: int, width: int) -> int:
    """Return an unsigned integer of ``width`` bits reinterpreted as two's complement."""
    return word - 2**width if word >= 2 ** (width - 1) else word
