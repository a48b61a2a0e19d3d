"""The progress bar: one line on a terminal, nothing at all elsewhere."""

from __future__ import annotations

import io
import threading
import time

import pytest

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
