"""Rows of a history, for the tests of loggers."""

from __future__ import annotations

from mlpkit.training import EpochRow


def row(epoch: int) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        step=10 * (epoch + 1),
        lr=1e-3,
        train_loss=1 / (epoch + 3),
        seconds=1.5,
        examples_per_second=4e4,
        val_loss=None if epoch else 0.25,
    )
