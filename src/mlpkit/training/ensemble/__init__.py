"""Simultaneous training of several networks with the same architecture."""

from __future__ import annotations

from mlpkit.training.ensemble._fit_many import fit_many

__all__ = ["fit_many"]
