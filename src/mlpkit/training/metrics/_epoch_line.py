"""The metrics of an epoch in one line of text."""

from __future__ import annotations

from mlpkit.training.metrics._history import EpochRow

__all__ = ["epoch_line"]


def epoch_line(
    row: EpochRow, epochs: int, *, label_smoothing: float = 0.0, caption: str = ""
) -> str:
    """Return number, losses, validation metrics and duration of an epoch.

    Args:
        row: The row of the epoch in the history.
        epochs: Number of epochs of the whole run.
        label_smoothing: Label smoothing of the training loss. The validation loss has none, so the
            two cannot be compared, and the line says so.
        caption: What the metrics are; empty for those of one model.
    """
    parts = [
        f"epoch {row.epoch + 1:>{len(str(epochs))}}/{epochs}",
        *filter(None, [caption]),
        f"train loss {row.train_loss:.4f}" + " (smoothed labels)" * (label_smoothing > 0.0),
    ]
    if row.val_loss is not None:
        parts.append(f"val loss {row.val_loss:.4f}")
    if row.val_accuracy is not None:
        parts.append(f"val accuracy {row.val_accuracy:.2%}")
    if row.val_rmse is not None:
        parts.append(f"val RMSE {row.val_rmse:.4g}")
    parts += [f"val {name} {x:.4g}" for name, x in row.metrics.items() if x is not None]
    return "  ".join([*parts, f"{row.seconds:.1f} s"])
