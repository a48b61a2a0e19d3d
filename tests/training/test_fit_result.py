"""The result of a run shows how it ended, in a few lines."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from tests.training.scenario import everything, examples, network, train
from torch import nn

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.training import FitResult, History, Trainer, TrainerConfig, TrainState


def test_the_repr_tells_the_end() -> None:
    """Reason, counters, last and best epoch, and the checkpoint."""
    trainer = Trainer(network(), TrainerConfig(epochs=2, batch_size=8, progress=False))
    result = trainer.fit(examples(), examples(20, seed=1))
    lines = repr(result).splitlines()
    state = result.state
    assert lines[0] == (
        f"FitResult(stop_reason='completed', epochs=2, steps=16, seconds={state.seconds:.1f})"
    )
    row = result.history[-1]
    assert lines[1] == (
        f"  epoch 1: train_loss {row.train_loss:.4f}, "
        f"val_objective_loss {row.val_objective_loss:.4f}, val_loss {row.val_loss:.4f}, "
        f"val_accuracy {row.val_accuracy:.4f}"
    )
    assert lines[2] == f"  best epoch: {state.best_epoch}, monitored {state.best_value:.4g}"
    assert len(lines) == 3


def test_the_checkpoint_is_named(tmp_path: Path) -> None:
    _, result = train(everything(tmp_path))
    assert repr(result).splitlines()[-1] == f"  checkpoint: {tmp_path / 'last.pt'}"


@pytest.mark.parametrize("epochs", [1, 30])
def test_the_repr_is_short_however_long_the_run(epochs: int) -> None:
    """Under 400 characters, without the history."""
    splits = digits()
    config = TrainerConfig(epochs=epochs, batch_size=512, progress=False)
    model = SoftmaxClassifier.for_data(splits.train, (8,))
    result = Trainer(model, config).fit(splits.train, splits.val)
    assert len(repr(result)) < 400
    assert len(repr(result).splitlines()) <= 4


def test_a_run_without_an_epoch_has_one_line() -> None:
    state = TrainState(step=3, seconds=1.25)
    result = FitResult(stop_reason="time", state=state, history=History(), last=None, best=None)
    assert repr(result) == "FitResult(stop_reason='time', epochs=0, steps=3, seconds=1.2)"


def test_the_result_is_that_of_the_trainer(tmp_path: Path) -> None:
    trainer, result = train(everything(tmp_path))
    assert (result.stop_reason, result.state, result.history) == (
        "completed",
        trainer.state,
        trainer.history,
    )
    assert (result.last, result.best) == (tmp_path / "last.pt", tmp_path / "best.pt")
    config = TrainerConfig(epochs=1, batch_size=8, progress=False)
    alone = Trainer(nn.Linear(6, 3), config).fit(examples())
    assert (alone.last, alone.best) == (None, None)


def test_notebooks_show_a_small_table(tmp_path: Path) -> None:
    """Its rows are the lines of the repr; the path is escaped."""
    _, result = train(everything(tmp_path / "a&b"))
    html = result._repr_html_()
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in html.split("<tr>")[1:]]
    names = ["stop reason", "epochs", "steps", "seconds", "epoch 3", "best epoch", "checkpoint"]
    assert [row[0] for row in rows] == names
    assert rows[0][1] == "completed"
    lines = repr(result).splitlines()[1:]
    assert [f"  {name}: {unescape(text)}" for name, text in rows[4:]] == lines
    assert "a&amp;b" in html
