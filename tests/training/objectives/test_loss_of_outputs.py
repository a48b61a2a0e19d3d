"""Which objectives depend on the outputs of one forward pass only."""

from __future__ import annotations

import pytest

from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    ScaledTargets,
    VirtualAdversarial,
)
from mlpkit.training.objectives import is_loss_of_outputs


class _SpecialError(MeanSquaredError):
    pass


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (CrossEntropy(), True),
        (BinaryCrossEntropy(), True),
        (MeanSquaredError(), True),
        (MeanAbsoluteError(), True),
        (Huber(), True),
        (GaussianNLL(), True),
        (ScaledTargets(Huber(), scale=2.0), True),
        (Mixup(), False),
        (VirtualAdversarial(), False),
        (_SpecialError(), False),
    ],
    ids=repr,
)
def test_only_the_losses_themselves(objective: Objective, expected: bool) -> None:
    assert is_loss_of_outputs(objective) == expected
