"""The trainer does what a loop by hand would, to the last bit, and disturbs nothing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import (
    Passes,
    differences,
    everything,
    examples,
    network,
    noise,
    train,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlpkit.data import Batches, LabeledTensors
from mlpkit.errors import CheckpointError
from mlpkit.models import Regressor
from mlpkit.training import (
    AveragingConfig,
    BatchLike,
    Callback,
    CheckpointConfig,
    CSVLogger,
    EarlyStopping,
    EpochRow,
    FilledConfig,
    JSONLinesLogger,
    MeanSquaredError,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
)
from mlpkit.training.checkpoints import RandomStream, read_checkpoint

CPU = torch.device("cpu")
CONFIG = FilledConfig(
    epochs=3,
    batch_size=8,
    optimizer=OptimizerConfig(),
    schedule=Schedule(),
    label_smoothing=0.0,
    progress=False,
)


def loop_by_hand(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: FilledConfig,
    *,
    data: LabeledTensors | None = None,
) -> None:
    """Train as one would by hand, with the sum of a window's losses over its examples."""
    data = examples() if data is None else data
    batches = data.batches(config.batch_size, seed=config.seed)
    steps = -(-len(batches) // config.gradient_accumulation_steps)
    base = optimizer.param_groups[0]["lr"]
    step = 0
    model.train()
    with RandomStream(config.seed, CPU).active():
        for epoch in range(config.epochs):
            parts = list(batches.epoch(epoch))
            for first in range(0, len(parts), config.gradient_accumulation_steps):
                window = parts[first : first + config.gradient_accumulation_steps]
                number = sum(len(batch.targets) for batch in window)
                optimizer.param_groups[0]["lr"] = base * config.schedule.ratio(
                    step, steps * config.epochs
                )
                optimizer.zero_grad()
                for batch in window:
                    loss = F.cross_entropy(model(batch.inputs), batch.targets, reduction="sum")
                    (loss / number).backward()  # type: ignore[no-untyped-call]
                if config.clip_grad_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), config.clip_grad_norm)
                optimizer.step()
                step += 1


@pytest.mark.parametrize(
    ("config", "optimizer"),
    [
        (
            replace(CONFIG, optimizer=OptimizerConfig(name="sgd", lr=0.1, momentum=0.0)),
            lambda parameters: torch.optim.SGD(parameters, lr=0.1, fused=True),
        ),
        (
            replace(CONFIG, optimizer=OptimizerConfig(name="sgd", lr=0.1, nesterov=True)),
            lambda parameters: torch.optim.SGD(
                parameters, lr=0.1, momentum=0.9, nesterov=True, fused=True
            ),
        ),
        (
            replace(CONFIG, optimizer=OptimizerConfig(lr=0.01, weight_decay=0.1)),
            lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, fused=True),
        ),
        (
            replace(CONFIG, gradient_accumulation_steps=3, optimizer=OptimizerConfig(lr=0.01)),
            lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0, fused=True),
        ),
        (
            replace(CONFIG, clip_grad_norm=0.3, optimizer=OptimizerConfig(lr=0.01)),
            lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0, fused=True),
        ),
        (
            replace(
                CONFIG,
                schedule=Schedule(kind="cosine", warmup_steps=3),
                optimizer=OptimizerConfig(lr=0.01, fused=False),
            ),
            lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0),
        ),
    ],
    ids=["sgd", "nesterov", "adamw", "gradient_accumulation_steps", "clip", "schedule"],
)
def test_it_is_the_loop_by_hand(
    config: FilledConfig, optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
) -> None:
    """Every weight is equal, to the last bit; dropout and a short last batch are among it."""
    model, by_hand = network(), network()
    Trainer(model, config).fit(examples())
    loop_by_hand(by_hand, optimizer(by_hand.parameters()), config)
    assert differences(by_hand.state_dict(), model.state_dict()) == []


def test_an_optimizer_of_ones_own() -> None:
    """A factory gets the parameters, and its rate is the base of the schedule."""
    config = replace(CONFIG, schedule=Schedule(kind="linear"))
    model, by_hand = network(), network()
    Trainer(model, config, optimizer=lambda p: torch.optim.RMSprop(p, lr=0.01)).fit(examples())
    loop_by_hand(by_hand, torch.optim.RMSprop(by_hand.parameters(), lr=0.01), config)
    assert differences(by_hand.state_dict(), model.state_dict()) == []


def test_it_finds_the_solution_of_a_linear_problem() -> None:
    """Least squares by gradient descent ends at what NumPy computes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    model = nn.Linear(3, 2, dtype=torch.float64)
    config = TrainerConfig(
        epochs=200,
        batch_size=50,
        optimizer=OptimizerConfig(name="sgd", lr=0.5, momentum=0.0),
        progress=False,
    )
    Trainer(model, config, objective=MeanSquaredError()).fit(LabeledTensors(inputs, targets))
    design = np.concatenate([inputs.numpy(), np.ones((50, 1))], axis=1)
    solution = np.linalg.lstsq(design, targets.numpy(), rcond=None)[0]
    found = torch.cat([model.weight.detach(), model.bias.detach()[:, None]], dim=1).numpy().T
    np.testing.assert_allclose(found, solution, rtol=1e-9, atol=1e-9)


def test_two_runs_are_the_same(tmp_path: Path) -> None:
    """Same seed, same bits, whatever else is drawn in the process."""
    train(everything(tmp_path / "a"))
    torch.rand(11)
    train(everything(tmp_path / "b"))
    found = [read_checkpoint(tmp_path / name / "last.pt") for name in "ab"]
    assert differences(found[0], found[1]) == []


def test_another_seed_is_another_run() -> None:
    """The order of the examples and the dropout depend on it."""
    one, _ = train(everything(None))
    other, _ = train(replace(everything(None), seed=1))
    assert differences(one.model.state_dict(), other.model.state_dict()) != []


class DrawNumbers(Callback):
    """A callback without manners."""

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
        torch.rand(3)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        torch.manual_seed(row.epoch)
        trainer.evaluate(examples(9))
        trainer.predict_proba(torch.zeros(2, 6))


@pytest.fixture(scope="module")
def plain() -> dict[str, Tensor]:
    """The weights of a training that nobody looks at."""
    config = replace(everything(None), early_stopping=None, monitor="train_loss")
    trainer = Trainer(network(), config)
    trainer.fit(Batches(examples(), 8, augment=noise))
    return trainer.model.state_dict()


class TestTrainMetrics:
    """The training examples are evaluated as the validation examples are."""

    def test_the_columns_are_those_of_an_evaluation(self) -> None:
        """Without dropout and augmentation, of the averaged weights, when a validation is due."""
        config = replace(everything(None), train_metrics=True, validate_every=2)
        trainer = Trainer(network(), config)
        data = examples()
        rows = trainer.fit(Batches(data, 8, augment=noise), examples(20, seed=1)).history
        assert [row.train_accuracy is None for row in rows] == [True, False, True, False]
        assert rows[-1].train_accuracy == trainer.evaluate(data).accuracy
        assert all(row.train_rmse is None for row in rows)

    def test_a_regression_has_its_error(self) -> None:
        data = LabeledTensors(torch.randn(30, 2), torch.randn(30))
        model = Regressor.for_data(data, (4,))
        config = TrainerConfig(
            epochs=2, train_metrics=True, monitor="train_rmse", restore_best=True, progress=False
        )
        trainer = Trainer(model, config)
        result = trainer.fit(data)
        errors = [row.train_rmse for row in result.history]
        assert result.history[-1].train_accuracy is None
        expected = (model.predict(data.inputs) - data.targets).square().mean().sqrt().item()
        assert min(error for error in errors if error is not None) == pytest.approx(expected)

    def test_the_monitor_needs_it(self) -> None:
        config = replace(everything(None), monitor="train_accuracy")
        with pytest.raises(ValueError, match="train_metrics must be True for monitor"):
            Trainer(network(), config).fit(examples())

    def test_a_stream_is_refused(self) -> None:
        loader = DataLoader(Passes(), batch_size=8)
        config = TrainerConfig(train_metrics=True, max_steps=2, progress=False)
        with pytest.raises(ValueError, match="train_metrics must be False for a stream"):
            Trainer(network(), config).fit(loader)

    def test_custom_metrics_are_those_of_the_validation(self) -> None:
        """An object with a state is not updated with training examples."""
        counted: list[int] = []

        def count(outputs: Tensor, targets: Tensor) -> float:
            counted.append(len(targets))
            return 0.0

        config = TrainerConfig(epochs=1, train_metrics=True, progress=False)
        trainer = Trainer(network(), config, metrics={"count": count})
        trainer.fit(examples(), examples(20, seed=1))
        assert counted == [20]


class TestPredictionsOfACustomObjective:
    """The task is that of the objective, or of the targets of the latest run."""

    config = TrainerConfig(epochs=1, progress=False)

    @staticmethod
    def absolute(model: nn.Module, batch: BatchLike) -> Tensor:
        outputs: Tensor = model(batch.inputs)
        return (outputs[:, 0] - batch.targets).abs()

    def test_before_a_fit_the_objective_must_name_it(self) -> None:
        trainer = Trainer(nn.Linear(2, 3), self.config, objective=self.absolute)
        for predict in (trainer.predict, trainer.predict_proba):
            with pytest.raises(ValueError, match="objective must be one with the attribute task"):
                predict(torch.zeros(2, 2))

    def test_floating_point_targets_are_a_regression(self) -> None:
        """Oracle: a call of the module."""
        model, x = nn.Linear(2, 1), torch.randn(9, 2)
        trainer = Trainer(model, self.config, objective=self.absolute)
        trainer.fit(LabeledTensors(x, x[:, 0]))
        assert torch.equal(trainer.predict(x), model(x))

    def test_class_indices_need_an_output_for_each_class(self) -> None:
        """The largest of one output would always be class 0."""
        x = torch.randn(9, 2)
        trainer = Trainer(nn.Linear(2, 1), self.config, objective=self.absolute)
        trainer.fit(LabeledTensors(x, (x[:, 0] > 0).long()))
        for inputs in (x, x[0]):
            for predict in (trainer.predict, trainer.predict_proba):
                with pytest.raises(ValueError, match="outputs must be logits of at least two cl"):
                    predict(inputs)


class TestNeutrality:
    """Nothing that looks at a training changes it."""

    def fitted(
        self,
        *callbacks: Callback,
        val: bool = False,
        **changes: object,
    ) -> dict[str, Tensor]:
        config = replace(everything(None), early_stopping=None, monitor="train_loss")
        config = replace(config, **changes)  # type: ignore[arg-type]
        trainer = Trainer(network(), config, callbacks=callbacks)
        trainer.fit(Batches(examples(), 8, augment=noise), examples(20, seed=1) if val else None)
        return trainer.model.state_dict()

    def test_validation(self, plain: dict[str, Tensor]) -> None:
        assert differences(plain, self.fitted(val=True)) == []

    def test_checkpoints(self, plain: dict[str, Tensor], tmp_path: Path) -> None:
        checkpoints = CheckpointConfig(folder=tmp_path, every_steps=1)
        assert differences(plain, self.fitted(checkpoints=checkpoints)) == []

    def test_callbacks(self, plain: dict[str, Tensor]) -> None:
        assert differences(plain, self.fitted(DrawNumbers(), val=True)) == []

    def test_loggers(self, plain: dict[str, Tensor], tmp_path: Path) -> None:
        loggers = (CSVLogger(tmp_path / "a.csv"), JSONLinesLogger(tmp_path / "a.jsonl"))
        assert differences(plain, self.fitted(*loggers)) == []

    def test_a_progress_bar(
        self, plain: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert differences(plain, self.fitted(progress=True, val=True)) == []
        assert "12/12" in capsys.readouterr().err

    def test_metrics_of_the_training_examples(self, plain: dict[str, Tensor]) -> None:
        assert differences(plain, self.fitted(train_metrics=True)) == []

    def test_a_guard_that_is_read_now_and_then(self, plain: dict[str, Tensor]) -> None:
        assert differences(plain, self.fitted(sync_every=1, max_seconds=1e9)) == []

    def test_the_caller_too_is_left_alone(self) -> None:
        """Neither generator, mode of determinism nor gradients are other than before."""
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        trainer, _ = train(replace(everything(None), deterministic=True))
        assert torch.equal(torch.rand(4), expected)
        assert not torch.are_deterministic_algorithms_enabled()
        assert all(parameter.grad is None for parameter in trainer.model.parameters())

    def test_the_caller_is_left_alone_after_an_exception(self) -> None:
        class Fail(Callback):
            def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
                raise OSError("on purpose")

        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        with pytest.raises(OSError, match="on purpose"):
            train(everything(None), callbacks=[Fail()])
        assert torch.equal(torch.rand(4), expected)


class TestStopping:
    def test_early_stopping_and_the_best_epoch(self, tmp_path: Path) -> None:
        """Patience counts validations without an improvement; the best weights can be had."""

        class Weights(Callback):
            def __init__(self) -> None:
                self.seen: list[Tensor] = []

            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
                self.seen.append(next(trainer.model.parameters()).detach().clone())

        weights = Weights()
        config = TrainerConfig(
            epochs=200,
            batch_size=8,
            optimizer=OptimizerConfig(lr=0.05),
            early_stopping=EarlyStopping(patience=3),
            checkpoints=CheckpointConfig(folder=tmp_path),
            progress=False,
        )
        trainer = Trainer(network(), config, callbacks=[weights])
        result = trainer.fit(examples(), examples(20, seed=1))
        losses = [row.val_loss for row in result.history]
        assert all(loss is not None for loss in losses)
        best = int(np.argmin(np.array(losses)))
        assert result.stop_reason == "early_stopping"
        assert len(losses) == best + 4
        assert (result.state.best_epoch, result.state.best_value) == (best, losses[best])
        assert result.best == tmp_path / "best.pt"
        trainer.load_best()
        assert torch.equal(next(trainer.model.parameters()), weights.seen[best])
        assert trainer.evaluate(examples(20, seed=1)).loss == pytest.approx(losses[best])

        again = Trainer(network(), config).fit(examples(), examples(20, seed=1), resume="auto")
        assert (again.stop_reason, again.state.step) == ("early_stopping", result.state.step)

    def test_no_best_without_checkpoints(self) -> None:
        trainer, result = train(everything(None))
        assert (result.best, result.last) == (None, None)
        with pytest.raises(CheckpointError, match="no best checkpoint was written"):
            trainer.load_best()

    def test_a_time_limit(self, tmp_path: Path) -> None:
        """It stops after a step, saves that place exactly, and says how good it is."""
        config = replace(everything(tmp_path), max_seconds=1e-9)
        _, result = train(config)
        assert result.stop_reason == "time"
        assert (result.state.step, result.state.batch) == (1, 3)
        assert [row.epoch for row in result.history] == [0]
        assert result.history[0].val_loss is not None
        train(replace(config, max_seconds=None), resume="auto")
        train(everything(tmp_path / "alone"))
        found = [read_checkpoint(path / "last.pt") for path in (tmp_path, tmp_path / "alone")]
        assert differences(found[0], found[1]) == []

    def test_a_callback_asks(self) -> None:
        class Stop(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
                if row.epoch == 1:
                    trainer.stop()

        _, result = train(everything(None), callbacks=[Stop()])
        assert (result.stop_reason, result.state.epoch) == ("callback", 2)

    def test_early_stopping_needs_something_to_watch(self) -> None:
        config = replace(CONFIG, early_stopping=EarlyStopping())
        with pytest.raises(ValueError, match="val must be given for early stopping on val_loss"):
            Trainer(network(), config).fit(examples())


class TestRefusals:
    def test_a_model_that_is_none(self) -> None:
        with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got 3"):
            Trainer(3)  # type: ignore[arg-type]

    def test_data_that_is_none(self) -> None:
        with pytest.raises(TypeError, match="train must be LabeledTensors, Batches or"):
            Trainer(network(), CONFIG).fit(torch.zeros(3, 6))  # type: ignore[arg-type]

    @pytest.mark.parametrize(("name", "value"), [("label_smoothing", 0.1), ("mixup", 0.2)])
    def test_an_option_that_belongs_to_the_objective(self, name: str, value: float) -> None:
        config = replace(CONFIG, **{name: value})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"{name} must be .* with a custom objective"):
            Trainer(network(), config, objective=MeanSquaredError())

    def test_an_objective_that_reduces(self) -> None:
        trainer = Trainer(
            network(), CONFIG, objective=lambda model, batch: model(batch.inputs).mean()
        )
        with pytest.raises(ValueError, match=r"objective must be .* one loss for each .* got \(\)"):
            trainer.fit(examples())


@pytest.mark.parametrize("steps", [1_500, pytest.param(300_000, marks=pytest.mark.long)])
def test_memory_is_flat(steps: int) -> None:
    """A long training needs no more memory at its end than at its beginning."""
    steps = int(os.environ.get("MLPKIT_SOAK_STEPS", steps)) if steps > 1_500 else steps
    resident: list[int] = []
    blocks: list[int] = []

    class Measure(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident.append(pages * os.sysconf("SC_PAGE_SIZE"))

    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell the memory of a process")
    per_epoch = steps // 10
    data = examples(8 * per_epoch)
    config = TrainerConfig(epochs=10, batch_size=8, averaging=AveragingConfig(), progress=False)
    trainer = Trainer(network(), config, callbacks=[Measure()])
    result = trainer.fit(data)
    assert result.state.step == steps
    assert resident[-1] - resident[2] < 4 * 2**20
    assert blocks[-1] - blocks[2] < 500, "Python objects left behind, less than one a step"


class TestSlowBF16:
    @pytest.fixture(autouse=True)
    def _slow_bf16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mlpkit.training._trainer.has_fast_bf16", lambda _device: False)

    def test_a_run_warns_once_in_one_line(self) -> None:
        trainer = Trainer(network(), replace(CONFIG, precision="bf16", device="cpu"))
        with pytest.warns(UserWarning, match="'bf16' is slower than 'fp32' on this CPU") as caught:
            trainer.fit(examples())
        (warning,) = caught
        assert warning.filename == __file__
        assert "\n" not in str(warning.message)

    def test_other_runs_do_not_warn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Warnings are errors in the tests."""
        Trainer(network(), replace(CONFIG, device="cpu")).fit(examples())
        monkeypatch.setattr("mlpkit.training._trainer.has_fast_bf16", lambda _device: True)
        Trainer(network(), replace(CONFIG, precision="bf16", device="cpu")).fit(examples())
