"""The hand-written gradients of a classifier of raw inputs are autograd's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.models.kinds import KINDS, KindName, make_model, make_tabular, rows, targets
from torch import Tensor, nn

from mlpkit import MLP, MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit._protocols import find_backpropagation, find_stacked_backpropagation
from mlpkit.data import LabeledTensors
from mlpkit.training import Trainer, TrainerConfig, fit_many

K = 3


def classifier(seed: int = 0, *, offset: float = 0.0, **options: Any) -> SoftmaxClassifier:
    """Return a classifier of 4 x 3 images with a mean and std for each pixel."""
    generator = torch.Generator().manual_seed(seed)
    network = MLP(12, (8, 8), 3, generator=generator, **options)
    return SoftmaxClassifier(
        network,
        classes=("a", "b", "c"),
        mean=torch.linspace(20, 40, 12) + offset,
        std=torch.linspace(50, 90, 12),
        input_shape=(4, 3),
    )


def images(*shape: int) -> Tensor:
    """Return random uint8 images."""
    return torch.randint(0, 256, (*shape, 4, 3), dtype=torch.uint8)


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "batch"}, {"norm": "layer"}, {"activation": "prelu"}, {"residual": True}],
    ids=str,
)
def test_outputs_and_gradients_are_those_of_autograd(options: dict[str, Any]) -> None:
    """From bytes and from floats, with the preprocessing."""
    far = images(9).double() + 1.7e9  # float32 cannot represent it
    for inputs in (images(9), images(9).float(), images(9)[:, None], far, far.long()):
        offset = 1.7e9 if inputs.dtype in (torch.float64, torch.int64) else 0.0
        model, other = (classifier(offset=offset, **options) for _ in range(2))
        passes = find_backpropagation(model)
        assert passes is not None
        assert passes.can_run(inputs)
        upstream = torch.randn(9, 3)
        expected = other(inputs)
        torch.autograd.backward(expected, upstream)
        found = passes.forward(inputs)
        torch.testing.assert_close(found, expected.detach())
        passes.backward(upstream)
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            assert one.grad is not None
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_many_classifiers_have_the_gradients_of_each(*, shared: bool) -> None:
    models = [classifier(seed, offset=0.0 if shared else 1.7e9) for seed in range(K)]
    columns = zip(*(model.parameters() for model in models), strict=True)
    stacked = [torch.nn.Parameter(torch.stack([p.detach() for p in column])) for column in columns]
    stacks = dict(zip(models[0].parameters(), stacked, strict=True))
    passes = find_stacked_backpropagation(models[0], stacks, shared=shared)
    assert passes is not None
    inputs = images(9) if shared else images(K, 9)
    if not shared:
        inputs = inputs.flatten(2).double() + 1.7e9
    assert passes.can_run(inputs)
    found = passes.forward(inputs)
    upstream = torch.randn(K, 9, 3)
    passes.backward(upstream)
    for k, model in enumerate(models):
        expected = model(inputs if shared else inputs[k])
        torch.testing.assert_close(found[k], expected.detach())
        torch.autograd.backward(expected, upstream[k])
        for parameter, stack in zip(model.parameters(), stacked, strict=True):
            assert stack.grad is not None
            torch.testing.assert_close(stack.grad[k], parameter.grad, rtol=1e-5, atol=1e-6)


class Forwarding(torch.nn.Module):
    """A wrapper that forwards missing attributes and even its class, as some proxies do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = classifier()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    @property  # type: ignore[misc]  # read-only
    def __class__(self) -> Any:
        return SoftmaxClassifier

    def forward(self, x: Tensor) -> Tensor:
        """Return something else than the inner model."""
        outputs: Tensor = -self.inner(x)
        return outputs


def test_a_classifier_that_computes_something_else_is_left_to_autograd() -> None:
    """A subclass, a forward set on the object, a hook, a wrapper, a compiled model."""

    class Own(SoftmaxClassifier):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    own = Own(MLP(12, (), 3), classes=("a", "b", "c"))
    replaced, standardized, hooked = classifier(), classifier(), classifier()
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    standardized.standardize = lambda x: x.flatten(1).float()  # type: ignore[method-assign]
    for model in (own, replaced, standardized):
        assert find_backpropagation(model) is None
        stacks = {p: torch.nn.Parameter(torch.stack([p.detach()] * K)) for p in model.parameters()}
        assert find_stacked_backpropagation(model, stacks, shared=True) is None
    inner = classifier()
    inner.network = torch.nn.Sequential(inner.network)  # type: ignore[assignment]  # no MLP
    compiled = classifier()
    compiled.compile(backend="eager")
    by_torch: Any = torch.compile(classifier(), backend="eager")
    others: list[Any] = [by_torch, inner, compiled, Forwarding()]
    for other in others:
        assert find_backpropagation(other) is None
        stacks = {p: torch.nn.Parameter(torch.stack([p.detach()] * K)) for p in other.parameters()}
        assert find_stacked_backpropagation(other, stacks, shared=True) is None
    hooked.register_forward_hook(lambda *_: None)
    passes = find_backpropagation(hooked)
    assert passes is None or not passes.can_run(images(9))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_outputs_and_gradients_of_autograd(kind: KindName) -> None:
    """Those of a regressor are in the units of the targets; also under autocast."""
    for precision in (torch.float32, torch.bfloat16):
        model, other = (make_model(kind).train() for _ in range(2))
        passes = find_backpropagation(model)
        assert passes is not None
        inputs = images(9)
        assert passes.can_run(inputs)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            expected = other(inputs)
            found = passes.forward(inputs)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            rtol, atol = (1e-5, 1e-4) if precision is torch.float32 else (0.02, 2.0)
            torch.testing.assert_close(found, expected.detach(), rtol=rtol, atol=atol)
            upstream = torch.randn_like(expected)
            torch.autograd.backward(expected, upstream)
            passes.backward(upstream)
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            assert one.grad is not None
            assert two.grad is not None
            error = (one.grad - two.grad).norm() / two.grad.norm()
            assert float(error) < (1e-5 if precision is torch.float32 else 0.05)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_many_models_of_each_kind_have_the_gradients_of_each(
    kind: KindName, *, shared: bool
) -> None:
    models = [make_model(kind).train() for _ in range(K)]
    for number, model in enumerate(models):
        for parameter in model.parameters():
            torch.manual_seed(number)
            nn.init.normal_(parameter, std=0.5)
    columns = zip(*(model.parameters() for model in models), strict=True)
    stacked = [nn.Parameter(torch.stack([p.detach() for p in column])) for column in columns]
    stacks = dict(zip(models[0].parameters(), stacked, strict=True))
    passes = find_stacked_backpropagation(models[0], stacks, shared=shared)
    assert passes is not None
    inputs = images(9) if shared else images(K, 9)
    assert passes.can_run(inputs)
    found = passes.forward(inputs)
    upstream = torch.randn_like(found)
    passes.backward(upstream)
    for k, model in enumerate(models):
        expected = model(inputs if shared else inputs[k])
        torch.testing.assert_close(found[k], expected.detach(), rtol=1e-5, atol=1e-3)
        torch.autograd.backward(expected, upstream[k])
        for parameter, stack in zip(model.parameters(), stacked, strict=True):
            assert stack.grad is not None
            assert parameter.grad is not None
            error = (stack.grad[k] - parameter.grad).norm() / parameter.grad.norm()
            assert float(error) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_many_models_are_trained_as_each_alone(kind: KindName) -> None:
    data = LabeledTensors(images(40), targets(kind, 40))
    config = TrainerConfig(epochs=2, batch_size=16, progress=False)
    together, alone = ([make_model(kind).train() for _ in range(2)] for _ in range(2))
    objective = together[0].choose_objective()
    together[1].predict(images(2))  # what has been predicted makes no difference
    fit_many(together, data, config=config, objective=objective)
    for model, other in zip(together, alone, strict=True):
        Trainer(other, config, objective=objective).fit(data)
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_a_subclass_of_another_kind_is_left_to_autograd() -> None:
    class OwnRegressor(Regressor):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    class OwnLabels(MultilabelClassifier):
        pass

    replaced = Regressor(MLP(12, (), 1))
    replaced._convert_outputs = lambda outputs: outputs  # type: ignore[method-assign]
    for model in (
        OwnRegressor(MLP(12, (), 1)),
        OwnLabels(MLP(12, (), 1), classes=("a",)),
        replaced,
    ):
        assert find_backpropagation(model) is None


@pytest.mark.parametrize("kind", KINDS)
def test_only_several_tabular_networks_have_passes(kind: KindName) -> None:
    """fit_many equals Trainer, for each learning rate of the layers."""
    model = make_tabular(kind)
    assert find_backpropagation(model) is None
    stacks = {value: nn.Parameter(value[None]) for value in model.parameters()}
    assert find_stacked_backpropagation(model, stacks, shared=True) is not None
    del stacks[next(iter(stacks))]
    assert find_stacked_backpropagation(model, stacks, shared=True) is None
    data = LabeledTensors(rows(), targets(kind, 40))
    config = TrainerConfig(epochs=2, batch_size=8, device="cpu", progress=False)
    together = [make_tabular(kind, seed) for seed in range(2)]
    fit_many(together, data, config=config)
    alone = make_tabular(kind, 1)
    Trainer(alone, config).fit(data)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together[1].state_dict()[name], value, rtol=1e-4, atol=1e-5)
