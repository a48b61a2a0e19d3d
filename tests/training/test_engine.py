"""One step is one mean over all examples of its window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.scenario import examples
from torch import nn

from mlpkit.data import LabeledTensors
from mlpkit.training import (
    OptimizerConfig,
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
