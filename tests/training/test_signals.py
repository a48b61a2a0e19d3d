"""SIGTERM and Ctrl-C: the step is finished, the training saved, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.training.scenario import (
    differences,
    everything,
    examples,
    network,
    noise,
    train,
)

from mlpkit.data import Batch, Batches
from mlpkit.errors import MlpkitError, TrainingInterrupted, TrainingKeyboardInterrupt
from mlpkit.training import Callback, EpochRow, FitResult, StepInfo, Trainer, TrainerConfig
from mlpkit.training._signals import SIGNALS, StopSignals, interruption
from mlpkit.training.checkpoints import read_checkpoint


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    """No test and no training leaves another handler behind."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


class Send(Callback):
    """Sends signals to the process after a step."""

    def __init__(self, *signums: int, step: int) -> None:
        self.signums = signums
        self.step = step

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
        if step.step == self.step:
            for signum in self.signums:
                os.kill(os.getpid(), signum)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The last checkpoint of the training that nobody interrupted."""
    folder = tmp_path_factory.mktemp("reference")
    train(everything(folder))
    return dict(read_checkpoint(folder / "last.pt"))


def resumed(folder: Path) -> dict[str, object]:
    """Go on, and return the last checkpoint."""
    train(everything(folder), resume="auto")
    return dict(read_checkpoint(folder / "last.pt"))


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("step", [0, 4, 5, 11])
def test_a_signal_in_training(
    tmp_path: Path, reference: dict[str, object], signum: int, step: int
) -> None:
    """In any step, the last of an epoch and of the training too."""
    config = everything(tmp_path, every_steps=1000)
    kind = TrainingKeyboardInterrupt if signum == signal.SIGINT else TrainingInterrupted
    with pytest.raises(kind, match=f"signal {int(signum)}; resume from") as caught:
        train(config, callbacks=[Send(signum, step=step)])
    assert isinstance(caught.value, TrainingInterrupted | TrainingKeyboardInterrupt)
    assert caught.value.signum == signum
    assert caught.value.checkpoint == tmp_path / "last.pt"
    state = read_checkpoint(tmp_path / "last.pt")["state"]
    assert isinstance(state, dict)
    assert state["step"] == step + 1
    assert differences(reference, resumed(tmp_path)) == []


class SignallingBatches:
    """Validation batches that send SIGTERM to the process when they are first read."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.num_examples = batches.num_examples
        self.fingerprint = batches.fingerprint
        self.given = 0

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Give the batches."""
        for batch in self._batches.epoch(epoch, start=start):
            self.given += 1
            yield batch
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_in_validation(tmp_path: Path, reference: dict[str, object]) -> None:
    """The validation is left where it is, and made again on resume."""
    config = everything(tmp_path)
    trainer = Trainer(network(), config)
    val = examples(20, seed=1).batches(config.eval_batch_size, shuffle=False)
    signalling = SignallingBatches(val)
    assert len(val) == 2
    with pytest.raises(TrainingInterrupted, match="signal 15"):
        trainer.fit(Batches(examples(), 8, augment=noise), signalling)
    assert signalling.given == 2
    assert len(trainer.history) == 0
    assert differences(reference, resumed(tmp_path)) == []


def test_a_signal_during_a_save(
    tmp_path: Path, reference: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save is finished, then the training stops."""
    real = os.fsync
    sent: list[int] = []

    def fsync(descriptor: int) -> None:
        if not sent:
            sent.append(descriptor)
            os.kill(os.getpid(), signal.SIGINT)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TrainingKeyboardInterrupt, match="signal 2"):
        train(everything(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt"]
    assert differences(reference, resumed(tmp_path)) == []


def test_a_signal_in_the_last_moment(tmp_path: Path) -> None:
    """Nothing is swallowed, even if there is nothing left to do."""

    class Late(Callback):
        def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:  # noqa: ARG002
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterrupted, match="signal 15; resume from"):
        train(everything(tmp_path), callbacks=[Late()])


def test_a_signal_without_checkpoints() -> None:
    """The error says that nothing was saved; history and state are in memory."""
    trainer = Trainer(network(), TrainerConfig(batch_size=8), callbacks=[Send(15, step=9)])
    with pytest.raises(TrainingInterrupted, match="no checkpoint was written"):
        trainer.fit(examples())
    assert trainer.state.step == 10
    assert len(trainer.history) == 1
    assert not trainer.model.training


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    """It gets Python's own handler."""
    with pytest.raises(KeyboardInterrupt):
        train(everything(tmp_path), callbacks=[Send(signal.SIGINT, signal.SIGINT, step=4)])
    state = read_checkpoint(tmp_path / "last.pt")["state"]
    assert isinstance(state, dict)
    assert state["step"] == 4, "the step in which it came is not saved"


def test_a_second_sigterm_gets_the_handler_that_was_there(tmp_path: Path) -> None:
    """By default that one ends the process."""

    class Ended(Exception):  # noqa: N818
        pass

    def end(_signum: int, _frame: object) -> None:
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Ended):
            train(everything(tmp_path), callbacks=[Send(signal.SIGTERM, signal.SIGTERM, step=4)])
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_live_only_inside_fit(tmp_path: Path) -> None:
    """They are there in a step, and gone afterwards, also after an exception."""
    seen = []

    class Look(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    train(everything(tmp_path), callbacks=[Look()])
    assert len(seen) == 4
    assert before not in seen
    assert signal.getsignal(signal.SIGTERM) == before


def test_fit_in_another_thread(tmp_path: Path) -> None:
    """Python delivers no signals there, so no handler is set, and it trains as ever."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(train(everything(tmp_path))))
    thread.start()
    thread.join()
    assert len(done) == 1


def test_a_handler_of_another_language_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python cannot put back what it did not set, so it is left alone."""
    monkeypatch.setattr(signal, "getsignal", lambda _number: None)
    with StopSignals() as signals:
        assert signals.signum is None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    monkeypatch.undo()


def test_the_exception_depends_on_the_signal() -> None:
    checkpoint = Path("last.pt")
    for signum in SIGNALS:
        error = interruption(signum, checkpoint)
        expected = TrainingKeyboardInterrupt if signum == signal.SIGINT else TrainingInterrupted
        assert type(error) is expected
        assert (error.signum, error.checkpoint) == (signum, checkpoint)


def test_ctrl_c_ends_a_sweep_that_continues_after_failed_runs(tmp_path: Path) -> None:
    """`except Exception` around `fit` catches the SIGTERM of one run, but not Ctrl-C."""
    started: list[int] = []
    failed: list[str] = []

    def sweep(signum: int) -> None:
        for number in range(3):
            started.append(number)
            folder = tmp_path / f"{signum}-{number}"
            try:
                train(everything(folder), callbacks=[Send(signum, step=2)])
            except Exception as error:  # noqa: BLE001 - what users write
                failed.append(f"{type(error).__name__} {isinstance(error, MlpkitError)}")

    sweep(signal.SIGTERM)
    assert (started, failed) == ([0, 1, 2], ["TrainingInterrupted True"] * 3)
    with pytest.raises(KeyboardInterrupt) as caught:
        sweep(signal.SIGINT)
    assert (started, failed) == ([0, 1, 2, 0], ["TrainingInterrupted True"] * 3)
    assert isinstance(caught.value, TrainingKeyboardInterrupt)
    assert caught.value.signum == signal.SIGINT
    assert caught.value.checkpoint == tmp_path / "2-0" / "last.pt"


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_that_the_parent_ignores_stays_ignored(tmp_path: Path, signum: int) -> None:
    """As for a background job of a shell: the run ends as if no signal had come."""
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        _, result = train(everything(tmp_path), callbacks=[Send(signum, step=2)])
        assert result.stop_reason == "completed"
        assert signal.getsignal(signum) is signal.SIG_IGN
        with StopSignals() as signals:
            assert signal.getsignal(signum) is signal.SIG_IGN
            other = next(number for number in SIGNALS if number != signum)
            signal.raise_signal(other)
            assert signals.signum == other
    finally:
        signal.signal(signum, before)
