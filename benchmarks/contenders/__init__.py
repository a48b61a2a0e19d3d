"""Who is measured, each in a file of its own that only its worker process imports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, Protocol

IN_FEATURES = 784
OUT_FEATURES = 10
LR = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What every contender trains: ReLU layers with cross-entropy, by Adam, in float32.

    Attributes:
        batch_size: Examples in one step; the last step of an epoch takes what is left.
        hidden_features: Widths of the hidden layers.
        examples: How many of the 60,000 training images.
        epochs: Passes over them in one turn.
    """

    batch_size: int = 128
    hidden_features: tuple[int, ...] = (512, 256)
    examples: int = 60_000
    epochs: int = 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Return every width from the input to the logits."""
        return (IN_FEATURES, *self.hidden_features, OUT_FEATURES)

    @property
    def num_parameters(self) -> int:
        """Return the number of weights and biases."""
        return sum((a + 1) * b for a, b in zip(self.widths, self.widths[1:], strict=False))


class Contender(Protocol):
    """One way to train the workload, with the data in memory before the clock starts."""

    def prepare(self, seed: int) -> None:
        """Make a fresh, untrained network; outside the clock."""
        ...

    def train(self) -> None:
        """Train for the epochs of the workload; inside the clock."""
        ...

    def accuracy(self) -> float | None:
        """Return the test accuracy, None where nothing was learned; outside the clock."""
        ...


class Turn(NamedTuple):
    """What one turn measured; the seconds are those of an epoch.

    Attributes:
        seconds: On the clock of the wall.
        processor_seconds: Of all processors together; on a machine with other load they say more.
        accuracy: On the test images.
    """

    seconds: float
    processor_seconds: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table.

    Attributes:
        title: How the table names it.
        module: The file in this package that holds it.
        variant: Which one of that file.
        requires: The module that must be installed.
        learns: Whether its accuracy has to lie in the common band.
    """

    title: str
    module: str
    variant: str = ""
    requires: str = "torch"
    learns: bool = True

    @property
    def installed(self) -> bool:
        """Return whether the library that it measures is there."""
        return find_spec(self.requires) is not None


CONTENDERS: dict[str, Entry] = {
    "mlpkit": Entry("mlpkit Trainer", "_mlpkit", "fp32", requires="mlpkit"),
    "hand-best": Entry("hand-written loop, same mathematics as the Trainer", "_hand", "best"),
    "hand-fused": Entry("hand-written loop, fused Adam", "_hand", "fused"),
    "hand": Entry("hand-written loop, Adam", "_hand", "plain"),
    "tensordataset": Entry("DataLoader over a TensorDataset", "_loaders", "tensors"),
    "pytorch-example": Entry(
        "PyTorch example style: torchvision and DataLoader",
        "_loaders",
        "example",
        requires="torchvision",
    ),
    "sklearn": Entry("scikit-learn MLPClassifier", "_sklearn", requires="sklearn"),
    "skorch": Entry("skorch", "_skorch", requires="skorch"),
    "lightning": Entry("Lightning", "_lightning", requires="lightning"),
    "keras": Entry("Keras 3 on torch", "_keras", requires="keras"),
    "jax": Entry("JAX, the epoch one jitted scan", "_jax", requires="jax"),
    "floor": Entry("matrix products alone", "_floor", "fp32", learns=False),
    "floor-onednn": Entry("matrix products alone, by oneDNN", "_floor", "onednn", learns=False),
    "mlpkit-bf16": Entry("mlpkit Trainer, bf16", "_mlpkit", "bf16", requires="mlpkit"),
    "hand-bf16": Entry("hand-written loop, fused Adam, bf16 autocast", "_hand", "bf16"),
    "floor-bf16": Entry("matrix products alone, bf16", "_floor", "bf16", learns=False),
}


def build(name: str, workload: Workload) -> Callable[[int], Turn]:
    """Return the function that does one turn of a contender; called in its worker."""
    entry = CONTENDERS[name]
    module = import_module(f"{__name__}.{entry.module}")
    contender: Contender = module.build(workload, entry.variant)

    def turn(seed: int) -> Turn:
        # Once out of the clock: a machine that takes back the pages of a process that waits gives
        # them back here, and not to whoever's turn comes after the longest wait.
        contender.prepare(seed)
        contender.train()
        contender.prepare(seed)
        start, start_processor = time.perf_counter(), time.process_time()
        contender.train()
        seconds = (time.perf_counter() - start) / workload.epochs
        processor_seconds = (time.process_time() - start_processor) / workload.epochs
        return Turn(seconds, processor_seconds, contender.accuracy())

    return turn
