"""Networks whose parameters cannot be divided among processes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlpkit import MLP
from mlpkit.training import OptimizerConfig, TrainerConfig
from mlpkit.training.distributed import check_can_be_sharded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "precision must be 'fp32' or 'bf16' for sharding"),
        ({"cuda_graph": True}, "cuda_graph must be False for sharding"),
        ({"optimizer": OptimizerConfig(name="muon")}, "optimizer.name must be 'adam'"),
        ({"optimizer": OptimizerConfig(name="lbfgs")}, "optimizer.name must be 'adam'"),
        ({"optimizer": OptimizerConfig(name="sgd")}, "optimizer.fused must be False with"),
    ],
)
def test_settings_that_need_whole_tensors_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TrainerConfig(sharding=True, **options)  # type: ignore[arg-type]  # one of several


def test_models_that_cannot_be_divided_are_refused() -> None:
    """A constraint on whole rows, a shared parameter, and a parameter without an axis."""
    check_can_be_sharded(MLP(3, (4,), 2, norm="batch", activation="prelu"))
    with pytest.raises(ValueError, match="model must be a model without max_norm"):
        check_can_be_sharded(MLP(3, (4,), 2, max_norm=1.0))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match=r"got one whose 0\.weight is its 1\.weight"):
        check_can_be_sharded(tied)
    scaled = nn.Linear(2, 2)
    scaled.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match="got scale without one"):
        check_can_be_sharded(scaled)
