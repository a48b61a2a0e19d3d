"""One step is one mean over all examples of its window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.scenario import examples
from torch import Tensor, nn

from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP, Backpropagation
from mlpkit.training import (
    OptimizerConfig,
    Precision,
    Trainer,
    TrainerConfig,
)

CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False)


def test_a_window_has_the_gradient_of_one_batch() -> None:
    """Accumulation is large-batch training, the short last window and all weights included."""
    data = examples()
    weighted = LabeledTensors(data.inputs, data.targets, weights=torch.rand(61) + 0.1)
    base = TrainerConfig(
        epochs=2,
        batch_size=24,
        progress=False,
        class_weights=(0.5, 1.0, 3.0),
        optimizer=OptimizerConfig(name="sgd", lr=0.5),
    )
    small = nn.Linear(6, 3)
    large = nn.Linear(6, 3)
    large.load_state_dict(small.state_dict())
    one = Trainer(large, base).fit(weighted)
    other = Trainer(small, replace(base, batch_size=8, accumulate=3)).fit(weighted)
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


class _CountingMLP(MLP):
    """An MLP whose own passes may be taken away."""

    has_passes = True
    calls = 0

    def backpropagation(self) -> Backpropagation | None:
        return Backpropagation(self, same_bits=True) if self.has_passes else None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"label_smoothing": 0.1, "clip_norm": 0.5},
        {"class_weights": (0.5, 1.0, 3.0)},
        {"optimizer": OptimizerConfig(name="sgd", lr=0.1)},
        {"optimizer": OptimizerConfig(name="muon", lr=0.01, weight_decay=0.1)},
    ],
    ids=str,
)
def test_passes_of_the_models_own_train_to_the_same_bits(
    precision: Precision, settings: dict[str, Any]
) -> None:
    data = examples()
    config = replace(CONFIG, precision=precision, **settings)
    trained = []
    for has_passes in (True, False):
        generator = torch.Generator().manual_seed(0)
        model = _CountingMLP(6, (9, 8), 3, activation="prelu", dropout=0.2, generator=generator)
        model.has_passes = has_passes
        result = Trainer(model, config).fit(data)
        assert model.calls == (0 if has_passes else result.state.step)
        trained.append((model, result.history))
    (one, own), (other, graph) = trained
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert [row.train_loss for row in own] == [row.train_loss for row in graph]
    assert [row.grad_norm for row in own] == [row.grad_norm for row in graph]


def test_the_gradient_norm_is_that_of_float64() -> None:
    """Of 800,800 numbers, by NumPy; torch.nn.utils.get_total_norm is off by 8e-5 here."""
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
    assert result.history[0].grad_norm == pytest.approx(np.sqrt(np.sum(squares)), rel=1e-5)
