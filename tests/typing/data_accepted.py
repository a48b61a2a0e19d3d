"""Uses of mlpkit.data that a type checker accepts, with the inferred types; never run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from mlpkit.data import (
    Augmentation,
    Batch,
    Batches,
    Compose,
    DatasetName,
    LabeledTensors,
    RandomAffine,
    RandomElastic,
    RandomErasing,
    SetInfo,
    Splits,
    avg_pool,
    center_digit,
    digits,
    emnist,
    info,
    load,
    mnist,
    read_idx,
    write_idx,
)

x = torch.zeros(8, 28, 28, dtype=torch.uint8)
y = torch.zeros(8, dtype=torch.int64)

# Examples in memory.
data = LabeledTensors(x, y)
LabeledTensors(x, y, ("a", "b"))
LabeledTensors(x, y, classes=("a", "b"), weights=torch.ones(8))
assert_type(data.inputs, Tensor)
assert_type(data.targets, Tensor)
assert_type(data.classes, tuple[str, ...] | None)
assert_type(data.weights, Tensor | None)
assert_type(data.num_classes, int | None)
assert_type(data.class_counts, Tensor)
assert_type(data.device, torch.device)
assert_type(data.fingerprint, str)
assert_type(len(data), int)
assert_type(data.to("cpu"), LabeledTensors)
assert_type(data.to(torch.device("cpu")), LabeledTensors)
assert_type(data.as_torch_dataset(), TensorDataset)

# Parts of it: indices as a list, a tensor or an array; sizes as counts or fractions.
assert_type(data.subset([0, 1]), LabeledTensors)
data.subset(range(3))
data.subset(torch.tensor([0, 1]))
data.subset(np.array([0, 1]))
assert_type(data.split([6, 2], seed=0), tuple[LabeledTensors, ...])
data.split((0.75, 0.25), seed=0)

# Other sources.
assert_type(LabeledTensors.from_numpy(np.zeros((8, 4)), np.zeros(8, dtype=int)), LabeledTensors)
assert_type(LabeledTensors.from_dataset(data.as_torch_dataset()), LabeledTensors)
assert_type(LabeledTensors.from_folder("images"), LabeledTensors)
LabeledTensors.from_folder(Path("images"))

# Batches.
batches = Batches(data, 4, seed=1)
assert_type(batches, Batches)
assert_type(len(batches), int)
assert_type(batches.num_examples, int)
assert_type(batches.epoch(0), Iterator[Batch])
for batch in batches.epoch(0):
    assert_type(batch.inputs, Tensor)
    assert_type(batch.targets, Tensor)
    assert_type(batch.weights, Tensor | None)
    assert_type(batch.indices, Tensor)
assert_type(data.batches(4), Batches)

# Augmentations: of the package, composed, or of a user.
Batches(data, 4, augment=RandomAffine(degrees=10))
augment = Compose([RandomAffine(), RandomElastic(), RandomErasing()])
Batches(data, 4, augment=augment)
as_augmentation: Augmentation = augment

# Data sets.
assert_type(digits(), Splits)
assert_type(mnist(), Splits)
mnist("data")
mnist(Path("data"))
assert_type(emnist("letters"), Splits)
assert_type(load("mnist"), Splits)
assert_type(info("mnist"), SetInfo)
name: DatasetName = "fashion_mnist"
load(name)
train, val, test = digits()
assert_type(train, LabeledTensors)
assert_type(digits().val, LabeledTensors | None)

# Images and files.
assert_type(avg_pool(data, 2), LabeledTensors)
assert_type(center_digit(x), Tensor)
assert_type(read_idx("train-images-idx3-ubyte"), Tensor)
write_idx("images", x)
