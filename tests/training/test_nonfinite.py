"""NaN and infinity stop a training in the step they appear in, and reach nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import differences, everything, examples, network, train
from torch import Tensor, nn

from mlpkit.data import LabeledTensors
from mlpkit.errors import NonFiniteError
from mlpkit.training import (
    BatchLike,
    Callback,
    CheckpointConfig,
    MeanSquaredError,
    Objective,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
)
from mlpkit.training._engine import Engine
from mlpkit.training._nonfinite import FiniteGuard, NonFiniteStep
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.checkpoints._file_format import first_nonfinite

Poison: TypeAlias = Literal["loss", "gradient"]


class PoisonedGradient(torch.autograd.Function):
    """The identity, with a gradient that is not finite."""

    @staticmethod
    def forward(ctx: object, inputs: Tensor, value: float) -> Tensor:
        ctx.value = value  # type: ignore[attr-defined]  # torch types its context as Any
        return inputs.clone()

    @staticmethod
    def backward(ctx: object, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.value, None  # type: ignore[attr-defined]


class Poisoned:
    """Cross-entropy that is poisoned once, in the given training step."""

    def __init__(self, step: int, value: float, where: Poison) -> None:
        self.left = step
        self.value = value
        self.where = where

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        losses = F.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
        if not model.training:  # a validation reports the objective too
            return losses
        self.left -= 1
        if self.left == -1:
            if self.where == "loss":
                return losses * self.value
            poisoned = PoisonedGradient.apply(losses, self.value)
            assert isinstance(poisoned, Tensor)
            return poisoned
        return losses


class StopAt(Callback):
    """Asks to stop after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        if step.step + 1 == self.steps:
            trainer.stop()


CONFIG = TrainerConfig(
    epochs=4,
    batch_size=8,
    optimizer=OptimizerConfig(),
    schedule=Schedule(),
    label_smoothing=0.0,
    progress=False,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("step", [0, 13])
def test_it_stops_in_the_step_it_appears_in(
    tmp_path: Path, where: Poison, value: float, step: int
) -> None:
    """The error names step, epoch, rate and checkpoint, and the weights are those before it."""
    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path, every_steps=5))
    trainer = Trainer(network(), config, objective=Poisoned(step, value, where))
    with pytest.raises(NonFiniteError, match=f"at step {step} ") as caught:
        trainer.fit(examples())
    error = caught.value
    assert (error.step, error.epoch, error.lr) == (step, step // 8, 1e-3)
    assert error.grad_norm is not None
    assert math.isfinite(error.loss) == (where == "gradient")
    assert not math.isfinite(error.grad_norm)
    assert error.checkpoint == (tmp_path / "last.pt" if step else None)

    if step:
        before = Trainer(network(), CONFIG, callbacks=[StopAt(step)])
        before.fit(examples())
        assert differences(before.model.state_dict(), without_statistics(trainer, before)) == []


def without_statistics(trainer: Trainer, other: Trainer) -> dict[str, Tensor]:
    """Return the weights; batch norm has seen the bad batch's inputs, which were fine."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    theirs = other.model.state_dict()
    return {
        name: theirs[name] if name.endswith(statistics) else value
        for name, value in trainer.model.state_dict().items()
    }


def test_no_checkpoint_ever_holds_it(tmp_path: Path) -> None:
    """What is on the disk after the error is finite to the last number, and resumes."""
    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path, every_steps=1))
    with pytest.raises(NonFiniteError, match="at step 9"):
        Trainer(network(), config, objective=Poisoned(9, math.nan, "gradient")).fit(
            examples(), examples(20)
        )
    content = read_checkpoint(tmp_path / "last.pt")
    assert first_nonfinite(content) is None
    result = Trainer(network(), config, objective=Poisoned(999, math.nan, "loss")).fit(
        examples(), examples(20), resume="auto"
    )
    assert result.state.step == 32


def test_a_parameter_that_overflows_is_not_saved(tmp_path: Path) -> None:
    """A hook that spoils the weights is found out before they reach a file."""

    class Spoil(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
            if step.step == 6:
                next(trainer.model.parameters()).data[0, 0] = math.inf

    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path, every_steps=1))
    with pytest.raises(NonFiniteError, match=r"at step 6 .*last\.pt") as caught:
        Trainer(network(), config, callbacks=[Spoil()]).fit(examples())
    assert caught.value.__notes__ == ["what is not finite: model.0.weight in the checkpoint"]
    assert first_nonfinite(read_checkpoint(tmp_path / "last.pt")) is None


def test_a_validation_loss_that_is_not_finite_is_never_best(tmp_path: Path) -> None:
    """It stops the training, and the best checkpoint stays that of a finite epoch."""

    class SpoilOutput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()
            self.left = 2

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.inner(inputs)
            if not self.training:
                self.left -= 1
                return outputs * math.nan if self.left < 0 else outputs
            return outputs

    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path))
    with pytest.raises(NonFiniteError, match=r"loss nan .*at step 23 .*epoch 2") as caught:
        Trainer(SpoilOutput(), config).fit(examples(), examples(20))
    assert caught.value.__notes__ == ["what is not finite: the validation loss"]
    assert first_nonfinite(read_checkpoint(tmp_path / "best.pt")) is None


def test_a_rate_that_is_far_too_high() -> None:
    """A rate that is far too high ends in the error, not in a network of NaN."""
    data = LabeledTensors(torch.randn(64, 4), torch.randn(64, 1))
    model = nn.Linear(4, 1)
    config = replace(CONFIG, epochs=50, optimizer=OptimizerConfig(name="sgd", lr=1e4))
    with pytest.raises(NonFiniteError, match="lower the learning rate or check the inputs"):
        Trainer(model, config, objective=MeanSquaredError()).fit(data)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def deferring(
    model: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer, guard: FiniteGuard
) -> Engine:
    """Return an engine whose guard tells the optimizer instead of raising."""
    return Engine(
        model,
        objective,
        optimizer,
        guard,
        class_weights=None,
        clip_grad_norm=None,
        precision="fp32",
        device=torch.device("cpu"),
    )


class TestDeferred:
    """On an accelerator nothing waits: the first bad step is noted, and updates stop on it."""

    def test_the_first_of_several_is_kept(self) -> None:
        guard = FiniteGuard(torch.device("cpu"), deferred=True)
        good, bad = torch.tensor(1.5), torch.tensor(math.nan)
        steps = [(good, good), (good, torch.tensor(math.inf)), (bad, bad), (good, good)]
        for step, (loss, grad_norm) in enumerate(steps):
            guard.check(step, loss, grad_norm)
            guard.record(step, loss, grad_norm)
            if step == 0:
                guard.sync()
        with pytest.raises(NonFiniteStep, match=r"step 1: loss 1\.5, gradient norm inf"):
            guard.sync()
        assert guard.found.item() == 1.0

    def test_the_optimizer_is_given_back(self) -> None:
        """Else one that is used again would leave its parameters alone for ever."""
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        guard = FiniteGuard(torch.device("cpu"), deferred=True)
        engine = deferring(model, Poisoned(0, math.nan, "loss"), optimizer, guard)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        engine.step(0, list(examples(8).batches(8).epoch(0)))
        assert differences(before, list(model.parameters())) == []
        engine.end()
        assert not hasattr(optimizer, "found_inf")

    def test_every_later_look_tells_the_same(self) -> None:
        guard = FiniteGuard(torch.device("cpu"), deferred=True)
        good, bad = torch.tensor(1.5), torch.tensor(math.nan)
        for step in range(5):
            loss = bad if step == 3 else good
            guard.check(step, loss, good)
            guard.record(step, loss, good)
        for step in range(5, 8):
            with pytest.raises(NonFiniteStep, match="step 3: loss nan"):
                guard.sync()
            guard.check(step, good, good)
            guard.record(step, good, good)

    def test_a_step_that_was_never_noted_is_the_next_one(self) -> None:
        guard = FiniteGuard(torch.device("cpu"), deferred=True)
        good, bad = torch.tensor(1.5), torch.tensor(math.nan)
        guard.check(0, good, good)
        guard.record(0, good, good)
        guard.check(1, bad, good)
        with pytest.raises(NonFiniteStep, match="step 1: loss nan, gradient norm nan"):
            guard.sync()

    def test_what_is_noted_is_bounded(self) -> None:
        guard = FiniteGuard(torch.device("cpu"), deferred=True)
        good = torch.tensor(1.5)
        for step in range(2500):
            guard.record(step, good, good)
        assert len(guard._recorded) == 500

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("good", [0.0, -1.0, 3e38, 1e-45])
    @pytest.mark.parametrize("both", [False, True])
    def test_what_is_found(self, bad: float, good: float, *, both: bool) -> None:
        figures = torch.tensor([bad, bad if both else good])
        for loss, grad_norm in (figures, figures.flip(0)):
            guard = FiniteGuard(torch.device("cpu"), deferred=True)
            guard.check(0, torch.tensor(good), torch.tensor(good))
            assert guard.found.item() == 0.0
            guard.check(1, loss, grad_norm)
            assert guard.found.item() == 1.0

    @pytest.mark.parametrize("name", ["adamw", "sgd"])
    def test_a_fused_optimizer_leaves_the_parameters_alone_from_then_on(self, name: str) -> None:
        model = network()
        guard = FiniteGuard(torch.device("cpu"), deferred=True)
        optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(model.parameters(), fused=True)
            if name == "adamw"
            else torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
        )
        engine = deferring(model, Poisoned(2, math.nan, "loss"), optimizer, guard)
        batches = list(examples(48).batches(8).epoch(0))
        seen = []
        for step, batch in enumerate(batches):
            result = engine.step(step, [batch])
            guard.record(step, result.loss, result.grad_norm)
            seen.append([parameter.detach().clone() for parameter in model.parameters()])
        assert differences(seen[0], seen[1]) != []
        assert differences(seen[1], seen[5]) == []
        with pytest.raises(NonFiniteStep, match="step 2: loss nan"):
            guard.sync()


def test_fp16_skips_a_step_that_overflows_and_goes_on(tmp_path: Path) -> None:
    """The loss scale starts high; its first overflow is no reason to stop."""
    config = replace(everything(tmp_path), precision="fp16")
    _, result = train(config)
    assert result.stop_reason == "completed"
    content = read_checkpoint(tmp_path / "last.pt")
    assert isinstance(content["scaler"], dict)


def test_fp16_stops_where_every_scale_overflows() -> None:
    """A gradient that is infinite at any scale is not skipped for ever."""

    class Always(Poisoned):
        def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
            self.left = 0
            return super().__call__(model, batch)

    trainer = Trainer(
        network(),
        replace(CONFIG, epochs=20, precision="fp16"),
        objective=Always(0, math.inf, "gradient"),
    )
    with pytest.raises(NonFiniteError, match=r"gradient norm (inf|nan)"):
        trainer.fit(examples())


def test_a_line_search_is_not_advised_to_lower_the_rate() -> None:
    """The rate of lbfgs is only the first size that a line search tries."""
    config = TrainerConfig(epochs=2, optimizer=OptimizerConfig(name="lbfgs"), progress=False)
    trainer = Trainer(network(), config, objective=Poisoned(0, math.nan, "loss"))
    with pytest.raises(NonFiniteError, match="; check the inputs, or standardize them") as caught:
        trainer.fit(examples())
    assert "learning rate" not in str(caught.value)
