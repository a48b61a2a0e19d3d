"""Networks that were trained elsewhere, as mlpkit's own: the weights come in, outputs stay."""

from __future__ import annotations

from mlpkit.interop._sequential import from_sequential
from mlpkit.interop._sklearn import from_sklearn

__all__ = ["from_sequential", "from_sklearn"]
