"""One kernel call for each network makes the steps of its optimizer, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mlpkit import MLP
from mlpkit.training import OptimizerConfig, build_optimizer
from mlpkit.training.ensemble._per_model_adamw import PerModelAdamW
from mlpkit.training.optim._optimizers import set_lr, set_momentum

CONFIG = OptimizerConfig(lr=0.01, weight_decay=0.3)
CONFIGS = [CONFIG, replace(CONFIG, lr=0.03), replace(CONFIG, weight_decay=0.0, betas=(0.8, 0.9))]


def networks() -> list[MLP]:
    return [MLP(4, (5,), 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


def optimizers(models: Sequence[nn.Module]) -> list[torch.optim.Optimizer]:
    return [build_optimizer(model, config) for model, config in zip(models, CONFIGS, strict=True)]


def step_separately(
    models: Sequence[nn.Module],
    each: Sequence[torch.optim.Optimizer],
    gradients: Sequence[Tensor],
) -> None:
    for k, (model, optimizer) in enumerate(zip(models, each, strict=True)):
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient[k].clone()
        optimizer.step()


def test_the_steps_are_those_of_the_optimizers() -> None:
    models = networks()
    others = copy.deepcopy(models)
    own, separate = optimizers(models), optimizers(others)
    for each in (own, separate):
        each[2].param_groups[1]["initial_lr"] = 0.05  # though both rates are 0 at first
    assert not PerModelAdamW.supports(own)  # their state is made by the first step
    generator = torch.Generator().manual_seed(0)
    steps: PerModelAdamW | None = None
    for number in range(5):
        for each in (own, separate):
            for optimizer in each:
                set_lr(optimizer, number / 4)  # 0 in the first
            set_momentum(each[1], 0.9 - 0.1 * number)
        gradients = [
            torch.randn(3, *parameter.shape, generator=generator)
            for parameter in models[0].parameters()
        ]
        step_separately(others, separate, gradients)
        if steps is None:
            step_separately(models, own, gradients)
            assert PerModelAdamW.supports(own)
            members = list(zip(*(model.parameters() for model in models), strict=True))
            steps = PerModelAdamW(own, members)
        else:
            steps.step(gradients)
    for model, other in zip(models, others, strict=True):
        assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_other_optimizers_are_left_alone() -> None:
    for config in (OptimizerConfig(name="sgd", lr=0.01), replace(CONFIG, fused=False)):
        models = networks()
        each = [build_optimizer(model, config) for model in models]
        step_separately(models, each, [torch.ones(3, *one.shape) for one in models[0].parameters()])
        assert not PerModelAdamW.supports(each)
