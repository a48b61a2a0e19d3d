"""Losses and gradients without a graph against autograd, network by network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit import MLP
from mlpkit.data import Batch
from mlpkit.training import CrossEntropy, MeanSquaredError
from mlpkit.training.ensemble._network_stack import NetworkStack

K, N = 3, 9


def weights_of(kind: str) -> tuple[Tensor | None, float | Tensor]:
    """Return weights of the examples, and their sum as the training gives it."""
    if kind == "none":
        return None, float(N)
    weights = torch.rand(N) if kind == "one for all" else torch.rand(K, N)
    return weights, weights.expand(K, -1).sum(1)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["none", "one for all", "one for each"])
@pytest.mark.parametrize("objective", [CrossEntropy(label_smoothing=0.1), MeanSquaredError()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_autograd_for_each_network(
    shared: bool, kind: str, objective: CrossEntropy | MeanSquaredError, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    models = [MLP(4, (6, 5), 3, dtype=dtype) for _ in range(K)]
    lead = () if shared else (K,)
    targets = torch.randint(3, (*lead, N))
    if isinstance(objective, MeanSquaredError):
        targets = torch.randn(*lead, N, 3)
    inputs = torch.randn(*lead, N, 4, dtype=dtype)
    batch = Batch(inputs, targets, None, torch.arange(N).expand(*lead, N))
    weights, totals = weights_of(kind)
    stack = NetworkStack(models, objective)
    stack.probe(batch, shared=shared)
    passes = stack.hand_written_gradients(batch, shared=shared)
    assert passes is not None
    losses, gradients = passes.losses_and_gradients(batch, weights, totals)
    for k, model in enumerate(models):
        own = [part if shared else part[k] for part in (inputs, targets)]
        wanted = objective.loss(model(own[0]), own[1])
        torch.testing.assert_close(losses[k], wanted)
        of_mean = wanted.mean()
        if weights is not None:
            each = weights.expand(K, -1)[k]
            of_mean = (each * wanted).sum() / each.sum()
        grads = torch.autograd.grad(of_mean, list(model.parameters()))
        for gradient, other in zip(gradients, grads, strict=True):
            assert gradient is not None
            torch.testing.assert_close(gradient[k], other)
