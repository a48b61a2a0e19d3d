"""Several networks of one structure trained in one program."""

from __future__ import annotations

from mlpkit.training.ensemble._fit_many import fit_many

__all__ = ["fit_many"]
