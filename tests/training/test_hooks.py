"""The trainer calls the hooks that a callback implements, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import differences, everything, examples, network, train
from torch import nn

from mlpkit._serialization import JSONValue
from mlpkit.training import (
    Callback,
    CallbackLike,
    CheckpointConfig,
    CSVLogger,
    EpochRow,
    FitResult,
    StepInfo,
    Trainer,
    TrainerConfig,
)
from mlpkit.training._hooks import default_hook, hooks

CONFIG = TrainerConfig(epochs=2, batch_size=8, progress=False)
NAMES = (
    *("on_fit_start", "on_step_end", "on_epoch_end", "on_checkpoint", "on_exception"),
    "on_fit_end",
)


class Rows(Callback):
    """Implements one hook, for the trainer that it names."""

    def __init__(self) -> None:
        self.rows: list[EpochRow] = []

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        assert trainer.history[-1] is row
        self.rows.append(row)


class Structural:
    """A callback by its methods alone, without the base class."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.loaded: Mapping[str, JSONValue] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        self.calls.append(f"start {trainer.state.step}")

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        assert trainer.lr == step.lr
        self.calls.append(f"step {step.step}")

    def on_epoch_end(self, trainer: object, row: EpochRow) -> None:  # noqa: ARG002
        self.calls.append(f"epoch {row.epoch}")

    def on_checkpoint(self, trainer: object, path: Path) -> None:  # noqa: ARG002
        self.calls.append(path.name)

    def on_exception(self, trainer: object, error: BaseException) -> None:  # noqa: ARG002
        self.calls.append(type(error).__name__)

    def on_fit_end(self, trainer: object, result: FitResult) -> None:  # noqa: ARG002
        self.calls.append(result.stop_reason)

    def state_dict(self) -> dict[str, JSONValue]:
        return {"calls": ",".join(self.calls)}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        self.loaded = state


def test_only_the_hooks_that_are_implemented_are_found() -> None:
    rows, structural = Rows(), Structural()
    for name in NAMES:
        assert hooks([Callback()], name) == []
        assert hooks([rows], name) == ([rows.on_epoch_end] if name == "on_epoch_end" else [])
        assert hooks([structural], name) == [getattr(structural, name)]


def test_the_order_is_that_of_the_callbacks() -> None:
    one, other, structural = Rows(), Rows(), Structural()
    found = hooks([one, Callback(), structural, other], "on_epoch_end")
    assert found == [one.on_epoch_end, structural.on_epoch_end, other.on_epoch_end]


def test_a_hook_that_is_set_on_the_object_is_found() -> None:
    """As torch finds a forward that is set on a module."""
    callback = Callback()
    seen: list[EpochRow] = []
    callback.on_epoch_end = lambda trainer, row: seen.append(row)  # type: ignore[method-assign]  # noqa: ARG005
    result = Trainer(nn.Linear(6, 3), CONFIG, callbacks=[callback]).fit(examples())
    assert seen == list(result.history)


def test_a_default_hook_is_never_called() -> None:
    """One that is marked as default and raises does not disturb; an overriding one runs."""

    class Marked(Callback):
        @default_hook
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
            raise AssertionError("a default hook was called")

    class Overriding(Marked):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
            raise ZeroDivisionError("on purpose")

    Trainer(nn.Linear(6, 3), CONFIG, callbacks=[Marked()]).fit(examples())
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        Trainer(nn.Linear(6, 3), CONFIG, callbacks=[Overriding()]).fit(examples())


def test_every_hook_of_the_base_class_is_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that saves, ends and fails calls none of them; state_dict is not a hook."""

    class Fail(Callback):
        def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:  # noqa: ARG002
            raise ZeroDivisionError("on purpose")

    called: list[str] = []
    for name in NAMES:
        method = getattr(Callback, name)
        assert method.is_default

        def spy(*_: object, name: str = name) -> None:
            called.append(name)

        monkeypatch.setattr(Callback, name, default_hook(spy))
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        train(everything(None, epochs=1), callbacks=[Callback(), Fail()])
    assert called == []


def test_an_object_with_all_methods_is_a_callback(tmp_path: Path) -> None:
    """Its hooks are called in order, and its state makes the way through a checkpoint."""
    first = Structural()
    config = replace(CONFIG, epochs=1, batch_size=31)
    config = replace(config, checkpoints=CheckpointConfig(folder=tmp_path))
    Trainer(nn.Linear(6, 3), config, callbacks=[first]).fit(examples())
    expected = ["start 0", "step 0", "step 1", "epoch 0", "last.pt", "completed"]
    assert first.calls == expected
    second = Structural()
    Trainer(nn.Linear(6, 3), config, callbacks=[second]).fit(examples(), resume="auto")
    assert second.loaded == {"calls": "start 0,step 0,step 1,epoch 0"}
    assert second.calls == ["start 2", "completed"]


def test_an_object_that_is_no_callback_is_refused() -> None:
    """Also one that lacks a single method, before anything is trained."""
    incomplete = Structural()
    assert isinstance(incomplete, CallbackLike)
    methods = dict(vars(Structural))
    del methods["on_checkpoint"]
    lacking = type("Lacking", (), methods)()
    for found in (print, lacking, Structural, 3):
        with pytest.raises(TypeError, match="callbacks must be instances of Callback, got"):
            Trainer(nn.Linear(1, 1), callbacks=[found])  # type: ignore[list-item]


def test_the_types_fit(tmp_path: Path) -> None:
    """Mypy accepts each of these where Trainer takes its callbacks."""

    class OfAnything(Callback):
        def on_fit_start(self, trainer: object) -> None: ...

    callbacks: list[CallbackLike] = [
        Rows(),
        Structural(),
        OfAnything(),
        CSVLogger(tmp_path / "log.csv"),
    ]
    for callback in callbacks:
        assert isinstance(callback, CallbackLike)
    trainer, _ = train(everything(None, epochs=1), callbacks=[Rows(), OfAnything()])
    assert len(trainer.history) == 1


def test_step_info_is_that_of_the_step() -> None:
    """Number, loss and rate: a second run without hooks has the same mean loss."""
    seen: list[StepInfo] = []

    class Steps(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
            assert trainer.optimizer.param_groups[0]["lr"] == step.lr
            seen.append(step)

    model, plain = network(), network()
    result = Trainer(model, CONFIG, callbacks=[Steps()]).fit(examples())
    Trainer(plain, CONFIG).fit(examples())
    assert differences(model.state_dict(), plain.state_dict()) == []
    assert [(step.epoch, step.step) for step in seen] == [(i // 8, i) for i in range(16)]
    sizes = torch.tensor([8.0] * 7 + [5.0])
    losses = torch.stack([step.loss for step in seen[:8]])
    assert losses.shape == (8,)
    mean = float((losses * sizes).sum() / 61)
    assert result.history[0].train_loss == pytest.approx(mean, rel=1e-6)
