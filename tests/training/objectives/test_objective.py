"""An objective says what it is for, or else its targets do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit.training import CrossEntropy, MeanSquaredError, Objective, OutputObjective
from mlpkit.training.objectives import task_of, widened


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
