"""A step of several networks is a step of each of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import differences, examples
from torch import nn

from mlpkit import MLP
from mlpkit.data import LabeledTensors
from mlpkit.training import (
    CrossEntropy,
    FilledConfig,
    MomentumSchedule,
    OptimizerConfig,
    Schedule,
)
from mlpkit.training.ensemble._ensemble_stepper import (
    EnsembleStepper,
    NonFiniteNetworkStep,
    dropout_generator,
)
from mlpkit.training.ensemble._joined_batches import JoinedBatches
from mlpkit.training.ensemble._network_stack import NetworkStack

K = 3
CPU = torch.device("cpu")
CONFIG = FilledConfig(
    epochs=2,
    batch_size=8,
    optimizer=OptimizerConfig(lr=0.01, weight_decay=0.1),
    schedule=Schedule(kind="cosine"),
    momentum_schedule=MomentumSchedule(kind="linear"),
    label_smoothing=0.0,
    device="cpu",
    progress=False,
)


def networks(**options: object) -> list[MLP]:
    """Return networks of one structure."""
    return [
        MLP(6, (9,), 3, generator=torch.Generator().manual_seed(seed), **options)  # type: ignore[arg-type]
        for seed in range(K)
    ]


def stepper_of(
    models: Sequence[nn.Module],
    configs: Sequence[FilledConfig],
    data: LabeledTensors,
    *,
    fast: bool,
) -> tuple[NetworkStack, EnsembleStepper, JoinedBatches]:
    """Return the parts of a run of several networks."""
    orders = JoinedBatches([data] * len(configs), configs, CPU)
    stack = NetworkStack(models, CrossEntropy())
    combined = next(orders.epoch(0))[0].combined
    stack.probe(combined, shared=orders.shared)
    gradients = stack.hand_written_gradients(combined, shared=orders.shared) if fast else None
    assert (gradients is not None) == fast
    stepper = EnsembleStepper(
        stack,
        configs,
        total_steps=orders.num_steps * configs[0].epochs,
        device=CPU,
        shared=orders.shared,
        generators=[dropout_generator(config.seed) for config in configs],
        gradients=gradients,
    )
    return stack, stepper, orders


@pytest.mark.parametrize(("fast", "accumulation"), [(True, 1), (False, 1), (False, 3)])
@pytest.mark.parametrize("same_seed", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_step_is_that_of_a_loop_over_the_networks(
    *, fast: bool, accumulation: int, same_seed: bool, weighted: bool
) -> None:
    """Each network with its rate, clipping, class weights and order: oracle, torch alone."""
    data = examples()
    weights = torch.rand(61) + 0.1 if weighted else None
    data = LabeledTensors(data.inputs, data.targets, weights=weights)
    configs = [
        replace(
            CONFIG,
            gradient_accumulation_steps=accumulation,
            seed=0 if same_seed else k,
            optimizer=OptimizerConfig(lr=0.01 * (k + 1), weight_decay=0.1),
            clip_grad_norm=(0.2, None, 0.4)[k],
            class_weights=((0.5, 1.0, 3.0), None, None)[k],
        )
        for k in range(K)
    ]
    models = networks()
    others = copy.deepcopy(models)
    optimizers = [
        torch.optim.AdamW(other.param_groups(0.1), lr=config.optimizer.lr)
        for other, config in zip(others, configs, strict=True)
    ]
    stack, stepper, orders = stepper_of(models, configs, data, fast=fast)
    total = orders.num_steps * 2
    step = 0
    with stack:
        for epoch in range(2):
            for microbatches in orders.epoch(epoch):
                results = stepper.step(step, microbatches)
                for k, (other, optimizer, config) in enumerate(
                    zip(others, optimizers, configs, strict=True)
                ):
                    assert stepper.rates(k).lr(step) == config.optimizer.lr * config.schedule.ratio(
                        step, total
                    )
                    assert config.momentum_schedule is not None
                    for group in optimizer.param_groups:
                        group["lr"] = stepper.rates(k).lr(step)
                        momentum = config.momentum_schedule.momentum(step, total)
                        group["betas"] = (momentum, 0.999)
                    optimizer.zero_grad()
                    parts = [joined.per_network[k] for joined in microbatches]
                    inputs = torch.cat([part.inputs for part in parts])
                    targets = torch.cat([part.targets for part in parts])
                    each = torch.ones(len(targets))
                    if config.class_weights is not None:
                        each = each * torch.tensor(config.class_weights)[targets]
                    for_example = [part.weights for part in parts if part.weights is not None]
                    if for_example:
                        each = each * torch.cat(for_example)
                    losses = F.cross_entropy(other(inputs), targets, reduction="none")
                    loss = (each * losses).sum() / each.sum()
                    torch.autograd.backward(loss)
                    limit = math.inf if config.clip_grad_norm is None else config.clip_grad_norm
                    norm = nn.utils.clip_grad_norm_(other.parameters(), limit)
                    optimizer.step()
                    torch.testing.assert_close(results[k].loss, loss.detach())
                    torch.testing.assert_close(results[k].grad_norm, norm, rtol=1e-4, atol=1e-6)
                    assert float(results[k].weight) == pytest.approx(float(each.sum()))
                step += 1
    assert step == total
    for model, other in zip(models, others, strict=True):
        torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-5)


def test_a_network_with_a_max_norm_keeps_it() -> None:
    models = networks(max_norm=0.3)
    stack, stepper, orders = stepper_of(models, [CONFIG] * K, examples(), fast=True)
    with stack:
        for step, microbatches in enumerate(orders.epoch(0)):
            stepper.step(step, microbatches)
            for model in models:
                assert float(model.layers[0].linear.weight.detach().norm(dim=1).max()) <= 0.3 + 1e-6


@pytest.mark.parametrize("fast", [True, False])
def test_a_step_that_is_not_finite_names_the_network_and_changes_none(*, fast: bool) -> None:
    """The first of them, before any parameter of any network changed."""
    models = networks()
    stack, stepper, orders = stepper_of(models, [CONFIG] * K, examples(), fast=fast)
    *good, bad = list(orders.epoch(0))[:3]
    with stack:
        for step, microbatches in enumerate(good):
            stepper.step(step, microbatches)
        with torch.no_grad():
            for model in models[1:]:
                model.layers[0].linear.bias.fill_(torch.nan)
        before = [copy.deepcopy(model.state_dict()) for model in models]
        with pytest.raises(NonFiniteNetworkStep, match="network 1, step 2") as caught:
            stepper.step(2, bad)
    assert (caught.value.network, caught.value.step.step) == (1, 2)
    assert math.isnan(caught.value.step.loss)
    assert differences(before[0], models[0].state_dict()) == []
    torch.testing.assert_close(
        before[1:], [model.state_dict() for model in models[1:]], equal_nan=True, rtol=0, atol=0
    )
