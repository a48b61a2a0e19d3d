"""Conversion of trained networks of other libraries to mlpkit; the outputs are the same."""

from __future__ import annotations

from mlpkit.interop._sequential import from_sequential
from mlpkit.interop._sklearn import from_sklearn

__all__ = ["from_sequential", "from_sklearn"]
