"""The range test finds where the loss falls, and leaves everything as it was."""

from __future__ import annotations

import pytest
import torch
from tests.training.scenario import differences, examples, network
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.training import MeanSquaredError, OptimizerConfig, Trainer, TrainerConfig

SGD = OptimizerConfig(name="sgd", lr=0.1, momentum=0.0)


def test_the_suggestion_lies_where_a_quadratic_converges() -> None:
    """For the mean square of one weight, gradient descent converges below 2 / curvature."""
    inputs = torch.ones(64, 1) * 2.0
    data = LabeledTensors(inputs, inputs * 3.0 + torch.arange(64.0)[:, None] % 2)
    model = nn.Linear(1, 1, bias=False)
    trainer = Trainer(
        model, TrainerConfig(batch_size=16, optimizer=SGD), objective=MeanSquaredError()
    )
    curve = trainer.find_lr(data, low=1e-5, high=1e6, steps=300)
    curvature = 2.0 * 2.0**2
    assert 0.01 / curvature < curve.suggestion < 2.0 / curvature
    assert curve.lrs[0] == pytest.approx(1e-5)
    assert curve.lrs[-1] < 1e5, "it stops where the loss has exploded"
    ratios = [later / earlier for earlier, later in zip(curve.lrs, curve.lrs[1:], strict=False)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


def test_nothing_is_left_behind() -> None:
    """Weights, mode, generator and a training that was made stay as they were."""
    trainer = Trainer(network(), TrainerConfig(epochs=1, batch_size=8, progress=False))
    trainer.fit(examples())
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    state = torch.get_rng_state()
    trainer.find_lr(examples(), steps=30)
    assert differences(before, trainer.model.state_dict()) == []
    assert torch.equal(torch.get_rng_state(), state)
    assert trainer.state.step == 8
    assert not trainer.model.training


def test_a_range_in_which_nothing_falls_is_refused() -> None:
    trainer = Trainer(nn.Linear(6, 3), TrainerConfig(batch_size=61, optimizer=SGD), objective=None)
    with pytest.raises(ValueError, match="low and high must be a range of rates in which the loss"):
        trainer.find_lr(examples(), low=1e3, high=1e6, steps=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0.0}, "low must be a finite number greater than 0, got 0.0"),
        ({"low": 2.0}, "high must be a finite number greater than 2, got 1.0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trainer(network()).find_lr(examples(), low=arguments["low"])


def test_an_optimizer_with_a_line_search_is_refused() -> None:
    config = TrainerConfig(optimizer=OptimizerConfig(name="lbfgs"), progress=False)
    expected = "optimizer.name must be an optimizer without a line search for find_lr, got 'lbfgs'"
    with pytest.raises(ValueError, match=expected):
        Trainer(network(), config).find_lr(examples())
