"""Mistakes that a run must not make silently, each as a user would meet it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import differences, examples, network
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit import MLP, SoftmaxClassifier
from mlpkit.data import LabeledTensors
from mlpkit.errors import CheckpointError, ResumeMismatchError
from mlpkit.training import (
    AveragingConfig,
    BatchLike,
    Callback,
    CheckpointConfig,
    Distillation,
    EarlyStopping,
    EpochRow,
    MeanSquaredError,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
)
from mlpkit.training.checkpoints import read_checkpoint

CONFIG = TrainerConfig(epochs=2, batch_size=8, schedule=Schedule(), progress=False)


def plain(seed: int = 0) -> nn.Module:
    return MLP(6, (8,), 3, generator=torch.Generator().manual_seed(seed))


def regression(number: int = 24) -> LabeledTensors:
    inputs = torch.randn(number, 3, generator=torch.Generator().manual_seed(0))
    return LabeledTensors(inputs, inputs.sum(dim=1, keepdim=True))


class TestSettingsThatDoNotFit:
    @pytest.mark.parametrize("monitor", ["val_accuracy", "val_error"])
    def test_a_regression_cannot_be_monitored_by_accuracy(self, monitor: str) -> None:
        config = replace(CONFIG, monitor=monitor, early_stopping=EarlyStopping())
        model = MLP(3, (4,), 1)
        before = [parameter.clone() for parameter in model.parameters()]
        with pytest.raises(ValueError, match=rf"a classification for monitor='{monitor}'"):
            Trainer(model, config, objective=MeanSquaredError()).fit(regression(), regression())
        assert all(map(torch.equal, before, model.parameters()))

    def test_half_precision_parameters_have_no_loss_scaling(self) -> None:
        message = "precision must be 'fp32' or 'bf16' for parameters in float16"
        with pytest.raises(ValueError, match=message):
            Trainer(plain().half(), replace(CONFIG, precision="fp16")).fit(examples())

    def test_a_regression_has_no_class_weights(self) -> None:
        config = replace(CONFIG, class_weights=(2.0,))
        with pytest.raises(ValueError, match="a classification for class_weights"):
            Trainer(MLP(3, (4,), 1), config, objective=MeanSquaredError()).fit(regression())

    @pytest.mark.parametrize("weights", [(1.0, 2.0), (1.0, 2.0, 3.0, 4.0)])
    def test_class_weights_of_another_number_are_refused(self, weights: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="class_weights must be one number for each of the 3"):
            Trainer(plain(), replace(CONFIG, class_weights=weights)).fit(examples())

    def test_batch_norm_and_a_last_batch_of_one_are_refused_before_the_first_step(
        self, tmp_path: Path
    ) -> None:
        config = replace(
            CONFIG, batch_size=20, checkpoints=CheckpointConfig(folder=tmp_path / "run")
        )
        with pytest.raises(ValueError, match=r"no last batch of one of 61 examples.*drop_last"):
            Trainer(network(), config).fit(examples(61))
        assert not (tmp_path / "run").exists()
        whole = examples(61).batches(20, drop_last=True)
        Trainer(network(), replace(config, checkpoints=None)).fit(whole)


class TestTargetsThatDoNotFit:
    """A bare module has cross-entropy as its objective; what cannot be meant is refused."""

    def untouched(self, model: nn.Module, data: LabeledTensors, message: str) -> None:
        before = [parameter.clone() for parameter in model.parameters()]
        with pytest.raises(ValueError, match=message):
            Trainer(model, CONFIG).fit(data)
        assert all(map(torch.equal, before, model.parameters()))

    def test_a_regression_without_an_objective_is_refused(self) -> None:
        message = "at least two classes.*MeanSquaredError"
        self.untouched(MLP(3, (16,), 1), regression(), message)
        column = LabeledTensors(regression().inputs, regression().targets.flatten())
        self.untouched(MLP(3, (16,), 1), column, message)
        result = Trainer(MLP(3, (16,), 1), CONFIG, objective=MeanSquaredError()).fit(regression())
        assert result.history[-1].train_loss > 0.0

    @pytest.mark.parametrize("row", [[0.5, 0.6], [-0.2, 1.2], [3.0, -2.0], [0.0, 0.0]], ids=str)
    def test_rows_that_are_no_distributions_are_refused(self, row: list[float]) -> None:
        inputs = torch.randn(24, 3)
        targets = torch.tensor([0.25, 0.75]).repeat(24, 1)
        Trainer(MLP(3, (16,), 2), CONFIG).fit(LabeledTensors(inputs, targets))
        targets[2] = torch.tensor(row)
        trainer = Trainer(MLP(3, (16,), 2), CONFIG)
        with pytest.raises(ValueError, match=r"rows of at least 0 that sum to 1.*MeanSquaredError"):
            trainer.fit(LabeledTensors(inputs, targets))
        with pytest.raises(ValueError, match="rows of at least 0 that sum to 1"):
            trainer.evaluate(LabeledTensors(inputs, targets))

    def test_half_precision_distributions_are_accepted(self) -> None:
        targets = torch.rand(24, 10).softmax(dim=1).half()
        Trainer(MLP(3, (16,), 10), CONFIG).fit(LabeledTensors(torch.randn(24, 3), targets))

    def test_stored_logits_belong_to_the_training_examples(self) -> None:
        data = examples(24)
        logits = torch.randn(24, 3)
        trainer = Trainer(plain(), CONFIG, objective=Distillation(logits))
        trainer.fit(data)
        loader = DataLoader(TensorDataset(data.inputs, data.targets), 8, shuffle=True)
        with pytest.raises(ValueError, match="a DataLoader does not tell its positions"):
            trainer.fit(loader)
        with pytest.raises(ValueError, match="one row of logits for each of the 12 training"):
            trainer.fit(data[12:])


class Pair(nn.Linear):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


def test_a_model_that_returns_a_tuple_is_trained_by_an_objective_that_reads_it() -> None:
    """Predictions and metrics of the outputs are refused, for any number of examples."""

    def loss(model: nn.Module, batch: BatchLike) -> Tensor:
        found: Tensor = (model(batch.inputs)[0] - batch.targets).square().mean(dim=1)
        return found

    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs().mean()

    data = regression()
    trainer = Trainer(Pair(3, 1), CONFIG, objective=loss)
    assert trainer.fit(data, data).history[-1].val_loss is not None
    message = "model must be a module that returns a tensor, got one that returns a tuple"
    with pytest.raises(TypeError, match=message):
        trainer.predict(data.inputs)
    with pytest.raises(TypeError, match=message):
        Trainer(Pair(3, 1), CONFIG, objective=loss, metrics={"mae1": metric}).fit(data, data)


class TestBatchesOfALoader:
    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (torch.ones(24, 1), r"floating-point of shape \(8,\)"),
            (torch.arange(24), "the third tensor of a batch is the weight"),
            (torch.linspace(-1.0, 1.0, 24), "finite and at least 0"),
            (torch.full((24,), torch.nan), "finite and at least 0"),
        ],
    )
    def test_weights_are_checked(self, weights: Tensor, message: str) -> None:
        data = TensorDataset(torch.randn(24, 6), torch.arange(24) % 3, weights)
        with pytest.raises(ValueError, match=message):
            Trainer(plain(), CONFIG).fit(DataLoader(data, 8))

    def test_inputs_that_are_not_finite_are_refused(self) -> None:
        inputs = torch.randn(24, 6)
        inputs[20, 3] = torch.nan
        loader = DataLoader(TensorDataset(inputs, torch.arange(24) % 3), 8)
        trainer = Trainer(plain(), CONFIG)
        for use in (trainer.fit, trainer.evaluate):
            with pytest.raises(ValueError, match="inputs of a DataLoader must be finite"):
                use(loader)


class TestCheckpointsOfAnotherRun:
    @pytest.mark.parametrize(
        "mistake",
        [
            lambda config: Trainer(plain(), config).fit([1, 2]),  # type: ignore[arg-type]
            lambda config: Trainer(nn.Linear(6, 2), config).fit(examples()),
            lambda config: Trainer(plain(), replace(config, class_weights=(1.0,))).fit(examples()),
            lambda config: Trainer(plain(), config, callbacks=[_FailAtStart()]).fit(examples()),
        ],
        ids=["no data", "too few outputs", "class weights", "callback"],
    )
    def test_overwrite_destroys_nothing_before_there_is_a_new_checkpoint(
        self, tmp_path: Path, mistake: Callable[[TrainerConfig], object]
    ) -> None:
        config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path))
        Trainer(plain(), config).fit(examples(), examples(20))
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert set(before) == {"last.pt", "best.pt"}
        overwriting = replace(config, checkpoints=CheckpointConfig(folder=tmp_path, overwrite=True))
        with pytest.raises((TypeError, ValueError, RuntimeError, IndexError)):
            mistake(overwriting)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_the_first_new_checkpoint_removes_the_other_old_one(self, tmp_path: Path) -> None:
        config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path, overwrite=True))
        Trainer(plain(), config).fit(examples(), examples(20))
        trainer = Trainer(plain(1), config)
        trainer.fit(examples())  # without validation there is no best
        assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
        with pytest.raises(CheckpointError, match="no best checkpoint"):
            trainer.load_best()

    def test_a_resumed_run_does_not_overwrite_a_stranger(self, tmp_path: Path) -> None:
        ours = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path / "ours"))
        theirs = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path / "theirs"), seed=5)
        Trainer(plain(), ours).fit(examples(), examples(20))
        Trainer(plain(), theirs).fit(examples(), examples(20))
        before = (tmp_path / "theirs" / "best.pt").read_bytes()
        moved = replace(ours, epochs=3, checkpoints=theirs.checkpoints)
        last = tmp_path / "ours" / "last.pt"
        with pytest.raises(ValueError, match="another run than the resumed one"):
            Trainer(plain(), moved).fit(examples(), examples(20), resume=last)
        assert (tmp_path / "theirs" / "best.pt").read_bytes() == before
        with pytest.raises(ResumeMismatchError):
            Trainer(plain(), moved).fit(examples(), examples(20), resume="auto")

    def test_a_copy_of_the_run_may_be_continued_elsewhere(self, tmp_path: Path) -> None:
        ours = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path / "ours"))
        Trainer(plain(), ours).fit(examples(), examples(20))
        elsewhere = replace(
            ours, epochs=3, checkpoints=CheckpointConfig(folder=tmp_path / "elsewhere")
        )
        last = tmp_path / "ours" / "last.pt"
        Trainer(plain(), elsewhere).fit(examples(), examples(20), resume=last)
        again = replace(elsewhere, epochs=4)
        Trainer(plain(), again).fit(examples(), examples(20), resume=last)

    def test_the_best_weights_are_found_in_a_new_process(self, tmp_path: Path) -> None:
        config = replace(
            CONFIG,
            averaging=AveragingConfig(decay=0.5),
            checkpoints=CheckpointConfig(folder=tmp_path),
        )
        trained = Trainer(plain(), config)
        trained.fit(examples(), examples(20))
        trained.load_best()
        other = Trainer(plain(3), config)
        other.load_best()
        assert differences(trained.model.state_dict(), other.model.state_dict()) == []


class _FailAtStart(Callback):
    def on_fit_start(self, trainer: Trainer) -> None:  # noqa: ARG002 - the hook
        raise RuntimeError("no")


class TestGradients:
    def test_training_inside_inference_mode_is_refused(self) -> None:
        trainer = Trainer(MLP(6, (8,), 3, activation="gelu"), CONFIG)
        with torch.inference_mode():
            for method in (trainer.fit, trainer.find_lr):
                with pytest.raises(RuntimeError, match=f"{method.__name__} must .*inference_mode"):
                    method(examples())

    def test_fit_inside_no_grad_trains(self) -> None:
        inside, outside = plain(), plain()
        config = replace(CONFIG, gradients="autograd")
        with torch.no_grad():
            curve = Trainer(inside, config).find_lr(examples())
            Trainer(inside, config).fit(examples())
        assert curve == Trainer(outside, config).find_lr(examples())
        Trainer(outside, config).fit(examples())
        assert differences(inside.state_dict(), outside.state_dict()) == []

    @pytest.mark.parametrize("gradients", ["auto", "autograd"])
    @pytest.mark.parametrize("accumulation", [1, 2])
    def test_what_a_callback_leaves_in_grad_joins_no_update(
        self, gradients: str, accumulation: int
    ) -> None:
        class Leave(Callback):
            def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
                for parameter in trainer.model.parameters():
                    parameter.grad = torch.ones_like(parameter)

        config = replace(CONFIG, gradient_accumulation_steps=accumulation, gradients=gradients)  # type: ignore[arg-type]  # one of two
        left, clean = plain(), plain()
        Trainer(left, config, callbacks=[Leave()]).fit(examples())
        Trainer(clean, config).fit(examples())
        assert differences(left.state_dict(), clean.state_dict()) == []

    @pytest.mark.parametrize("replaces", [True, False])
    def test_a_parameter_that_no_optimizer_updates_is_refused(self, *, replaces: bool) -> None:
        model = MLP(6, (8,), 3)
        model.layers[0].linear.weight.requires_grad_(replaces)

        class Change(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
                if replaces:
                    model.layers[0].linear.weight = nn.Parameter(torch.zeros(8, 6))
                model.layers[0].linear.weight.requires_grad_()

        with pytest.raises(ValueError, match=r"also layers\.0\.linear\.weight"):
            Trainer(model, CONFIG, callbacks=[Change()]).fit(examples())


class TestAliases:
    def test_a_model_that_changes_its_input_does_not_change_the_data(self) -> None:
        class InPlace(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = plain()

            def forward(self, x: Tensor) -> Tensor:
                x.mul_(3.0).clamp_(-1.0, 1.0)
                outputs: Tensor = self.inner(x)
                return outputs

        data, val = examples(), examples(20, seed=1)
        before = data.inputs.clone(), val.inputs.clone()
        trainer = Trainer(InPlace(), CONFIG)
        result = trainer.fit(data, val)
        assert trainer.evaluate(val).loss == result.history[-1].val_loss
        assert torch.equal(trainer.predict(val.inputs), trainer.predict(val.inputs))
        assert torch.equal(data.inputs, before[0])
        assert torch.equal(val.inputs, before[1])

    def test_a_run_continues_from_the_best_weights_that_a_callback_loads(
        self, tmp_path: Path
    ) -> None:
        class Load(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
                if row.epoch == 1:
                    trainer.load_best()

        config = replace(CONFIG, epochs=4, checkpoints=CheckpointConfig(folder=tmp_path))
        model = plain()
        Trainer(model, config, callbacks=[Load()]).fit(examples(), examples(20, seed=1))
        saved = read_checkpoint(tmp_path / "last.pt")["model"]
        assert differences(saved, model.state_dict()) == []

    @pytest.mark.parametrize("restore_best", [False, True])
    @pytest.mark.parametrize("averaging", [None, AveragingConfig(decay=0.9)])
    def test_a_run_that_has_loaded_its_best_weights_resumes_from_them(
        self, tmp_path: Path, averaging: AveragingConfig | None, restore_best: bool
    ) -> None:
        """Also from the checkpoint that is written before the next step."""

        class Load(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
                if row.epoch == 2:
                    trainer.load_best()
                    best = min(trainer.history, key=lambda row: row.val_loss or 0.0)
                    assert trainer.evaluate(val).loss == best.val_loss
                    assert best.epoch < 2

        train, val = examples(), examples(20, seed=1)
        config = replace(
            CONFIG,
            epochs=4,
            optimizer=OptimizerConfig(lr=0.5),
            schedule=Schedule(),
            averaging=averaging,
            restore_best=restore_best,
            checkpoints=CheckpointConfig(folder=tmp_path / "a"),
        )
        alone = Trainer(plain(), config, callbacks=[Load()])
        alone.fit(train, val)
        stopped = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "b"))
        Trainer(plain(), replace(stopped, epochs=3), callbacks=[Load()]).fit(train, val)
        resumed = Trainer(plain(), stopped, callbacks=[Load()])
        resumed.fit(train, val, resume="auto")
        assert differences(alone.model.state_dict(), resumed.model.state_dict()) == []
        assert alone.history[-1].val_loss == resumed.history[-1].val_loss

    def test_runs_in_two_threads_do_not_disturb_each_other(self) -> None:
        """Each step of one would otherwise fall between the draws of the other."""

        def slow(model: nn.Module, batch: BatchLike) -> Tensor:
            time.sleep(0.002)
            losses = F.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
            time.sleep(0.002)
            return losses

        def train(seed: int, found: dict[int, nn.Module]) -> None:
            model = MLP(6, (8,), 3, dropout=0.5, generator=torch.Generator().manual_seed(seed))
            Trainer(model, replace(CONFIG, seed=seed), objective=slow).fit(examples(), examples(20))
            found[seed] = model

        alone: dict[int, nn.Module] = {}
        together: dict[int, nn.Module] = {}
        for seed in (0, 1):
            train(seed, alone)
        torch.manual_seed(7)
        before = torch.get_rng_state()
        threads = [threading.Thread(target=train, args=(seed, together)) for seed in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert torch.equal(torch.get_rng_state(), before)
        for seed in (0, 1):
            assert differences(alone[seed].state_dict(), together[seed].state_dict()) == []


class TestEmptiness:
    @pytest.mark.parametrize("gradients", ["auto", "autograd"])
    def test_a_batch_without_weight_contributes_nothing(self, gradients: str) -> None:
        """The run equals one whose batch of weight 0 has another content."""
        weights = torch.ones(24)
        weights[8:16] = 0.0
        trained = []
        for scale in (1.0, 100.0):
            data = examples(24)
            inputs = data.inputs.clone()
            inputs[8:16] *= scale
            weighted = LabeledTensors(inputs, data.targets, weights=weights)
            config = replace(CONFIG, gradients=gradients)  # type: ignore[arg-type]  # one of two
            model = plain()
            result = Trainer(model, config).fit(weighted.batches(8, shuffle=False))
            assert all(row.train_loss > 0.0 for row in result.history)
            trained.append(model)
        assert differences(trained[0].state_dict(), trained[1].state_dict()) == []

    def test_an_infinite_mask_is_no_fault(self, tmp_path: Path) -> None:
        class Masked(nn.Module):
            mask: Tensor

            def __init__(self) -> None:
                super().__init__()
                self.inner = plain()
                self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

            def forward(self, x: Tensor) -> Tensor:
                outputs: Tensor = self.inner(x)
                return outputs + self.mask.clamp(min=-1e4)

        config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path))
        result = Trainer(Masked(), config).fit(examples())
        assert result.last == tmp_path / "last.pt"


class TestWrappers:
    def test_a_wrapper_that_forwards_attributes_is_trained_through_its_forward(self) -> None:
        class Forwarding(nn.Module):
            def __init__(self, inner: nn.Module) -> None:
                super().__init__()
                self.inner = inner
                self.calls = 0

            def __getattr__(self, name: str) -> Any:
                try:
                    return super().__getattr__(name)
                except AttributeError:
                    return getattr(super().__getattr__("inner"), name)

            def forward(self, x: Tensor) -> Tensor:
                self.calls += 1
                outputs: Tensor = self.inner(-x)
                return outputs

        data = examples()
        named = LabeledTensors(data.inputs, data.targets, ("a", "b", "c"))
        inner = SoftmaxClassifier.for_data(named, (8,))
        wrapper = Forwarding(inner)
        config = replace(CONFIG, epochs=20, optimizer=OptimizerConfig(lr=0.02))
        trainer = Trainer(wrapper, config)
        trainer.fit(named)
        assert wrapper.calls >= 20 * 8
        assert trainer.evaluate(named).accuracy > 0.6
        assert Trainer(inner, config).evaluate(named).accuracy < 0.5  # it has learned -x

    def test_hooks_on_a_compiled_model_are_called(self) -> None:
        compiled = torch.compile(plain(), backend="eager")
        assert isinstance(compiled, nn.Module)
        calls: list[int] = []
        compiled.register_forward_hook(lambda *_: calls.append(1))
        Trainer(compiled, CONFIG).fit(examples())
        assert len(calls) == 2 * 8
