"""The settings of a run depend on the kind of its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlpkit import MultilabelClassifier, Regressor
from mlpkit.data import LabeledTensors
from mlpkit.errors import ResumeMismatchError
from mlpkit.training import (
    BatchLike,
    BinaryCrossEntropy,
    CheckpointConfig,
    CrossEntropy,
    Trainer,
    TrainerConfig,
    TrainingData,
)

CONFIG = TrainerConfig(progress=False, device="cpu")
DATA = LabeledTensors(torch.rand(20, 3), torch.arange(20) % 2)


@pytest.mark.parametrize(
    ("train", "epochs"),
    [
        (DATA, 200),  # one step of up to 64 examples
        (DATA.batches(1), 50),
        (DataLoader(DATA.as_torch_dataset(), 2), 100),
    ],
    ids=["LabeledTensors", "Batches", "DataLoader"],
)
def test_epochs_depend_on_the_steps_of_an_epoch(train: TrainingData, epochs: int) -> None:
    trainer = Trainer(nn.Linear(3, 2), CONFIG)
    trainer.fit(train)
    assert trainer.config.epochs == epochs


def test_several_labels_have_no_class_weights() -> None:
    data = LabeledTensors(torch.rand(6, 3), torch.ones(6, 2))
    config = replace(CONFIG, class_weights=(1.0, 2.0))
    trainer = Trainer(nn.Linear(3, 2), config, objective=BinaryCrossEntropy())
    with pytest.raises(ValueError, match=r"use BinaryCrossEntropy\(pos_weight=\.\.\.\)"):
        trainer.fit(data)


class TestTaskOfTheModel:
    """A model that declares its task decides about epochs, metrics and predictions."""

    X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))

    def labels(self) -> LabeledTensors:
        return LabeledTensors(self.X, (self.X[:, :2] > 0).float())

    def test_an_objective_without_a_task_has_that_of_the_model(self) -> None:
        def doubled(model: nn.Module, batch: BatchLike) -> Tensor:
            return 2.0 * BinaryCrossEntropy()(model, batch)

        data = self.labels()
        model = MultilabelClassifier.for_data(data, ())
        trainer = Trainer(model, replace(CONFIG, epochs=2), objective=doubled)
        trainer.fit(data, data)
        found = trainer.evaluate(data)
        assert found.task == "multilabel"
        assert found.accuracy == model.evaluate(data).accuracy
        assert trainer.history[-1].val_accuracy == found.accuracy
        assert trainer.predict(self.X).dtype == torch.bool

    @pytest.mark.parametrize("batched", [True, False])
    def test_epochs_do_not_depend_on_the_container(self, *, batched: bool) -> None:
        def absolute(model: nn.Module, batch: BatchLike) -> Tensor:
            losses: Tensor = (model(batch.inputs) - batch.targets).abs()
            return losses

        data = LabeledTensors(self.X, self.X[:, 0])
        loader = DataLoader(data.as_torch_dataset(), 10)
        trainer = Trainer(Regressor.for_data(data, ()), CONFIG, objective=absolute)
        trainer.fit(data.batches(10) if batched else loader)
        assert trainer.config.epochs == 50  # of a regression, 6 steps make 300

    def test_validation_decides_as_the_model_does(self) -> None:
        data = self.labels()
        model = MultilabelClassifier.for_data(data, ())
        model.thresholds.fill_(0.9)
        trainer = Trainer(model, replace(CONFIG, epochs=2))
        trainer.fit(data, data)
        assert trainer.history[-1].val_accuracy == trainer.evaluate(data).accuracy
        assert trainer.history[-1].val_accuracy == model.evaluate(data).accuracy


def test_the_batch_size_of_given_batches_is_recorded() -> None:
    for train in (DATA.batches(5), DataLoader(DATA.as_torch_dataset(), 5)):
        trainer = Trainer(nn.Linear(3, 2), replace(CONFIG, epochs=1))
        trainer.fit(train)
        assert trainer.config.batch_size == 5


def test_the_smoothing_of_a_given_objective_is_recorded() -> None:
    objective = CrossEntropy(label_smoothing=0.2)
    trainer = Trainer(nn.Linear(3, 2), replace(CONFIG, epochs=1), objective=objective)
    trainer.fit(DATA)
    assert trainer.config.label_smoothing == 0.2


def test_a_resumed_objective_is_that_of_the_run_only(tmp_path: Path) -> None:
    checkpoints = CheckpointConfig(folder=tmp_path / "a")
    config = replace(CONFIG, epochs=1, checkpoints=checkpoints, label_smoothing=0.3)
    Trainer(nn.Linear(3, 2), config).fit(DATA)
    trainer = Trainer(nn.Linear(3, 2), replace(CONFIG, epochs=1))
    trainer.fit(DATA, resume=checkpoints.last)
    assert trainer.objective == CrossEntropy(label_smoothing=0.3)
    trainer.fit(DATA)
    assert trainer.objective == CrossEntropy(label_smoothing=0.05)
    other = LabeledTensors(torch.rand(20, 3), torch.arange(20) % 2)
    with pytest.raises(ResumeMismatchError):
        trainer.fit(other, resume=checkpoints.last)
    assert trainer.objective == CrossEntropy(label_smoothing=0.05)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.rand(6, 1), ValueError, r"val\.targets must be of the shape of the training"),
        (torch.arange(6), TypeError, r"targets must be floating-point"),
    ],
    ids=["shape", "dtype"],
)
def test_validation_targets_are_checked_before_the_first_step(
    targets: Tensor, error: type[Exception], message: str
) -> None:
    train = LabeledTensors(torch.rand(6, 3), torch.rand(6))
    trainer = Trainer(Regressor.for_data(train, ()), CONFIG)
    with pytest.raises(error, match=message):
        trainer.fit(train, LabeledTensors(torch.rand(6, 3), targets))
    assert trainer.state.step == 0


def test_weights_that_are_all_zero_are_refused() -> None:
    data = LabeledTensors(DATA.inputs, DATA.targets, weights=torch.zeros(20))
    with pytest.raises(ValueError, match=r"^train\.weights must be above 0 for at least one"):
        Trainer(nn.Linear(3, 2), CONFIG).fit(data)


def test_target_names_in_another_order_are_refused() -> None:
    data = LabeledTensors(torch.rand(6, 3), torch.rand(6, 2), ("p", "q"))
    swapped = data.with_classes(("q", "p"))
    trainer = Trainer(Regressor.for_data(data, ()), CONFIG)
    for call in (trainer.fit, trainer.find_lr, trainer.evaluate):
        with pytest.raises(ValueError, match="those of model in the same order"):
            call(swapped)
