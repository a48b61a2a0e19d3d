"""A training and its classifier on one page of HTML that needs nothing else."""

from __future__ import annotations

from mlpkit.report._page import write_report
from mlpkit.report._run import Run, read_run

__all__ = ["Run", "read_run", "write_report"]
