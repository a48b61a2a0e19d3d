"""Histories for reports."""

from __future__ import annotations

from mlpkit.training import EpochRow, History

__all__ = ["falling_history"]


def falling_history(epochs: int, *, seconds: float) -> History:
    """Return a history whose losses and errors fall, with this duration of each epoch."""
    return History(
        EpochRow(
            epoch=e, step=e, lr=0.1, train_loss=2.0**-e, seconds=seconds, examples_per_second=1.0,
            val_loss=1.5**-e, val_accuracy=0.9, val_error=0.1 / (e + 1),
        )
        for e in range(epochs)
    )  # fmt: skip
