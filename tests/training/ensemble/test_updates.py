"""One optimizer for all makes the steps that one for each makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mlpkit import MLP
from mlpkit.training import CrossEntropy, FilledConfig, OptimizerConfig, Schedule
from mlpkit.training.ensemble._network_stack import NetworkStack
from mlpkit.training.ensemble._updates import PerModelUpdate, StackUpdate, build_update

CONFIG = FilledConfig(
    epochs=10,
    batch_size=128,
    optimizer=OptimizerConfig(lr=0.01, weight_decay=0.3),
    schedule=Schedule(),
    label_smoothing=0.0,
)


def networks() -> list[nn.Module]:
    return [MLP(4, (5,), 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("fused", [True, False])
def test_both_ways_agree(name: str, fused: bool) -> None:
    config = replace(
        CONFIG,
        optimizer=OptimizerConfig(name=name, lr=0.01, weight_decay=0.3, fused=fused),  # type: ignore[arg-type]  # one of two
    )
    ends = []
    for kind in (StackUpdate, PerModelUpdate):
        models = networks()
        generator = torch.Generator().manual_seed(0)
        with NetworkStack(models, CrossEntropy()) as stack:
            update = kind(stack, [config] * 3, total_steps=5)
            for _ in range(5):
                update.step(
                    [
                        torch.randn(one.shape, generator=generator)
                        for one in stack.parameters.values()
                    ]
                )
        ends.append([list(model.parameters()) for model in models])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_one_for_all_only_where_it_is_the_same() -> None:
    stack = NetworkStack(networks(), CrossEntropy())
    other_rate = replace(CONFIG, optimizer=OptimizerConfig(lr=0.02, weight_decay=0.3))
    other_schedule = replace(CONFIG, schedule=Schedule(kind="linear"))
    muon = replace(CONFIG, optimizer=OptimizerConfig(name="muon"))
    alike = [CONFIG, replace(CONFIG, seed=1), CONFIG]
    assert isinstance(build_update(stack, alike, total_steps=5), StackUpdate)
    for configs in ([CONFIG, other_rate, CONFIG], [CONFIG, other_schedule, CONFIG], [muon] * 3):
        assert isinstance(build_update(stack, configs, total_steps=5), PerModelUpdate)


def test_only_the_weights_decay_as_the_model_says() -> None:
    stack = NetworkStack(networks(), CrossEntropy())
    groups = StackUpdate(stack, [CONFIG] * 3, total_steps=5)._optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert [[one.ndim for one in group["params"]] for group in groups] == [[3, 3], [2, 2]]
