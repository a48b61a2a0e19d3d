"""Export of trained models to ONNX and to the ``.pt2`` format of :func:`torch.export.save`."""

from __future__ import annotations

from mlpkit.export._onnx import export_onnx
from mlpkit.export._pt2 import export_pt2

__all__ = ["export_onnx", "export_pt2"]
