"""What a run judges, keeps and leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import differences, everything, examples, network, noise, train
from torch import nn

from mlpkit.data import Batches
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    CrossEntropy,
    EarlyStopping,
    EpochRow,
    Monitor,
    StepInfo,
    Trainer,
    TrainerConfig,
    WeightAverage,
    build_optimizer,
)
from mlpkit.training._run import Run
from mlpkit.training.checkpoints._file_format import read_checkpoint

CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False)


def row(epoch: int, **figures: float) -> EpochRow:
    """Return a row with the figures given."""
    return EpochRow(
        epoch=epoch,
        step=epoch + 1,
        lr=0.1,
        train_loss=1.0,
        seconds=1.0,
        examples_per_second=1.0,
        **figures,
    )


@pytest.mark.parametrize(
    ("monitor", "values", "min_delta", "best", "stale"),
    [
        ("val_loss", [0.5, 0.4, 0.4, 0.45], 0.0, [0, 1], 2),
        ("val_error", [0.5, 0.45, 0.3, 0.0], 0.1, [0, 2, 3], 0),
        ("val_accuracy", [0.5, 0.4, 0.6, 0.6], 0.0, [0, 2], 1),
        ("val_accuracy", [0.0, 0.0], 0.0, [0], 1),
    ],
)
def test_which_epoch_is_best(
    monitor: Monitor, values: list[float], min_delta: float, best: list[int], stale: int
) -> None:
    """Lower or higher by its table, better by more than min_delta, and 0.0 is a value."""
    config = replace(CONFIG, monitor=monitor, early_stopping=EarlyStopping(min_delta=min_delta))
    model = network()
    run = Run(
        model,
        config,
        CrossEntropy(),
        build_optimizer(model, config.optimizer),
        train=examples().batches(8),
        val=None,
        callbacks=(),
        device=torch.device("cpu"),
    )
    found = [
        epoch
        for epoch, value in enumerate(values)
        if run.close_epoch(row(epoch, **{monitor: value}))
    ]
    assert found == best
    assert run.state.num_bad_epochs == stale
    assert not run.close_epoch(row(len(values))), "an epoch without validation decides nothing"
    assert run.state.num_bad_epochs == stale


class TestAveraging:
    def test_the_model_has_the_average_and_the_checkpoint_its_own_weights(
        self, tmp_path: Path
    ) -> None:
        """By an average kept beside the training."""
        config = replace(
            CONFIG,
            averaging=AveragingConfig(decay=0.8),
            checkpoints=CheckpointConfig(folder=tmp_path),
        )
        model = nn.Linear(6, 3)
        shadow = nn.Linear(6, 3)
        shadow.load_state_dict(model.state_dict())

        class Beside(Callback):
            def __init__(self) -> None:
                self.average = WeightAverage(shadow, AveragingConfig(decay=0.8))

            def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
                self.average.update(trainer.model, step.step)

        beside = Beside()
        trainer = Trainer(model, config, callbacks=[beside])
        result = trainer.fit(examples(), examples(20, seed=1))
        own = read_checkpoint(tmp_path / "last.pt")["model"]
        beside.average.copy_to(shadow)
        assert differences(shadow.state_dict(), model.state_dict()) == []
        assert differences(own, model.state_dict()) != []
        assert trainer.evaluate(examples(20, seed=1)).loss == result.history[-1].val_loss
        trainer.save(tmp_path / "again.pt")
        assert differences(own, read_checkpoint(tmp_path / "again.pt")["model"]) == []

    def test_batch_norm_is_measured_for_the_average(self) -> None:
        """Its statistics are those of the averaged network on the training data."""
        trainer, _ = train(everything(None))
        linear, norm = trainer.model.get_submodule("0"), trainer.model.get_submodule("1")
        batches = Batches(examples(), 8, augment=noise).epoch(3)
        inputs = torch.cat([batch.inputs for batch in batches])
        hidden = linear(inputs)
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        torch.testing.assert_close(norm.running_mean, hidden.mean(0).detach())
