"""Hand-written gradients are used where a model has them, and are autograd's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.training.scenario import differences, examples
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit._protocols import find_backpropagation
from mlpkit.data import Batches, LabeledTensors
from mlpkit.errors import NonFiniteError
from mlpkit.nn import MLP, HiddenLayer
from mlpkit.nn.backprop import Backpropagation
from mlpkit.training import (
    BatchLike,
    Callback,
    CrossEntropy,
    EpochRow,
    MeanSquaredError,
    Mixup,
    Objective,
    OptimizerConfig,
    Precision,
    StepInfo,
    Trainer,
    TrainerConfig,
    build_optimizer,
)
from mlpkit.training._engine import Engine
from mlpkit.training._nonfinite import FiniteGuard
from mlpkit.training.fast import FastEngine

CPU = torch.device("cpu")
CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False, device="cpu")


class CountingMLP(MLP):
    """An MLP that counts its forward passes, and whose hand-written gradients can be disabled."""

    has_passes = True
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@find_backpropagation.register
def _(model: CountingMLP) -> Backpropagation | None:
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
def test_hand_written_gradients_train_to_the_same_bits(
    precision: Precision, settings: dict[str, Any]
) -> None:
    data = examples()
    config = replace(CONFIG, precision=precision, **settings)
    trained = []
    for has_passes in (True, False):
        generator = torch.Generator().manual_seed(0)
        model = CountingMLP(6, (9, 8), 3, activation="prelu", dropout=0.2, generator=generator)
        model.has_passes = has_passes
        result = Trainer(model, config).fit(data)
        assert model.calls == (0 if has_passes else result.state.step)
        trained.append((model, result.history))
    (one, own), (other, graph) = trained
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert [row.train_loss for row in own] == [row.train_loss for row in graph]
    assert [row.grad_norm for row in own] == [row.grad_norm for row in graph]


class Poison(Callback):
    """Makes a bias NaN within the run, where ReLU could hide it."""

    def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:
        if info.step == 2:
            bias = trainer.model.get_parameter("layers.1.linear.bias")
            bias.data[3] = torch.nan


def test_relu_hides_no_nan() -> None:
    """A ReLU that returned 0 for NaN would hide a dead unit."""
    torch.manual_seed(0)
    data = LabeledTensors(torch.randn(64, 70), torch.randint(0, 5, (64,)))
    model = MLP(70, (72, 72, 72), 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(NonFiniteError) as caught:
        Trainer(model, CONFIG, callbacks=[Poison()]).fit(data)
    assert caught.value.step == 3
    assert math.isnan(caught.value.loss)


def test_float64_and_weights_of_another_type() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(50, 6), torch.randint(0, 3, (50,))
    weights = torch.rand(50).double()
    loader = DataLoader(TensorDataset(inputs.double(), targets, weights), 10)
    trained = []
    for has_passes in (True, False):
        model = CountingMLP(6, (9,), 3, generator=torch.Generator().manual_seed(0)).double()
        model.has_passes = has_passes
        Trainer(model, CONFIG).fit(loader)
        trained.append(model.state_dict())
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name
    single = DataLoader(TensorDataset(inputs, targets, weights), 10)
    Trainer(MLP(6, (9,), 3), CONFIG).fit(single)


def engine(kind: type[Engine], model: nn.Module, objective: Objective, **options: Any) -> Engine:
    """Return an engine of plain gradient descent."""
    config = OptimizerConfig(name="sgd", lr=0.1, momentum=0.0)
    settings = {"class_weights": None, "clip_grad_norm": None, "precision": "fp32", **options}
    guard = FiniteGuard(CPU, deferred=False)
    return kind(model, objective, build_optimizer(model, config), guard, device=CPU, **settings)


def absolute(model: nn.Module, batch: BatchLike) -> Tensor:
    """Return a custom objective, which is differentiated by autograd."""
    losses: Tensor = model(batch.inputs).abs().mean(dim=1) * batch.targets
    return losses


def batches(number: int = 1) -> Sequence[BatchLike]:
    """Return the microbatches of a step."""
    return list(Batches(examples(), 8).epoch(0))[:number]


@pytest.mark.parametrize(
    ("objective", "options", "number"),
    [
        (absolute, {}, 1),
        (Mixup(0.2), {}, 1),
        (CrossEntropy(), {}, 2),
        (CrossEntropy(), {"precision": "fp16"}, 1),
    ],
    ids=["custom objective", "mixup", "microbatches", "fp16"],
)
def test_other_steps_are_left_to_autograd(
    objective: Objective, options: dict[str, Any], number: int
) -> None:
    """The model is called, and the weights are those of the plain engine, bit by bit."""
    trained = []
    for kind in (FastEngine, Engine):
        torch.manual_seed(0)
        model = CountingMLP(6, (9,), 3, generator=torch.Generator().manual_seed(0))
        one = engine(kind, model, objective, **options)
        one.begin_epoch()
        one.step(0, batches(number))
        one.end()
        assert model.calls >= number
        trained.append(model.state_dict())
    assert differences(trained[0], trained[1]) == []


@pytest.mark.parametrize("objective", [CrossEntropy(), CrossEntropy(label_smoothing=0.1)])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_step_is_that_of_the_plain_engine(objective: CrossEntropy, *, weighted: bool) -> None:
    """Without a call of the model: loss, total weight, gradient norm and weights."""
    data = examples()
    weights = torch.rand(61) if weighted else None
    source = Batches(LabeledTensors(data.inputs, data.targets, weights=weights), 8)
    fast = CountingMLP(6, (9,), 3, generator=torch.Generator().manual_seed(0))
    plain = CountingMLP(6, (9,), 3, generator=torch.Generator().manual_seed(0))
    class_weights = torch.tensor([0.5, 1.0, 3.0])
    one = engine(FastEngine, fast, objective, class_weights=class_weights)
    other = engine(Engine, plain, objective, class_weights=class_weights)
    for each in (one, other):
        each.begin_epoch()
    for step, batch in enumerate(source.epoch(0)):
        found, expected = one.step(step, [batch]), other.step(step, [batch])
        torch.testing.assert_close(found.loss, expected.loss)
        torch.testing.assert_close(found.weight, expected.weight)
        torch.testing.assert_close(found.grad_norm, expected.grad_norm)
    assert (fast.calls, plain.calls) == (0, 8)
    torch.testing.assert_close(fast.state_dict(), plain.state_dict())


def test_a_regression_has_hand_written_gradients_too() -> None:
    fast = CountingMLP(6, (9,), 2, generator=torch.Generator().manual_seed(0))
    plain = CountingMLP(6, (9,), 2, generator=torch.Generator().manual_seed(0))
    data = LabeledTensors(torch.randn(16, 6), torch.randn(16, 2))
    for gradients, model in (("auto", fast), ("autograd", plain)):
        config = replace(CONFIG, gradients=gradients)  # type: ignore[arg-type]  # one of two
        Trainer(model, config, objective=MeanSquaredError()).fit(data)
    assert (fast.calls, plain.calls) == (0, 6)
    torch.testing.assert_close(fast.state_dict(), plain.state_dict())


def test_a_hook_that_is_added_within_the_run_is_called() -> None:
    """From the second epoch on, in every step; hand-written gradients would not call it."""
    seen: list[int] = []

    class AddHook(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
            if trainer.state.epoch == 1:
                trainer.model.register_forward_hook(lambda *_: seen.append(trainer.state.step))

    model = MLP(6, (9,), 3, generator=torch.Generator().manual_seed(0))
    Trainer(model, CONFIG, callbacks=[AddHook()]).fit(examples())
    assert seen == list(range(8, 24))


def test_the_model_is_asked_again_in_each_epoch() -> None:
    """Hand-written gradients that become unavailable after the first epoch are not used."""

    class Disable(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
            assert isinstance(trainer.model, CountingMLP)
            trainer.model.has_passes = False

    model = CountingMLP(6, (9,), 3)
    model.has_passes = True  # the number of attributes stays the same
    Trainer(model, CONFIG, callbacks=[Disable()]).fit(examples())
    assert model.calls == 16


def _replace_activation(model: MLP) -> None:
    model.layers[0].activation = nn.Tanh()


def _change_slope(model: MLP) -> None:
    activation = model.layers[0].activation
    assert isinstance(activation, nn.LeakyReLU)
    activation.negative_slope = 0.9


def _replace_forward(model: MLP) -> None:
    layer = model.layers[0]
    layer.forward = lambda x: 2.0 * HiddenLayer.forward(layer, x)  # type: ignore[method-assign]


@pytest.mark.parametrize("change", [_replace_activation, _change_slope, _replace_forward])
def test_a_network_that_is_changed_between_two_epochs(change: Callable[[MLP], None]) -> None:
    """The hand-written gradients are those of the changed network."""

    class Change(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
            if row.epoch == 0:
                assert isinstance(trainer.model, MLP)
                change(trainer.model)

    trained = []
    for gradients in ("auto", "autograd"):
        config = replace(CONFIG, gradients=gradients)
        generator = torch.Generator().manual_seed(0)
        model = MLP(6, (9,), 3, activation="leaky_relu", generator=generator)
        Trainer(model, config, callbacks=[Change()]).fit(examples())
        trained.append(model.state_dict())
    torch.testing.assert_close(*trained)


def test_the_passes_are_given_back_at_the_end() -> None:
    """Their memory is freed, and a step afterwards goes through the model."""
    model = CountingMLP(6, (9,), 3)
    one = engine(FastEngine, model, CrossEntropy())
    one.begin_epoch()
    one.step(0, batches())
    assert model.calls == 0
    one.end()
    one.step(1, batches())
    assert model.calls == 1
