"""The table of defaults: what None in a TrainerConfig means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.training import (
    CheckpointConfig,
    CrossEntropy,
    EarlyStopping,
    FilledConfig,
    MeanSquaredError,
    OptimizerConfig,
    Schedule,
    Task,
    Trainer,
    TrainerConfig,
    fill_defaults,
    fit_many,
)

CONFIG = TrainerConfig(progress=False, device="cpu")


@pytest.mark.parametrize(
    ("task", "num_examples", "epochs", "batch_size"),
    [
        ("classification", 55_000, 10, 128),
        ("classification", 10_000, 13, 127),  # 79 steps make 1,027
        ("classification", 9_999, 10, 63),
        ("classification", 1_437, 44, 63),  # 23 steps make 1,012
        ("classification", 75, 200, 38),
        ("multilabel", 1_437, 44, 63),
        ("regression", 1_437, 14, 63),
        ("regression", 221, 50, 56),
        ("regression", 65, 50, 33),  # not 64 and 1
        ("regression", 1, 50, 1),
        ("regression", 55_000, 10, 128),
    ],
)
def test_small_data_get_more_epochs(
    task: Task, num_examples: int, epochs: int, batch_size: int
) -> None:
    filled = fill_defaults(CONFIG, task=task, num_examples=num_examples)
    assert (filled.epochs, filled.batch_size) == (epochs, batch_size)
    smoothing = 0.05 if task == "classification" else 0.0
    assert filled.label_smoothing == smoothing
    assert filled.optimizer == OptimizerConfig(lr=3e-3, weight_decay=0.01)
    assert filled.schedule == Schedule(kind="one_cycle")


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"steps_per_epoch": 90}, 12),
        ({"steps_per_epoch": 90, "max_steps": 300}, 4),
        ({"max_steps": 30}, 2),  # of 16 steps
        ({"max_steps": 30, "drop_last": True}, 2),  # of 15 steps
        ({"max_steps": 31, "drop_last": True}, 3),
        ({"max_steps": 30, "epochs": 7}, 7),
    ],
)
def test_epochs_follow_from_the_steps(settings: dict[str, int], epochs: int) -> None:
    config = replace(CONFIG, **settings)  # type: ignore[arg-type]
    filled = fill_defaults(config, task="classification", num_examples=1000)
    assert (filled.epochs, filled.steps_per_epoch) == (epochs, settings.get("steps_per_epoch"))


def test_a_warmup_is_a_tenth_of_the_steps_that_are_made() -> None:
    config = replace(CONFIG, epochs=50, max_steps=70, max_seconds=9.0)
    filled = fill_defaults(config, task="classification", num_examples=1000)
    assert filled.schedule.warmup_steps == 7


def test_given_settings_are_kept() -> None:
    given = replace(
        CONFIG,
        epochs=7,
        batch_size=5,
        optimizer=OptimizerConfig(name="sgd", lr=0.3),
        schedule=Schedule(kind="linear"),
        label_smoothing=0.2,
        gradient_accumulation_steps=2,
    )
    filled = fill_defaults(given, task="classification", num_examples=100)
    assert isinstance(filled, FilledConfig)
    assert filled.to_dict() == given.to_dict()


@pytest.mark.parametrize(
    "limit", [{"early_stopping": EarlyStopping()}, {"max_seconds": 60.0}], ids=["patience", "time"]
)
def test_an_unknown_number_of_steps_gets_a_constant_rate(limit: dict[str, object]) -> None:
    config = replace(CONFIG, **limit)  # type: ignore[arg-type]  # one of two options
    filled = fill_defaults(config, task="classification", num_examples=55_000)
    assert filled.schedule == Schedule(kind="constant", warmup_steps=100)
    assert filled.optimizer.lr == 1e-3
    short = fill_defaults(replace(config, epochs=1), task="classification", num_examples=640)
    assert short.schedule.warmup_steps == 1  # less than the 10 steps of the run


def test_steps_count_with_accumulation_and_with_given_batches() -> None:
    config = replace(CONFIG, gradient_accumulation_steps=4)
    filled = fill_defaults(config, task="classification", num_examples=9_999)
    assert filled.epochs == 25  # 157 batches make 40 steps
    batched = fill_defaults(CONFIG, task="classification", num_examples=9_999, num_batches=20)
    assert batched.epochs == 50


def test_a_wrong_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="task must be one of"):
        fill_defaults(CONFIG, task="ranking", num_examples=3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="num_examples must be a positive integer, got 0"):
        fill_defaults(CONFIG, task="regression", num_examples=0)


def examples(num_examples: int = 40) -> LabeledTensors:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num_examples, 3, generator=generator)
    return LabeledTensors(inputs, (inputs[:, 0] > 0).long(), ("no", "yes"))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


class TestTrainer:
    """The trainer fills in the defaults when a run begins, and records them."""

    def test_the_run_has_them(self) -> None:
        trainer = Trainer(network(), CONFIG)
        given = trainer.config
        result = trainer.fit(examples())
        assert given.epochs is None
        assert result.state.epoch == trainer.config.epochs == 200
        assert trainer.config.batch_size == 40
        assert trainer.objective == CrossEntropy(label_smoothing=0.05)
        assert trainer.config.label_smoothing == 0.05

    def test_each_run_has_those_of_its_data(self) -> None:
        trainer = Trainer(network(), replace(CONFIG, batch_size=1))
        trainer.fit(examples(40))
        assert trainer.config.epochs == 25
        trainer.fit(examples(100))
        assert trainer.config.epochs == 10

    def test_a_regression_has_no_label_smoothing(self) -> None:
        data = LabeledTensors(torch.rand(9, 3), torch.rand(9, 2))
        trainer = Trainer(network(), replace(CONFIG, epochs=1), objective=MeanSquaredError())
        trainer.fit(data)
        assert trainer.config.label_smoothing == 0.0

    def test_a_resumed_run_keeps_those_of_its_checkpoint(self, tmp_path: Path) -> None:
        """A time limit gives a constant rate; the run is resumed without the limit."""
        config = replace(CONFIG, epochs=4, checkpoints=CheckpointConfig(folder=tmp_path))
        first = Trainer(network(), replace(config, max_seconds=1e-6))
        assert first.fit(examples(640)).stop_reason == "time"
        second = Trainer(network(), config)
        assert second.fit(examples(640), resume="auto").stop_reason == "completed"
        assert second.config.schedule == first.config.schedule
        assert (
            second.config.optimizer
            == first.config.optimizer
            == OptimizerConfig(lr=1e-3, weight_decay=0.01)
        )

    def test_a_run_without_smoothing_is_resumed_without(self, tmp_path: Path) -> None:
        config = replace(CONFIG, epochs=2, checkpoints=CheckpointConfig(folder=tmp_path))
        Trainer(network(), replace(config, epochs=1, schedule=Schedule(), label_smoothing=0.0)).fit(
            examples()
        )
        second = Trainer(network(), config)
        second.fit(examples(), resume="auto")
        assert second.objective == CrossEntropy()

    def test_several_networks_have_those_of_one(self) -> None:
        models = [network(), network()]
        config = replace(CONFIG, gradients="autograd")
        results = fit_many(models, examples(), config=config)
        alone = network()
        expected = Trainer(alone, config).fit(examples())
        assert [len(result.history) for result in results] == [200, 200]
        assert results[0].history[-1].train_loss == pytest.approx(
            expected.history[-1].train_loss, rel=1e-3
        )
