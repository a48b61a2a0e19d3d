"""Batch norm statistics against the mean and variance of the whole set."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit.nn import MLP
from mlpkit.training import reestimate_batch_norm


def statistics(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


@pytest.mark.parametrize("sizes", [(50,), (20, 20, 10), (48, 2), (2,) * 25])
def test_equals_mean_and_variance_of_the_whole_set(sizes: tuple[int, ...]) -> None:
    """However it is cut: torch's update_bn would give every batch the same weight."""
    inputs = 5 * torch.randn(50, 3, dtype=torch.float64) + torch.tensor([1e3, 0.0, -7.0])
    norm = nn.BatchNorm1d(3, momentum=0.3).double()
    reestimate_batch_norm(norm, torch.split(inputs, list(sizes)))
    mean, var = statistics(norm)
    torch.testing.assert_close(mean, inputs.mean(dim=0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(var, inputs.var(dim=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(30, 3), (10, 3, 4), (6, 3, 2, 5)])
def test_counts_every_position_of_a_channel(shape: tuple[int, ...]) -> None:
    kinds: dict[int, type[_BatchNorm]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    inputs = torch.randn(shape, dtype=torch.float64)
    norm = kinds[len(shape)](3).double()
    reestimate_batch_norm(norm, torch.split(inputs, 4))
    rows = inputs.movedim(1, -1).reshape(-1, 3)
    mean, var = statistics(norm)
    torch.testing.assert_close(mean, rows.mean(dim=0))
    torch.testing.assert_close(var, rows.var(dim=0))


def test_a_deeper_layer_sees_what_the_batch_makes_of_the_one_before() -> None:
    """One batch: then every layer's statistics are those of one pass in training mode."""
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.BatchNorm1d(4)
    ).double()
    inputs = torch.randn(20, 3, dtype=torch.float64)
    reestimate_batch_norm(model, [inputs])
    first, second = model[1], model[4]
    assert isinstance(first, nn.BatchNorm1d)
    assert isinstance(second, nn.BatchNorm1d)
    with torch.no_grad():
        hidden = model[0](inputs)
        normalized = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, correction=0) + 1e-5).sqrt()
        squashed = normalized.tanh()  # and no dropout
    torch.testing.assert_close(statistics(first)[0], hidden.mean(dim=0))
    torch.testing.assert_close(statistics(second)[0], squashed.mean(dim=0))
    torch.testing.assert_close(statistics(second)[1], squashed.var(dim=0))


@pytest.mark.parametrize("training", [False, True])
def test_everything_else_stays_as_it_was(training: bool) -> None:
    model = MLP(3, [4, 5], 2, norm="batch", dropout=0.5).train(training)
    model(torch.randn(8, 3))
    before = copy.deepcopy(model.state_dict())
    batches = torch.split(torch.randn(20, 3), 10)
    state = torch.get_rng_state()
    modes = [module.training for module in model.modules()]
    reestimate_batch_norm(model, batches)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state), "no random number is drawn"
    for name, value in model.state_dict().items():
        changed = "running" in name
        assert torch.equal(value, before[name]) is not changed, name
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            assert module.momentum == 0.1
            assert not module._forward_hooks


def test_a_failing_batch_leaves_the_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    model(torch.randn(8, 3))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match=r"mat1 and mat2|running_mean should contain"):
        reestimate_batch_norm(model, [torch.randn(8, 3), torch.randn(8, 4)])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.training
    assert model[0].momentum == 0.1


def test_statistics_that_were_not_finite_are_replaced() -> None:
    """That is what they are measured anew for."""
    norm = nn.BatchNorm1d(2)
    mean, var = statistics(norm)
    mean.fill_(float("nan"))
    var.fill_(float("inf"))
    inputs = torch.randn(9, 2)
    reestimate_batch_norm(norm, [inputs])
    torch.testing.assert_close(mean, inputs.mean(dim=0))
    torch.testing.assert_close(var, inputs.var(dim=0))


def test_without_batch_norm_no_batch_is_read() -> None:
    def batches() -> Tensor:
        raise AssertionError("a batch was read")

    reestimate_batch_norm(nn.Linear(2, 2), (batches() for _ in range(1)))
    untracked = nn.BatchNorm1d(2, track_running_stats=False)
    reestimate_batch_norm(untracked, (batches() for _ in range(1)))


def test_no_batch_at_all_is_refused() -> None:
    norm = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="batches must be at least one batch, got 0"):
        reestimate_batch_norm(norm, [])
    assert statistics(norm)[1].tolist() == [1.0, 1.0]
