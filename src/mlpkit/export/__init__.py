"""A trained classifier as one file for other programs: ONNX, and PyTorch's own ``.pt2``."""

from __future__ import annotations

from mlpkit.export._onnx import export_onnx
from mlpkit.export._pt2 import export_pt2

__all__ = ["export_onnx", "export_pt2"]
