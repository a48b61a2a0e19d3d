"""Tensors cut into blocks: nothing lost, and the same results."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from mlpkit.training.optim import EagerAdamW, _eager_optimizers, blocks
from mlpkit.training.optim._blocks import cut

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SHAPES = [(512, 784), (512,), (256, 512), (256,), (10, 256), (10,)]


def tensors(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_the_parts_are_the_whole_in_order() -> None:
    whole = tensors()
    parts = cut(whole)
    assert len(whole) < len(parts) <= 72
    assert torch.equal(torch.cat(parts), torch.cat([each.flatten() for each in whole]))
    parts[-1].fill_(7.0)
    assert torch.equal(whole[-1], torch.full((10,), 7.0))
    assert all(part.storage_offset() % 4 == 0 for part in parts)


@pytest.mark.parametrize(
    "whole",
    [
        [torch.zeros(3)] * 72,
        [torch.zeros(40, 50).t()],
        [torch.zeros(72 * 65_536)],
        [],
    ],
    ids=["many", "not contiguous", "large", "none"],
)
def test_what_gains_nothing_stays_whole(whole: list[Tensor]) -> None:
    assert cut(whole) is whole


def test_outside_a_capture_nothing_is_cut() -> None:
    whole = tensors()
    assert all(one is other for one, other in zip(blocks(whole), whole, strict=True))
    assert blocks([]) == []


def test_adamw_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of different weight decay, and steps that are not the same for all parameters."""
    monkeypatch.setattr(_eager_optimizers, "blocks", cut)
    trained = []
    for kind in (AdamW, EagerAdamW):
        parameters = [each.requires_grad_() for each in tensors()]
        groups = [
            {"params": parameters[::2], "weight_decay": 0.1},
            {"params": parameters[1::2], "weight_decay": 0.0},
        ]
        optimizer = kind(groups, lr=0.01, fused=True)
        for step in range(4):
            for number, (parameter, grad) in enumerate(
                zip(parameters, tensors(step + 1), strict=True)
            ):
                parameter.grad = None if (number, step) == (2, 1) else grad
            optimizer.step()
        trained.append(parameters)
    # On a CPU the end of a tensor is computed without vector instructions, and rounded otherwise.
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@needs_cuda
def test_within_a_capture_they_are() -> None:
    whole = [each.cuda() for each in tensors()]
    assert len(blocks(whole)) == len(whole)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        parts = blocks(whole)
        torch._foreach_add_(parts, 1.0)
    graph.replay()
    assert len(parts) > len(whole)
    for one, other in zip(whole, tensors(), strict=True):
        assert torch.equal(one.cpu(), other + 1.0)
