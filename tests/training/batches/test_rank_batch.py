"""A part of a batch on the device of the model."""

from __future__ import annotations

import torch

from mlpkit._protocols import Batch
from mlpkit.training.batches import RankBatch, num_examples, on_device


def test_a_part_knows_the_size_of_its_batch_on_every_device() -> None:
    """Moving it keeps the number of examples of all parts, and every tensor is moved."""
    rows = torch.arange(3)
    part = RankBatch(torch.rand(3, 2), rows, torch.ones(3), rows, 8)
    moved = on_device(part, torch.device("meta"))
    assert (num_examples(part), num_examples(moved)) == (8, 8)
    tensors = (moved.inputs, moved.targets, moved.weights, moved.indices)
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in tensors)


def test_a_whole_batch_is_counted_by_its_indices() -> None:
    rows = torch.arange(5)
    assert num_examples(Batch(torch.rand(5, 2), rows, None, rows)) == 5
