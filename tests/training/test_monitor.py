"""The monitored metric: its direction, and whether the run will have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import examples, network
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlpkit.data import LabeledTensors
from mlpkit.errors import ConfigError, ResumeMismatchError
from mlpkit.training import (
    BatchLike,
    CheckpointConfig,
    EarlyStopping,
    MeanSquaredError,
    MetricLike,
    Monitor,
    TopKAccuracy,
    Trainer,
    TrainerConfig,
    fit_many,
)

CONFIG = TrainerConfig(epochs=4, batch_size=8, progress=False)
TRAIN, VAL = examples(), examples(20, seed=1)
INPUTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
REGRESSION = LabeledTensors(INPUTS, INPUTS[:, :2])


class Scripted:
    """A metric with the values given, whatever the model does."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Ignore the batch."""

    def compute(self) -> float:
        return self.values.pop(0)

    def reset(self) -> None:
        """Forget nothing."""


class Higher(Scripted):
    higher_is_better = True


@pytest.mark.parametrize(
    ("monitor", "metric", "best"),
    [
        (Monitor("val_m", "max"), Scripted(1, 3, 2, 3), 1),
        (Monitor("val_m", mode="min"), Scripted(2, 3, 1, 1), 2),
        ("val_m", Higher(1, 3, 2, 3), 1),
        (Monitor("val_m", "min"), Higher(2, 3, 1, 1), 2),
        (Monitor("val_m", "max"), Scripted(float("nan"), -2, float("inf"), -1), 3),
    ],
)
@pytest.mark.filterwarnings("ignore:metrics.*the history has None:UserWarning")
def test_a_custom_metric_chooses_the_best_epoch(
    monitor: str | Monitor, metric: Scripted, best: int
) -> None:
    """The mode given, or that of the metric; what is not finite is never the best."""
    trainer = Trainer(network(), replace(CONFIG, monitor=monitor), metrics={"m": metric})
    assert trainer.fit(TRAIN, VAL).state.best_epoch == best


@pytest.mark.filterwarnings("ignore:metrics.*the history has None:UserWarning")
def test_early_stopping_ends_a_run_without_a_finite_metric() -> None:
    """A validation without a number is one without an improvement."""
    config = replace(CONFIG, monitor=Monitor("val_m", "max"))
    config = replace(config, early_stopping=EarlyStopping(patience=2))
    metric = Scripted(1, *[float("nan")] * 3)
    result = Trainer(network(), config, metrics={"m": metric}).fit(TRAIN, VAL)
    assert (result.stop_reason, result.state.epoch, result.state.best_epoch) == (
        "early_stopping",
        3,
        0,
    )


@pytest.mark.parametrize("name", ["val_rmse", "val_mae", "val_r2"])
def test_the_columns_of_a_regression_have_a_direction(name: str) -> None:
    config = replace(CONFIG, monitor=name)
    trainer = Trainer(nn.Linear(3, 2), config, objective=MeanSquaredError())
    state = trainer.fit(REGRESSION, REGRESSION).state
    values = [getattr(row, name) for row in trainer.history]
    assert state.best_value == (max(values) if name == "val_r2" else min(values))


def test_the_gradient_norm_needs_a_mode_and_no_validation() -> None:
    config = replace(CONFIG, monitor=Monitor("grad_norm", "min"))
    trainer = Trainer(network(), config)
    best = trainer.fit(TRAIN).state.best_value
    assert best == min(row.grad_norm for row in trainer.history if row.grad_norm is not None)
    with pytest.raises(ValueError, match="monitor must be a Monitor for a column whose direction"):
        Trainer(network(), replace(CONFIG, monitor="grad_norm"))


@pytest.mark.parametrize(
    ("monitor", "metrics", "message"),
    [
        ("val_los", {}, r"monitor must be one of .*, got 'val_los'; did you mean 'val_loss'\?"),
        ("val_top_2", {"top2": TopKAccuracy(2)}, r"got 'val_top_2'; did you mean 'val_top2'\?"),
        (Monitor("val_zzz", "min"), {}, "got 'val_zzz'; add the metric to metrics"),
        ("val_m", {"m": Scripted()}, r'use Monitor\(\'val_m\', mode="min"\) or Monitor'),
    ],
)
def test_an_unknown_column_is_refused_at_once(
    monitor: str | Monitor, metrics: Mapping[str, MetricLike], message: str
) -> None:
    config = replace(CONFIG, monitor=monitor)
    with pytest.raises(ValueError, match=message):
        Trainer(network(), config, metrics=metrics)
    with pytest.raises(ValueError, match=message):
        fit_many([network()], TRAIN, VAL, config=config, metrics=metrics)


@pytest.mark.parametrize("name", ["val_accuracy", "val_error", "val_m"])
def test_a_column_of_the_validation_needs_validation_data(name: str) -> None:
    config = replace(CONFIG, monitor=name)
    trainer = Trainer(network(), config, metrics={"m": Higher()})
    with pytest.raises(ValueError, match=f"val must be given for monitor='{name}', got None; or"):
        trainer.fit(TRAIN)
    assert trainer.state.step == 0
    with pytest.raises(ValueError, match="val must be given for monitor"):
        fit_many([network()], TRAIN, config=config, metrics={"m": Higher()})


@pytest.mark.parametrize("name", ["val_rmse", "val_mae", "val_r2"])
def test_a_classification_has_no_column_of_a_regression(name: str) -> None:
    """Before the first step, or where the targets are not known, before it is applied."""
    loader = DataLoader(TRAIN.as_torch_dataset(), 8)
    for data in (TRAIN, loader):
        trainer = Trainer(network(), replace(CONFIG, monitor=name))
        message = f"train must be a regression for monitor='{name}', got a classification"
        with pytest.raises(ValueError, match=message):
            trainer.fit(data, VAL)
        assert trainer.state.step == 0


def test_a_column_that_the_objective_does_not_define_is_refused_in_the_first_validation() -> None:
    def objective(model: nn.Module, batch: BatchLike) -> Tensor:
        errors: Tensor = model(batch.inputs)[:, :1] - batch.targets
        return errors.square().mean(dim=1)

    trainer = Trainer(nn.Linear(3, 3), replace(CONFIG, monitor="val_r2"), objective=objective)
    with pytest.raises(ValueError, match="monitor must be a metric of this run, got 'val_r2'; the"):
        trainer.fit(REGRESSION, REGRESSION)
    assert trainer.state.epoch == 0


def test_the_checkpoint_has_the_direction(tmp_path: Path) -> None:
    """A metric that has changed its mind cannot resume the run."""
    config = replace(CONFIG, monitor="val_m", checkpoints=CheckpointConfig(folder=tmp_path))
    trainer = Trainer(network(), config, metrics={"m": Higher(1, 2, 3, 4)})
    trainer.fit(TRAIN, VAL)
    assert trainer.config.monitor == Monitor("val_m", "max")
    again = Trainer(network(), config, metrics={"m": Higher()})
    assert again.fit(TRAIN, VAL, resume="auto").state.best_epoch == 3
    other = replace(config, monitor=Monitor("val_m", "min"))
    with pytest.raises(
        ResumeMismatchError, match=r"config\.monitor: saved 'val_m:max', now 'val_m:min'"
    ):
        Trainer(network(), other, metrics={"m": Higher()}).fit(TRAIN, VAL, resume="auto")


def test_each_network_has_its_monitor() -> None:
    monitors = (Monitor("val_top2", "min"), Monitor("val_top2", "max"))
    configs = [replace(CONFIG, monitor=one, seed=seed) for seed, one in enumerate(monitors)]
    models = [network(seed) for seed in range(2)]
    results = fit_many(models, TRAIN, VAL, config=configs, metrics={"top2": TopKAccuracy(2)})
    for result, choose in zip(results, (min, max), strict=True):
        values = [row.metrics["top2"] for row in result.history]
        assert result.state.best_value == choose(value for value in values if value is not None)


def test_a_monitor_checks_its_values() -> None:
    with pytest.raises(ValueError, match=r"monitor\.name must be one of .*, got 'seconds'"):
        Monitor("seconds", "min")
    with pytest.raises(ValueError, match=r"monitor\.mode must be one of 'max', 'min', got 'up'"):
        Monitor("val_loss", "up")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a key of Monitor"):
        TrainerConfig.from_json('{"monitor": {"name": "val_loss", "mode": "min", "delta": 1}}')


def test_round_trips_are_exact() -> None:
    for monitor in ("val_f1", Monitor("val_f1", "max"), Monitor("val_loss", "min")):
        config = replace(CONFIG, monitor=monitor)
        assert TrainerConfig.from_json(config.to_json()) == config
        assert TrainerConfig.from_toml(config.to_toml()) == config
