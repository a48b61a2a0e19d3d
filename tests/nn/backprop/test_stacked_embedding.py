"""StackedEmbedding against autograd for the embedding of each network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import FeatureEmbedding, NumberEmbedding
from mlpkit.nn.backprop._stacked_embedding import StackedEmbedding

K = 3
COLUMNS = {
    "numbers": (0, 0, 0, 0),
    "one number": (0,),
    "all kinds": (0, 20, 3, 0, 2, 50),
    "few categories": (3, 2),
    "many categories": (30, 12),
}


def table(counts: tuple[int, ...], *lead: int) -> Tensor:
    """Return rows with unknown codes and numbers beyond the edges."""
    generator = torch.Generator().manual_seed(len(lead))
    columns = [
        torch.randint(-1, count + 1, lead, generator=generator).float()
        if count
        else 3 * torch.randn(lead, generator=generator)
        for count in counts
    ]
    return torch.stack(columns, -1)


def embeddings(
    counts: tuple[int, ...], numbers: NumberEmbedding = "piecewise_linear"
) -> list[FeatureEmbedding]:
    """Return embeddings with the same statistics and other parameters."""
    first = FeatureEmbedding(table(counts, 40), counts, numbers=numbers)
    found = [copy.deepcopy(first) for _ in range(K)]
    for number, embedding in enumerate(found):
        generator = torch.Generator().manual_seed(number)
        for parameter in embedding.parameters():
            nn.init.normal_(parameter, generator=generator)
    return found


def stacks_of(models: list[FeatureEmbedding]) -> dict[nn.Parameter, nn.Parameter]:
    each = zip(*(model.parameters() for model in models), strict=True)
    return {same[0]: nn.Parameter(torch.stack(same).detach()) for same in each}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("numbers", ["piecewise_linear", "none"])
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_autograd_for_each_network(
    columns: str, numbers: NumberEmbedding, dtype: torch.dtype, *, shared: bool
) -> None:
    counts = COLUMNS[columns]
    models = [model.to(dtype) for model in embeddings(counts, numbers)]
    stacks = stacks_of(models)
    assert StackedEmbedding.supports(models[0], stacks)
    passes = StackedEmbedding(models[0], stacks, shared=shared)
    for rows in (11, 4):  # the second batch is short
        x = table(counts, rows) if shared else table(counts, K, rows)
        outputs = passes.forward(x).clone()
        grad = torch.randn(outputs.shape, dtype=dtype)
        passes.backward(grad)
        for k, model in enumerate(models):
            wanted = model(x if shared else x[k])
            torch.testing.assert_close(outputs[k], wanted, rtol=1e-5, atol=1e-5)
            gradients = torch.autograd.grad(wanted, list(model.parameters()), grad[k])
            for stack, gradient in zip(stacks.values(), gradients, strict=True):
                assert stack.grad is not None
                assert stack.grad.stride() == stack.stride()  # the fused optimizers require it
                torch.testing.assert_close(stack.grad[k], gradient, rtol=1e-4, atol=1e-4)


def test_unsupported_embeddings_are_left_to_autograd() -> None:
    class Own(FeatureEmbedding):
        pass

    periodic = embeddings((0, 3), "periodic")[0]
    own = Own(table((0, 3), 9), (0, 3))
    replaced, of_scaling, frozen = embeddings((0, 3))
    replaced.forward = lambda x: x  # type: ignore[method-assign]
    of_scaling.parts[1] = nn.Identity()
    for model in (periodic, own, replaced, of_scaling):
        assert not StackedEmbedding.supports(model, stacks_of([model]))
    stacks = stacks_of([frozen])
    assert StackedEmbedding.supports(frozen, stacks)
    del stacks[frozen.scaling.weight]
    assert not StackedEmbedding.supports(frozen, stacks)
