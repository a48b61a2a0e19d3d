"""StackedTabularBackpropagation against autograd for each network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mlpkit._protocols import find_stacked_backpropagation
from mlpkit.nn import MLPOptions, TabularMLP
from mlpkit.nn.backprop import StackedTabularBackpropagation

pytestmark = pytest.mark.usefixtures("slow_mkl")

K = 3
COUNTS = (0, 20, 3, 0)


def rows(*lead: int) -> Tensor:
    numbers = torch.randn(*lead, 2)
    return torch.stack(
        [
            numbers[..., 0],
            torch.randint(20, lead).float(),
            torch.randint(3, lead).float(),
            numbers[..., 1],
        ],
        -1,
    )


def networks(**options: object) -> list[TabularMLP]:
    torch.manual_seed(0)
    inputs = rows(50)
    found = []
    for seed in range(K):
        generator = torch.Generator().manual_seed(seed)
        made = MLPOptions(**options)  # type: ignore[arg-type]  # the options of the cases below
        network = TabularMLP.for_data(inputs, COUNTS, (16, 8), 2, made, generator=generator)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)
        found.append(network)
    return found


def stacks_of(models: list[TabularMLP]) -> dict[nn.Parameter, nn.Parameter]:
    each = zip(*(model.parameters() for model in models), strict=True)
    return {same[0]: nn.Parameter(torch.stack(same).detach()) for same in each}


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "selu", "dropout": 0.15},
        {"activation": "mish", "dropout": 0.15, "input_dropout": 0.1},
        {"activation": "relu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("shared", [True, False])
def test_equals_autograd_for_each_network(options: dict[str, object], *, shared: bool) -> None:
    models = networks(**options)
    stacks = stacks_of(models)
    generators = [torch.Generator().manual_seed(10 + k) for k in range(K)]
    passes = find_stacked_backpropagation(models[0], stacks, shared=shared, generators=generators)
    assert isinstance(passes, StackedTabularBackpropagation)
    inputs = rows(9) if shared else rows(K, 9)
    assert passes.can_run(inputs)
    outputs = passes.forward(inputs).clone()
    grad = torch.randn(outputs.shape)
    passes.backward(grad)
    for k, model in enumerate(models):
        torch.manual_seed(10 + k)
        wanted = model(inputs if shared else inputs[k])
        torch.testing.assert_close(outputs[k], wanted, rtol=1e-4, atol=1e-4)
        gradients = torch.autograd.grad(wanted, list(model.parameters()), grad[k])
        for stack, gradient in zip(stacks.values(), gradients, strict=True):
            assert stack.grad is not None
            torch.testing.assert_close(stack.grad[k], gradient, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_inputs_are_preprocessed_for_each_network(*, shared: bool) -> None:
    models = networks()
    inputs = rows(9) if shared else rows(K, 9)
    passes = StackedTabularBackpropagation(
        models[0], stacks_of(models), shared=shared, preprocess=lambda x: x.flip(0)
    )
    found = passes.forward(inputs)
    for k, model in enumerate(models):
        own = inputs if shared else inputs[k]
        torch.testing.assert_close(found[k], model(own.flip(0)), rtol=1e-4, atol=1e-4)


def test_unsupported_networks_are_left_to_autograd() -> None:
    class Own(TabularMLP):
        pass

    def found(model: TabularMLP, *generators: torch.Generator) -> object:
        return find_stacked_backpropagation(
            model, stacks_of([model] * K), shared=True, generators=generators
        )

    plain, replaced, compiled = networks()
    assert found(plain) is not None
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    compiled.compile(backend="eager")
    dropping = networks(dropout=0.1)[0]
    for model in (Own(plain.embedding, plain.mlp), replaced, compiled, dropping):
        assert found(model) is None
    assert found(dropping, *(torch.Generator() for _ in range(K))) is not None


def test_can_run_only_if_the_result_equals_calling_the_networks() -> None:
    models = networks()
    shared, own = (
        StackedTabularBackpropagation(models[0], stacks_of(models), shared=one)
        for one in (True, False)
    )
    assert shared.can_run(rows(9))
    assert not own.can_run(rows(9))
    assert own.can_run(rows(K, 9))
    assert not shared.can_run(rows(K, 9))
    assert not shared.can_run(rows(9).requires_grad_())
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():
        assert not shared.can_run(rows(9))
    models[0].eval()
    assert not shared.can_run(rows(9))
