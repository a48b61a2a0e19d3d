"""The progress bar: one line on a terminal, nothing at all elsewhere."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest
import torch
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.training import Trainer, TrainerConfig
from mlpkit.training._progress_bar import ProgressBar


class Terminal(io.StringIO):
    """A file that says it is a terminal, and counts what is drawn."""

    def isatty(self) -> bool:
        return True

    def drawings(self) -> list[str]:
        return [part.strip() for part in self.getvalue().split("\r") if part.strip()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the progress bar sees it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_nothing_is_written() -> None:
    file = io.StringIO()
    with ProgressBar(10, file=file) as bar:
        assert not bar.is_shown
        for step in range(10):
            bar.update(step)
            bar.set_text("error 2 %")
    assert file.getvalue() == ""


@pytest.mark.usefixtures("clock")
def test_it_can_be_asked_for_and_refused() -> None:
    shown, hidden = io.StringIO(), Terminal()
    with ProgressBar(10, shown=True, file=shown) as bar:
        bar.update(5)
    assert "5/10" in shown.getvalue()
    with ProgressBar(10, shown=False, file=hidden) as bar:
        bar.update(5)
    assert hidden.getvalue() == ""


def test_it_is_drawn_at_most_four_times_a_second(clock: list[float]) -> None:
    """In 2 seconds of a thousand steps each there are at most 9 drawings."""
    file = Terminal()
    bar = ProgressBar(2000, file=file)
    before = len(file.drawings())
    for step in range(2000):
        bar.update(step)
        clock[0] += 0.001
    assert len(file.drawings()) - before <= 9
    bar.close(2000)
    assert "2000/2000" in file.drawings()[-1]


def test_a_resumed_training_starts_where_it_was(clock: list[float]) -> None:
    file = Terminal()
    with ProgressBar(100, initial=40, file=file) as bar:
        clock[0] += 1.0
        bar.update(41)
    assert "41/100" in file.drawings()[-1]
    assert "40/100" in file.drawings()[0]


def test_the_text_is_drawn_with_the_next_step(clock: list[float]) -> None:
    file = Terminal()
    with ProgressBar(100, file=file) as bar:
        bar.set_text("error 1.8 %")
        clock[0] += 1.0
        bar.update(2)
        assert "error 1.8 %" in file.drawings()[-1]


def test_no_thread_watches_it() -> None:
    """A bar of tqdm itself starts one."""
    before = threading.active_count()
    with ProgressBar(10, file=Terminal()) as bar:
        bar.update(1)
        assert threading.active_count() == before


def test_closing_twice_is_harmless() -> None:
    file = Terminal()
    bar = ProgressBar(10, file=file)
    bar.close(10)
    bar.close()
    written = file.getvalue()
    bar.update(3)
    assert file.getvalue() == written


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="total must be a positive integer, got 0"):
        ProgressBar(0)
    with pytest.raises(ValueError, match="initial must be a non-negative integer, got -1"):
        ProgressBar(1, initial=-1)


@pytest.mark.parametrize("shown", [None, True, False])
def test_a_process_without_standard_streams_trains(
    monkeypatch: pytest.MonkeyPatch,
    shown: bool | None,
) -> None:
    """Under `pythonw`, and after `2>&-` in a shell, both streams are None."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    with ProgressBar(10, shown=shown) as bar:
        assert not bar.is_shown
        bar.update(5)
    config = TrainerConfig(epochs=2, batch_size=2, progress=shown)
    examples = LabeledTensors(torch.eye(4), torch.tensor([0, 1, 0, 1]))
    result = Trainer(nn.Linear(4, 2), config).fit(examples, examples)
    assert result.stop_reason == "completed"


@pytest.mark.parametrize("shown", [None, True])
def test_a_closed_stream_is_no_error(shown: bool | None) -> None:
    """Neither where the stream is asked whether it is a terminal nor where it is written."""
    file = io.StringIO()
    file.close()
    with ProgressBar(10, shown=shown, file=file) as bar:
        bar.update(5)


def test_a_stream_that_does_not_say_what_it_is_is_no_terminal() -> None:
    """As an object of a graphical program that has `write` alone."""

    class Writer:
        def write(self, text: str) -> None:
            raise AssertionError(text)

    with ProgressBar(10, file=Writer()) as bar:  # type: ignore[arg-type]
        assert not bar.is_shown


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "disk full"), ValueError("shut")])
def test_a_run_outlives_its_terminal(clock: list[float], error: Exception) -> None:
    """If the stream fails, nothing more is written, at the end neither."""

    class Failing(Terminal):
        fails = False
        failures = 0

        def write(self, text: str) -> int:
            if self.fails:
                self.failures += 1
                raise error
            return super().write(text)

    file = Failing()
    with ProgressBar(10, file=file) as bar:
        shown = [bar.is_shown]
        file.fails = True
        for step in range(1, 4):
            clock[0] += 1.0
            bar.update(step)
            shown.append(bar.is_shown)
        bar.close(10)
    assert shown == [True, False, False, False]
    assert file.failures == 1
