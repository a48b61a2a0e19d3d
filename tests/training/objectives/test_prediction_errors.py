"""What all losses of a regression refuse, each with a cure that works."""

from __future__ import annotations

import pytest
import torch

from mlpkit.training import (
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    OutputObjective,
    ScaledTargets,
)

OBJECTIVES: list[OutputObjective] = [
    MeanSquaredError(),
    MeanAbsoluteError(),
    Huber(),
    ScaledTargets(Huber(), scale=2.0),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
class TestRefused:
    @pytest.mark.parametrize(
        ("outputs", "targets"), [((4, 1), (4,)), ((4,), (4, 1))], ids=["column", "row"]
    )
    def test_a_missing_axis(
        self, objective: OutputObjective, outputs: tuple[int, ...], targets: tuple[int, ...]
    ) -> None:
        given = torch.ones(targets)
        rule = "targets must be of the same shape as the output of the model"
        with pytest.raises(ValueError, match=rule) as caught:
            objective.loss(torch.zeros(outputs), given)
        cure = str(caught.value).split("; ")[1].removeprefix("pass ")
        given = eval(cure, {"targets": given})  # noqa: S307 - from this package
        assert objective.loss(torch.zeros(outputs), given).shape == (4,)

    def test_integers(self, objective: OutputObjective) -> None:
        targets = torch.arange(3)
        with pytest.raises(TypeError, match=r"floating-point, got torch\.int64") as caught:
            objective.loss(torch.zeros(3), targets)
        cure = str(caught.value).split("; pass ")[1].removesuffix(" for a regression")
        targets = eval(cure, {"targets": targets})  # noqa: S307 - from this package
        assert objective.loss(torch.zeros(3), targets).shape == (3,)

    @pytest.mark.parametrize("shape", [(4, 2), (3, 3), ()])
    def test_other_shapes(self, objective: OutputObjective, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="give the model one output for each entry"):
            objective.loss(torch.zeros(4, 3), torch.zeros(shape))

    def test_a_single_number(self, objective: OutputObjective) -> None:
        with pytest.raises(ValueError, match="targets must be of the same shape"):
            objective.loss(torch.zeros(()), torch.zeros(()))
