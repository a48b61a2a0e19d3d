"""Data sets in memory, checked byte by byte, and batches of them."""

from __future__ import annotations

from mlpkit.data._batches import Batch, Batches
from mlpkit.data._labeled import LabeledTensors

__all__ = ["Batch", "Batches", "LabeledTensors"]
