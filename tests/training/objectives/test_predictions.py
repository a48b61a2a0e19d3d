"""What a trainer predicts for a regression agrees with what it evaluates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.training import (
    GaussianNLL,
    MeanSquaredError,
    Mixup,
    Objective,
    ScaledTargets,
    Trainer,
    TrainerConfig,
)


@pytest.mark.parametrize(
    "objective",
    [
        GaussianNLL(),
        ScaledTargets(GaussianNLL(), scale=2.0),
        Mixup(0.2, objective=GaussianNLL()),
        Mixup(0.2, objective=ScaledTargets(GaussianNLL(), scale=2.0)),
    ],
)
def test_the_means_are_predicted_without_the_variances(objective: Objective) -> None:
    """Before and after a run; their error is the RMSE of an evaluation."""
    inputs = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    data = LabeledTensors(inputs, inputs[:, :2] * 3.0)
    model = nn.Linear(3, 4)
    trainer = Trainer(model, TrainerConfig(epochs=1, progress=False), objective=objective)
    assert torch.equal(trainer.predict(inputs), model(inputs)[:, :2])
    trainer.fit(data)
    predicted = trainer.predict(inputs)
    assert torch.equal(predicted, model(inputs)[:, :2])
    rmse = (predicted - data.targets).square().mean().sqrt().item()
    assert trainer.evaluate(data).rmse == pytest.approx(rmse, rel=1e-6)
    torch.testing.assert_close(trainer.predict(inputs[0]), predicted[0])


def test_other_objectives_predict_the_outputs() -> None:
    model, inputs = nn.Linear(3, 4), torch.randn(5, 3)
    trainer = Trainer(model, TrainerConfig(progress=False), objective=MeanSquaredError())
    assert torch.equal(trainer.predict(inputs), model(inputs))
