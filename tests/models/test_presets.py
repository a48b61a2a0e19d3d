"""The default networks."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from tests.models.kinds import AnyModel

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.models import NETWORK_DEFAULTS, TABULAR_DEFAULTS, Ensemble, tabular_config
from mlpkit.nn import ActivationName, MLPOptions
from mlpkit.training import OptimizerConfig, Task, fit_many


def test_each_task_has_a_default_network_that_cannot_be_changed() -> None:
    assert NETWORK_DEFAULTS.keys() == set(get_args(Task))
    for defaults in NETWORK_DEFAULTS.values():
        assert defaults.widths(10_000) == defaults.hidden_features == (512, 256)
        with pytest.raises(dataclasses.FrozenInstanceError):
            defaults.hidden_features = ()  # type: ignore[misc]  # bad on purpose
        assert defaults.options.dropout == 0.1


def test_a_small_regression_gets_a_small_network() -> None:
    widths = {task: found.widths(9_999) for task, found in NETWORK_DEFAULTS.items()}
    big, small = (512, 256), (128, 64)
    assert widths == {"classification": big, "multilabel": big, "regression": small}


def test_each_task_has_a_default_network_for_tables() -> None:
    assert TABULAR_DEFAULTS.keys() == set(get_args(Task))
    for task, defaults in TABULAR_DEFAULTS.items():
        assert defaults.widths(1) == defaults.widths(10**6) == (128, 128, 128)
        activation: ActivationName = "mish" if task == "regression" else "selu"
        assert defaults.options == MLPOptions(activation=activation, dropout=0.15)


@pytest.mark.parametrize("task", get_args(Task))
@pytest.mark.parametrize(
    ("count", "batch_size", "epochs"),
    [(1, 1, 500), (64, 64, 500), (106, 53, 250), (999, 63, 64), (1000, 250, 125), (1800, 225, 64)],
)
def test_settings_for_tables(task: Task, count: int, batch_size: int, epochs: int) -> None:
    """At least 500 steps and at least 64 epochs; no last batch of a few examples."""
    config = tabular_config(task, count)
    assert (config.batch_size, config.epochs) == (batch_size, epochs)
    assert epochs * -(-count // batch_size) >= 500
    lr = 0.07 if task == "regression" else 0.04
    optimizer = OptimizerConfig(name="adamw", lr=lr, betas=(0.9, 0.95), weight_decay=0.02)
    assert config.optimizer == optimizer
    assert config.restore_best
    assert config.label_smoothing == (0.0 if task == "classification" else None)


def test_a_count_or_a_task_that_is_wrong() -> None:
    with pytest.raises(ValueError, match="num_examples must be a positive integer, got 0"):
        tabular_config("regression", 0)
    with pytest.raises(ValueError, match="task must be one of"):
        tabular_config("ranking", 10)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", get_args(Task))
def test_the_settings_train_an_ensemble(task: Task) -> None:
    """From a frame; each target depends on both columns, so a constant is not enough."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": generator.lognormal(5, 2, 300), "city": generator.choice(["a", "b", "c"], 300)}
    )
    y = np.log(frame["x"]) + 2.0 * (frame["city"] == "b")
    frame["y"] = y if task == "regression" else (y > 5).astype(int)
    if task == "multilabel":
        frame["z"] = (frame["city"] == "c").astype(int)
    target = ["y", "z"] if task == "multilabel" else "y"
    encoder = TableEncoder.fit(frame, target=target, task=task, categories="codes")
    train, val = LabeledTensors.from_frame(frame, encoder=encoder).split([240, 60])
    kinds: dict[Task, type[AnyModel]] = {
        "classification": SoftmaxClassifier,
        "multilabel": MultilabelClassifier,
        "regression": Regressor,
    }
    members = [
        kinds[task].for_data(train, preset="tabular", generator=torch.Generator().manual_seed(seed))
        for seed in range(2)
    ]
    config = tabular_config(task, len(train))
    fit_many(members, train, val, config=replace(config, epochs=20, device="cpu", progress=False))
    found = Ensemble(members).evaluate(val)
    quality = found.r2 if task == "regression" else found.accuracy
    assert quality is not None
    assert quality > 0.9
