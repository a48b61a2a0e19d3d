"""The objective of a run is chosen and checked when the trainer is built."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from mlpkit.training import (
    CrossEntropy,
    MeanSquaredError,
    Mixup,
    Trainer,
    TrainerConfig,
)

CONFIG = TrainerConfig(progress=False)


def test_the_configuration_describes_the_default() -> None:
    default = Trainer(nn.Linear(2, 2), CONFIG)
    assert default.objective == CrossEntropy(label_smoothing=0.05)
    plain = replace(CONFIG, label_smoothing=0.0)
    assert Trainer(nn.Linear(2, 2), plain).objective == CrossEntropy()
    smooth = replace(CONFIG, label_smoothing=0.1)
    assert Trainer(nn.Linear(2, 2), smooth).objective == CrossEntropy(label_smoothing=0.1)
    mixed = Trainer(nn.Linear(2, 2), replace(smooth, mixup=0.3)).objective
    assert isinstance(mixed, Mixup)
    assert (mixed.alpha, mixed.objective) == (0.3, CrossEntropy(label_smoothing=0.1))


def test_a_given_objective_is_used_as_it_is() -> None:
    given = MeanSquaredError()
    assert Trainer(nn.Linear(2, 2), CONFIG, objective=given).objective is given


@pytest.mark.parametrize(
    "mistake",
    [3, "mse", CrossEntropy, nn.CrossEntropyLoss(), nn.MSELoss],
    ids=str,
)
def test_what_is_no_objective_is_refused_at_once(mistake: object) -> None:
    with pytest.raises(TypeError, match=r"^objective must be a function of a model and a batch"):
        Trainer(nn.Linear(2, 2), CONFIG, objective=mistake)  # type: ignore[arg-type]
