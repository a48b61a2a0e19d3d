"""The objective of a run is chosen and checked when the trainer is built."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit.training import (
    BatchLike,
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
    [
        *(3, "mse", CrossEntropy, nn.CrossEntropyLoss(), nn.MSELoss, F.mse_loss),
        functools.partial(F.cross_entropy, reduction="none"),
    ],
    ids=["3", "mse", "class", "CrossEntropyLoss", "MSELoss", "mse_loss", "partial"],
)
def test_what_is_no_objective_is_refused_at_once(mistake: object) -> None:
    with pytest.raises(TypeError, match=r"^objective must be a function of a model and a batch"):
        Trainer(nn.Linear(2, 2), CONFIG, objective=mistake)  # type: ignore[arg-type]


class WithParameters(nn.Module):
    """An objective with a head."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, model: nn.Module, batch: BatchLike) -> Tensor:
        loss: Tensor = self.head(model(batch.inputs)).square().sum(1)
        return loss


def test_parameters_that_nothing_would_train_are_refused() -> None:
    """Those of the model and frozen ones are none of them."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"trainable parameters.* got one with head\.weight"):
        Trainer(model, CONFIG, objective=WithParameters(nn.Linear(2, 1)))
    for head in (model[1], nn.Linear(2, 1).requires_grad_(False)):
        Trainer(model, CONFIG, objective=WithParameters(head))
