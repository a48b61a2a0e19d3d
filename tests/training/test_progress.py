"""The choice of how progress is shown, and the lines of a log."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.training.scenario import examples, margin, network

from mlpkit.training import Callback, EarlyStopping, EpochRow, StepInfo, Trainer, TrainerConfig
from mlpkit.training import fit_many as fit_networks
from mlpkit.training._notebook_progress import in_notebook
from mlpkit.training._progress import EpochLines, mean_row, show_progress
from mlpkit.training._progress_bar import ProgressBar

CONFIG = TrainerConfig(epochs=10, batch_size=32, progress="lines")
ROW = EpochRow(
    epoch=0, step=2, lr=0.1, train_loss=0.5, seconds=1.25, examples_per_second=1.0, val_loss=0.25
)


def test_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    """It has number, losses, metrics and seconds, and is written where nothing is a terminal."""
    trainer = Trainer(network(), CONFIG, metrics={"margin": margin})
    trainer.fit(examples(), examples(20, seed=1))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 10
    for line, row in zip(lines, trainer.history, strict=True):
        assert line == (
            f"epoch {row.epoch + 1:>2}/10  train loss {row.train_loss:.4f} (smoothed labels)"
            f"  val loss {row.val_loss:.4f}  val accuracy {row.val_accuracy:.2%}"
            f"  val margin {row.metrics['margin']:.4g}  {row.seconds:.1f} s"
        )


def test_an_epoch_has_the_metrics_that_it_has() -> None:
    file = io.StringIO()
    with EpochLines(100, file=file) as lines:
        assert lines.is_shown
        lines.update(1)
        lines.end_epoch(replace(ROW, val_rmse=12.3456, metrics={"f1": None}), "unused")
        lines.end_epoch(replace(ROW, epoch=41, val_loss=None), "unused")
    assert file.getvalue() == (
        "epoch   1/100  train loss 0.5000  val loss 0.2500  val RMSE 12.35  1.2 s\n"
        "epoch  42/100  train loss 0.5000  1.2 s\n"
    )


class StopAt(Callback):
    """Stops the run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:
        if info.step == self.step:
            trainer.stop()


def test_a_run_that_stops_earlier_has_the_lines_of_its_history(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also that of an epoch that is stopped within, and those of a continued run alone."""
    trainer = Trainer(network(), CONFIG, callbacks=[StopAt(2)])
    trainer.fit(examples())  # two steps per epoch
    assert [line[:11] for line in capsys.readouterr().err.splitlines()] == [
        "epoch  1/10",
        "epoch  2/10",
    ]
    config = replace(CONFIG, early_stopping=EarlyStopping(patience=1, min_delta=100.0))
    trainer = Trainer(network(), config)
    trainer.fit(examples(), examples(20, seed=1))
    assert len(capsys.readouterr().err.splitlines()) == 2
    trainer.fit(examples(), examples(20, seed=1), warm_start=True)
    assert [line[:11] for line in capsys.readouterr().err.splitlines()] == ["epoch  3/12"]


def test_several_networks_have_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    results = fit_networks([network(0), network(1)], examples(), config=replace(CONFIG, epochs=1))
    mean = sum(result.history[0].train_loss for result in results) / 2
    line = capsys.readouterr().err
    assert line.startswith(
        f"epoch 1/1  mean of 2 networks  train loss {mean:.4f} (smoothed labels)  "
    )
    assert re.fullmatch(r".*  \d+\.\d s\n", line)


def test_the_mean_of_rows() -> None:
    """A metric that a network does not have is None."""
    one = replace(ROW, val_accuracy=0.5, metrics={"f1": 0.5, "auc": 1.0})
    other = replace(ROW, train_loss=1.5, val_loss=None, metrics={"f1": 1.0, "auc": None})
    mean = replace(ROW, train_loss=1.0, val_loss=None, metrics={"f1": 0.75, "auc": None})
    assert mean_row([one, other]) == mean
    assert mean_row([one]) == one


def test_lines_without_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard streams, and one whose stream is closed, trains on."""
    monkeypatch.setattr(sys, "stderr", None)
    lines = EpochLines(1)
    assert not lines.is_shown
    lines.end_epoch(ROW, "")
    file = io.StringIO()
    file.close()
    with EpochLines(2, file=file) as lines:
        lines.end_epoch(ROW, "")
        assert not lines.is_shown


@pytest.mark.parametrize("shown", [True, False, None])
def test_a_terminal_has_the_bar(shown: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell of IPython in a terminal has no kernel."""
    shell = SimpleNamespace(get_ipython=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert not in_notebook()
    progress = show_progress(5, shown=shown, epochs=1, label_smoothing=0.0)
    assert isinstance(progress, ProgressBar)
    with progress:
        assert progress.is_shown == (shown is True)
