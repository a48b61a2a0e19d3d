"""Uses of mlpkit.data that a type checker rejects; never run.

Each comment is an assertion: mypy reports one that is not needed (warn_unused_ignores).
"""

from __future__ import annotations

import numpy as np
import torch

from mlpkit.data import (
    Batches,
    Compose,
    LabeledTensors,
    RandomAffine,
    avg_pool,
    digits,
    emnist,
    load,
)

x = torch.zeros(8, 28, 28, dtype=torch.uint8)
y = torch.zeros(8, dtype=torch.int64)
data = LabeledTensors(x, y)

# Examples: tensors, and nothing else by accident.
LabeledTensors(x)  # type: ignore[call-arg]
LabeledTensors(np.zeros((8, 4)), np.zeros(8))  # type: ignore[arg-type]
LabeledTensors(x, [0] * 8)  # type: ignore[arg-type]
LabeledTensors(x, y, labels=("a", "b"))  # type: ignore[call-arg]
LabeledTensors(x, y, 10)  # type: ignore[arg-type]
LabeledTensors.from_numpy(np.zeros((8, 4)))  # type: ignore[call-arg]
data.inputs = x  # type: ignore[misc]
data.targets()  # type: ignore[operator]
data.subset(0)  # type: ignore[arg-type]
data.subset([0.5])  # type: ignore[list-item]
data.split(0.8)  # type: ignore[arg-type]
data.to(0)  # type: ignore[arg-type]

# Batches: a size, options by keyword.
Batches(data)  # type: ignore[call-arg]
Batches(x, 4)  # type: ignore[arg-type]
Batches(data, "4")  # type: ignore[arg-type]
Batches(data, 4, shuffle="yes")  # type: ignore[arg-type]
Batches(data, 4, suffle=True)  # type: ignore[call-arg]
Batches(data, 4, augment="affine")  # type: ignore[arg-type]
for batch in Batches(data, 4).epoch(0):
    batch.labels  # type: ignore[attr-defined]  # noqa: B018
    batch.weights.sum()  # type: ignore[union-attr]

# Augmentations.
Compose(RandomAffine())  # type: ignore[arg-type]
Compose([RandomAffine])  # type: ignore[list-item]
RandomAffine(degrees="10")  # type: ignore[arg-type]
RandomAffine(angle=10)  # type: ignore[call-arg]

# Data sets: a misspelled name, and a split that may be None.
load("minst")  # type: ignore[arg-type]
emnist("letter")  # type: ignore[arg-type]
len(digits().val)  # type: ignore[arg-type]
digits().valid  # type: ignore[attr-defined]  # noqa: B018
digits().train = data  # type: ignore[misc]
avg_pool(x, 2)  # type: ignore[arg-type]
