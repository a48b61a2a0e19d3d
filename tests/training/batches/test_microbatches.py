"""The batches of one optimizer step, on the device of the model."""

from __future__ import annotations

import pytest
import torch
from tests.training.scenario import examples

from mlpkit.data import Batch, Batches
from mlpkit.training.batches import LazyBatch, microbatches, on_device

CPU, META = torch.device("cpu"), torch.device("meta")


def test_microbatches_are_so_many_batches_and_then_the_rest() -> None:
    batches = Batches(examples(61), 8)
    sizes = [len(window) for window in microbatches(batches.epoch(0), 3, CPU)]
    assert sizes == [3, 3, 2]


def test_every_batch_comes_once_and_in_order() -> None:
    batches = Batches(examples(61), 8, seed=2)
    windows = microbatches(batches.epoch(1), 3, CPU)
    found = [batch.indices.tolist() for window in windows for batch in window]
    assert found == [batch.indices.tolist() for batch in batches.epoch(1)]


@pytest.mark.parametrize("weights", [None, torch.ones(4)])
def test_all_tensors_of_a_batch_are_moved(weights: torch.Tensor | None) -> None:
    """Torch's meta device stands for an accelerator."""
    batch = Batch(torch.zeros(4, 2), torch.zeros(4), weights, torch.arange(4))
    moved = on_device(batch, META)
    found = [moved.inputs, moved.targets, moved.indices]
    found += [] if moved.weights is None else [moved.weights]
    assert len(found) == (3 if weights is None else 4)
    assert all(tensor.device == META for tensor in found)
    assert [tensor.shape for tensor in found[:2]] == [batch.inputs.shape, batch.targets.shape]


def test_what_is_there_already_is_not_copied() -> None:
    """A batch on the device stays itself, and a lazy batch is not gathered."""
    source = Batches(examples(8), 8)
    (batch,) = source.epoch(0)
    assert on_device(batch, CPU) is batch
    lazy = LazyBatch(source, torch.arange(4), 0)
    assert on_device(lazy, META) is lazy


@pytest.mark.gpu
def test_a_batch_is_moved_to_the_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    device = torch.device("cuda")
    (window,) = microbatches(Batches(examples(8), 8).epoch(0), 1, device)
    assert window[0].inputs.device.type == window[0].indices.device.type == "cuda"
