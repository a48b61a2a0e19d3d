"""One step is one mean over all examples of its window."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.scenario import examples
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit._protocols import find_backpropagation
from mlpkit.data import LabeledTensors
from mlpkit.errors import NonFiniteError
from mlpkit.nn import MLP
from mlpkit.nn.backprop import Backpropagation
from mlpkit.training import (
    Callback,
    OptimizerConfig,
    Precision,
    StepInfo,
    Trainer,
    TrainerConfig,
)
from mlpkit.training._engine import _norm

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


class _CountingMLP(MLP):
    """An MLP whose own passes may be taken away."""

    has_passes = True
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@find_backpropagation.register
def _(model: _CountingMLP) -> Backpropagation | None:
    return Backpropagation(model, bit_exact=True) if model.has_passes else None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"label_smoothing": 0.1, "clip_grad_norm": 0.5},
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


class _Poison(Callback):
    """Makes a bias NaN in the middle of a training, where ReLU could hide it."""

    def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:
        if info.step == 2:
            bias = trainer.model.get_parameter("layers.1.linear.bias")
            bias.data[3] = torch.nan


def test_relu_hides_no_nan() -> None:
    """A ReLU that makes 0 of NaN would let the training go on around a dead unit."""
    torch.manual_seed(0)
    data = LabeledTensors(torch.randn(64, 70), torch.randint(0, 5, (64,)))
    model = MLP(70, (72, 72, 72), 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(NonFiniteError) as caught:
        Trainer(model, CONFIG, callbacks=[_Poison()]).fit(data)
    assert caught.value.step == 3
    assert math.isnan(caught.value.loss)


def test_float64_and_weights_of_another_type() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(50, 6), torch.randint(0, 3, (50,))
    weights = torch.rand(50).double()
    loader = DataLoader(TensorDataset(inputs.double(), targets, weights), 10)
    trained = []
    for has_passes in (True, False):
        model = _CountingMLP(6, (9,), 3, generator=torch.Generator().manual_seed(0)).double()
        model.has_passes = has_passes
        Trainer(model, CONFIG).fit(loader)
        trained.append(model.state_dict())
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name
    single = DataLoader(TensorDataset(inputs, targets, weights), 10)
    Trainer(MLP(6, (9,), 3), CONFIG).fit(single)


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
