"""What the contenders on torch share: the network, the resident tensors, the accuracy."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import _mnist
from benchmarks.contenders import Workload


class Resident(NamedTuple):
    """Normalized float32 images and int64 labels, all in memory."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor


def resident(workload: Workload) -> Resident:
    """Read and normalize MNIST."""
    data = _mnist.read(workload.examples)
    return Resident(
        torch.from_numpy(_mnist.normalized(data.train_images)),
        torch.from_numpy(data.train_labels),
        torch.from_numpy(_mnist.normalized(data.test_images)),
        torch.from_numpy(data.test_labels),
    )


def network(workload: Workload, seed: int) -> nn.Sequential:
    """Return the network as one writes it by hand, with torch's own initial weights."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(workload.widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return the fraction classified rightly."""
    model.eval()
    return float((model(inputs).argmax(1) == targets).double().mean())
