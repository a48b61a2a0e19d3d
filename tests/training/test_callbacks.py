"""Hooks are called when they say, and carry their state through checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.scenario import everything, train
from torch import nn

from mlpkit.training import (
    Callback,
    CheckpointConfig,
    EpochRow,
    FitResult,
    StepInfo,
    Trainer,
    TrainerConfig,
)

CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False)


class Record(Callback):
    """Writes down what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.calls.append(f"start {trainer.state.step}")

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        assert trainer.state.step == step.step + 1
        self.calls.append(f"step {step.epoch}.{step.step}")

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        assert trainer.history[-1] is row
        self.calls.append(f"epoch {row.epoch}")

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:  # noqa: ARG002
        self.calls.append(path.name)

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:  # noqa: ARG002
        self.calls.append(type(error).__name__)

    def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:  # noqa: ARG002
        self.calls.append(result.stop_reason)


class TestCallbacks:
    def test_the_hooks_and_their_order(self, tmp_path: Path) -> None:
        record = Record()
        config = replace(
            everything(tmp_path, epochs=2), checkpoints=CheckpointConfig(folder=tmp_path)
        )
        train(config, callbacks=[record])
        first, second = ([f"step {epoch}.{3 * epoch + i}" for i in range(3)] for epoch in range(2))
        best = ["best.pt", "last.pt"]
        assert record.calls == [
            *("start 0", *first, "epoch 0", *best),
            *(*second, "epoch 1", *best, "completed"),
        ]

    def test_an_exception_is_told(self) -> None:
        class Fail(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
                raise ZeroDivisionError("on purpose")

        record = Record()
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            train(everything(None), callbacks=[record, Fail()])
        assert record.calls[-1] == "ZeroDivisionError"

    def test_state_comes_back_on_resume(self, tmp_path: Path) -> None:
        class Count(Callback):
            def __init__(self) -> None:
                self.steps = 0

            def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
                self.steps += 1
                if step.step == 4 and self.steps == 5:
                    trainer.stop()

            def state_dict(self) -> dict[str, object]:  # type: ignore[override]
                return {"steps": self.steps}

            def load_state_dict(self, state: object) -> None:
                assert isinstance(state, dict)
                self.steps = state["steps"]

        config = everything(tmp_path)
        _, result = train(config, callbacks=[Count(), Count()])
        assert result.stop_reason == "callback"
        again = [Count(), Count()]
        train(config, callbacks=again, resume="auto")
        assert [count.steps for count in again] == [12, 12]

    def test_an_object_that_is_none_is_refused(self) -> None:
        found: list[Callback] = [print]  # type: ignore[list-item]
        with pytest.raises(TypeError, match="callbacks must be instances of Callback, got <built"):
            Trainer(nn.Linear(1, 1), callbacks=found)
