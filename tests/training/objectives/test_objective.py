"""An objective says what it is for, or else its targets do."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from mlpkit.data import LabeledTensors
from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    Distillation,
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    ScaledTargets,
    VirtualAdversarial,
)
from mlpkit.training.objectives import check_losses, is_readable, predictions_of, task_of, widened


def test_a_function_is_an_objective_but_not_one_of_outputs() -> None:
    def own(model: nn.Module, batch: object) -> Tensor:
        raise NotImplementedError

    assert isinstance(own, Objective)
    assert not isinstance(own, OutputObjective)


def test_only_half_precision_is_widened() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        outputs = torch.randn(3).to(dtype)
        assert torch.equal(widened(outputs), outputs.float())
    for dtype in (torch.float32, torch.float64):
        outputs = torch.randn(3, dtype=dtype)
        assert widened(outputs) is outputs


class TestTask:
    def test_the_objective_says_it(self) -> None:
        assert task_of(CrossEntropy(), torch.zeros(2, 3)) == "classification"
        assert task_of(MeanSquaredError(), torch.zeros(2, 3)) == "regression"
        assert task_of(BinaryCrossEntropy(), torch.zeros(2, 3)) == "multilabel"

    def test_else_the_targets_say_it(self) -> None:
        def own(model: nn.Module, batch: object) -> Tensor:
            raise NotImplementedError

        assert task_of(own, torch.zeros(2)) == "regression"
        assert task_of(own, torch.zeros(2, dtype=torch.int64)) == "classification"

    def test_another_task_is_refused(self) -> None:
        class Ranking:
            task = "ranking"

            def __call__(self, model: nn.Module, batch: object) -> Tensor:
                raise NotImplementedError

        with pytest.raises(ValueError, match=r"objective\.task must be .*, got 'ranking'"):
            task_of(Ranking(), torch.zeros(2))


class TestPredictions:
    """What the outputs of the model say about the targets of a regression."""

    def test_they_are_the_outputs(self) -> None:
        outputs, targets = torch.randn(4, 2), torch.randn(4, 2)
        for objective in (
            MeanSquaredError(),
            ScaledTargets(MeanSquaredError(), scale=2.0),
            Mixup(objective=MeanSquaredError()),
        ):
            assert predictions_of(objective, outputs, targets) is outputs

    def test_they_are_the_means_of_a_distribution(self) -> None:
        outputs, targets = torch.randn(4, 2), torch.randn(4)
        for objective in (GaussianNLL(), Mixup(objective=GaussianNLL())):
            found = predictions_of(objective, outputs, targets)
            assert found is not None
            assert torch.equal(found, outputs[:, 0])

    def test_they_may_be_unknown(self) -> None:
        class Sum:
            def __call__(self, model: nn.Module, batch: object) -> Tensor:
                raise NotImplementedError

            def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
                return outputs.sum(1) - targets

        assert predictions_of(Sum(), torch.zeros(4, 2), torch.zeros(4)) is None
        same = torch.zeros(4)
        assert predictions_of(Sum(), same, torch.zeros(4)) is same


def test_values_are_read_where_that_is_cheap_and_possible() -> None:
    assert is_readable(torch.zeros(2))
    assert not is_readable(torch.zeros(2, device="meta"))
    found: list[bool] = []

    def inner(x: Tensor) -> Tensor:
        found.append(is_readable(x))
        return x.sum()

    torch.vmap(inner)(torch.zeros(2, 2))
    torch.func.grad(inner)(torch.zeros(2))
    assert found == [False, False]


class Pair(nn.Module):
    """Returns a tuple."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    "objective",
    [
        *(CrossEntropy(), BinaryCrossEntropy(), MeanSquaredError(), MeanAbsoluteError(), Huber()),
        *(GaussianNLL(), ScaledTargets(MeanSquaredError(), scale=2.0), Mixup()),
        *(VirtualAdversarial(), Distillation(nn.Identity())),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_outputs_that_are_no_tensor_are_refused(objective: Objective) -> None:
    data = LabeledTensors(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(TypeError, match="model must be a module that returns a tensor, got one th"):
        objective(Pair(), next(iter(data.batches(4).epoch(0))))


@pytest.mark.parametrize(
    ("losses", "shown", "cure"),
    [
        (torch.ones(()), "()", 'reduction="none"'),
        (1.0, "1.0", 'reduction="none"'),
        (torch.ones(4, 2), "(4, 2)", "take the mean over the other axes"),
    ],
)
def test_losses_that_are_not_one_for_each_example_are_refused(
    losses: object, shown: str, cure: str
) -> None:
    message = re.escape(f"one loss for each example, (4,), got {shown}; ") + ".*" + re.escape(cure)
    with pytest.raises(ValueError, match=message):
        check_losses(losses, torch.zeros(4))
