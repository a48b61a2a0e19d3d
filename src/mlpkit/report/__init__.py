"""An HTML report of a run and its model, in one self-contained file.

The package also reads and writes the files of a run folder that the report uses: the run itself
(:func:`read_run`) and the activation statistics of its hidden layers (:func:`read_layer_health`
and :func:`write_layer_health`).
"""

from __future__ import annotations

from mlpkit.report._layer_health import (
    layer_health_from_rows,
    layer_health_to_rows,
    read_layer_health,
    write_layer_health,
)
from mlpkit.report._page import write_report
from mlpkit.report._run import Run, read_run

__all__ = [
    "Run",
    "layer_health_from_rows",
    "layer_health_to_rows",
    "read_layer_health",
    "read_run",
    "write_layer_health",
    "write_report",
]
