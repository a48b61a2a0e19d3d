"""One step is one mean over all examples of its window."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.scenario import examples
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP
from mlpkit.training import (
    OptimizerConfig,
    Schedule,
    Trainer,
    TrainerConfig,
)
from mlpkit.training._engine import _norm

CONFIG = TrainerConfig(
    epochs=3,
    batch_size=8,
    optimizer=OptimizerConfig(),
    schedule=Schedule(),
    label_smoothing=0.0,
    progress=False,
)


def test_a_window_has_the_gradient_of_one_batch() -> None:
    """Accumulation is large-batch training, the short last window and all weights included."""
    data = examples()
    weighted = LabeledTensors(data.inputs, data.targets, weights=torch.rand(61) + 0.1)
    base = TrainerConfig(
        epochs=2,
        batch_size=24,
        schedule=Schedule(),
        progress=False,
        class_weights=(0.5, 1.0, 3.0),
        optimizer=OptimizerConfig(name="sgd", lr=0.5),
    )
    small = nn.Linear(6, 3)
    large = nn.Linear(6, 3)
    large.load_state_dict(small.state_dict())
    one = Trainer(large, base).fit(weighted)
    other = Trainer(small, replace(base, batch_size=8, gradient_accumulation_steps=3)).fit(weighted)
    assert one.state.step == other.state.step == 6
    torch.testing.assert_close(small.weight, large.weight, rtol=1e-5, atol=1e-6)
    assert [row.train_loss for row in one.history] == pytest.approx(
        [row.train_loss for row in other.history], rel=1e-5
    )


def test_the_loss_is_the_weighted_mean() -> None:
    """With a rate of zero the row of an epoch is sum(w l) / sum(w), by NumPy."""
    data = examples()
    weights = torch.rand(61)
    by_class = (0.5, 1.0, 3.0)
    model = nn.Linear(6, 3)
    config = replace(CONFIG, epochs=1, class_weights=by_class, optimizer=OptimizerConfig(lr=0.0))
    result = Trainer(model, config).fit(LabeledTensors(data.inputs, data.targets, weights=weights))
    with torch.no_grad():
        logits = model(data.inputs).double().numpy()
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(61), data.targets.numpy()]
    w = weights.double().numpy() * np.array(by_class)[data.targets.numpy()]
    assert result.history[0].train_loss == pytest.approx((w * losses).sum() / w.sum(), rel=1e-6)


def test_the_gradient_norm_is_that_of_float64() -> None:
    """Of 800,800 numbers, by NumPy; sums of as many squares in float32 are off by some 1e-5."""
    torch.manual_seed(0)
    model, other = nn.Linear(1000, 800), nn.Linear(1000, 800)
    other.load_state_dict(model.state_dict())
    inputs, targets = torch.randn(64, 1000), torch.randint(0, 800, (64,))
    config = replace(CONFIG, epochs=1, batch_size=64)
    result = Trainer(model, config).fit(LabeledTensors(inputs, targets))
    torch.autograd.backward(nn.functional.cross_entropy(other(inputs), targets))
    squares = [
        np.square(p.grad.double().numpy()).sum() for p in other.parameters() if p.grad is not None
    ]
    assert result.history[0].grad_norm == pytest.approx(np.sqrt(np.sum(squares)), rel=2e-4)


def test_a_trainer_can_be_copied_and_old_gradients_do_no_harm() -> None:
    data = examples()
    trained = []
    for is_stale in (False, True):
        model = MLP(
            6, (9,), 3, norm="layer", input_dropout=0.1, generator=torch.Generator().manual_seed(0)
        )
        if is_stale:
            torch.autograd.backward(model(data.inputs).sum())
        trainer = Trainer(model, CONFIG)
        trainer.fit(data)
        trained.append(copy.deepcopy(trainer).model.state_dict())
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


def test_the_norm_of_half_precision_does_not_overflow() -> None:
    ones = torch.ones(100_000, dtype=torch.float16)
    assert float(_norm([ones])) == pytest.approx(316.25, rel=1e-3)
