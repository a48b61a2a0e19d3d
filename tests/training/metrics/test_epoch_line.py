"""One line for each epoch, in a log and on standard output of a command."""

from __future__ import annotations

from dataclasses import replace

from mlpkit.training import EpochRow
from mlpkit.training.metrics import epoch_line

ROW = EpochRow(
    epoch=4, step=2, lr=0.1, train_loss=0.5, seconds=1.25, examples_per_second=1.0, val_loss=0.25
)


def test_a_line_has_the_metrics_of_the_row() -> None:
    """A metric that the row does not have is left out."""
    assert epoch_line(ROW, 10) == "epoch  5/10  train loss 0.5000  val loss 0.2500  1.2 s"
    of_a_regression = replace(ROW, val_rmse=12.3456, metrics={"f1": None, "auc": 0.75})
    assert epoch_line(of_a_regression, 5, caption="mean of 2") == (
        "epoch 5/5  mean of 2  train loss 0.5000  val loss 0.2500  val RMSE 12.35  val auc 0.75"
        "  1.2 s"
    )
    assert epoch_line(replace(ROW, val_loss=None), 5) == "epoch 5/5  train loss 0.5000  1.2 s"


def test_losses_that_cannot_be_compared_are_marked() -> None:
    line = epoch_line(replace(ROW, val_accuracy=0.5), 5, label_smoothing=0.1)
    assert "train loss 0.5000 (smoothed labels)  val loss 0.2500  val accuracy 50.00%" in line
