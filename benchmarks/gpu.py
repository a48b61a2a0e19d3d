"""An epoch of MNIST on a GPU, and pictures augmented in a second: ``python -m benchmarks.gpu``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import in_turn

if TYPE_CHECKING:
    from mlpkit.data import Augmentation

EPOCHS = 10
AUGMENTATIONS = {
    "affine": "`RandomAffine`: rotated, shifted, scaled, sheared",
    "elastic": "`RandomElastic`",
}


class Epoch(NamedTuple):
    """What one training measured; seconds are those of an epoch.

    Attributes:
        all: Everything from the call of ``fit`` to its end, over the number of epochs.
        steady: The median of the epochs after the first.
        accuracy: On the test images.
    """

    all: float
    steady: float
    accuracy: float


def build_trainer(
    batch_size: int, precision: str, *, cuda_graph: bool, augmented: bool
) -> Callable[[int], Epoch]:
    """Return a training by mlpkit's Trainer, with its default features and a schedule."""
    import statistics
    from typing import cast

    import torch

    from benchmarks import _mnist
    from benchmarks.contenders import LR
    from benchmarks.contenders._mlpkit import SCHEDULE
    from mlpkit import SoftmaxClassifier
    from mlpkit.data import Batches, mnist
    from mlpkit.training import (
        Callback,
        EpochRow,
        OptimizerConfig,
        Precision,
        Trainer,
        TrainerConfig,
    )

    class Clock(Callback):
        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
            torch.cuda.synchronize()
            self.marks.append(time.perf_counter())

    splits = mnist(_mnist.folder(), val_size=0, download=False)
    data = splits.train.to("cuda")
    config = TrainerConfig(
        epochs=EPOCHS,
        batch_size=batch_size,
        optimizer=OptimizerConfig(name="adamw", lr=LR),
        schedule=SCHEDULE,
        precision=cast("Precision", precision),
        device="cuda",
        cuda_graph=cuda_graph,
    )

    def turn(seed: int) -> Epoch:
        model = SoftmaxClassifier.for_data(
            splits.train, (512, 256), generator=torch.Generator().manual_seed(seed)
        )
        clock = Clock()
        trainer = Trainer(model, config, callbacks=[clock])
        augment = augmentation("affine") if augmented else None
        batches = Batches(data, batch_size, seed=seed, augment=augment)
        torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.fit(batches)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        later = [after - before for before, after in pairwise(clock.marks)]
        found = trainer.evaluate(splits.test.to("cuda")).accuracy
        assert found is not None
        return Epoch(seconds / EPOCHS, statistics.median(later), found)

    return turn


def build_loop(batch_size: int) -> Callable[[int], Epoch]:
    """Return the eager loop that one writes by hand, over images that lie on the device."""
    import math
    import statistics

    import torch
    from torch.nn import functional as F

    from benchmarks.contenders import LR, Workload
    from benchmarks.contenders._hand import one_cycle
    from benchmarks.contenders._torch import accuracy, network, resident

    workload = Workload(batch_size=batch_size, epochs=EPOCHS)
    inputs, targets, test_inputs, test_targets = (each.cuda() for each in resident(workload))

    def turn(seed: int) -> Epoch:
        model = network(workload, seed).cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
        steps = EPOCHS * math.ceil(len(inputs) / batch_size)
        step = 0
        torch.cuda.synchronize()
        start = time.perf_counter()
        marks = []
        for _ in range(EPOCHS):
            order = torch.randperm(len(inputs), device="cuda")
            for rows in torch.split(order, batch_size):
                loss = F.cross_entropy(model(inputs[rows]), targets[rows])
                optimizer.param_groups[0]["lr"] = LR * one_cycle(step, steps)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                step += 1
            torch.cuda.synchronize()
            marks.append(time.perf_counter())
        later = [after - before for before, after in pairwise(marks)]
        found = accuracy(model, test_inputs, test_targets)
        return Epoch((marks[-1] - start) / EPOCHS, statistics.median(later), found)

    return turn


def augmentation(kind: str) -> Augmentation:
    """Return what the name stands for."""
    from mlpkit.data import RandomAffine, RandomElastic

    if kind == "affine":
        return RandomAffine(degrees=12, translate=(0.05, 0.05), scale=(0.88, 1.12), shear=12)
    return RandomElastic()


def build_augmentation(kind: str, batch_size: int) -> Callable[[int], float]:
    """Return what gathers and augments one epoch, and tells the images in a second."""
    import torch

    from benchmarks import _mnist
    from mlpkit.data import Batches, mnist

    data = mnist(_mnist.folder(), val_size=0, download=False).train.to("cuda")
    batches = Batches(data, batch_size, augment=augmentation(kind))

    def turn(seed: int) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in batches.epoch(seed):
            pass
        torch.cuda.synchronize()
        return len(data) / (time.perf_counter() - start)

    return turn


def main(arguments: Sequence[str]) -> int:
    """Measure the epochs of each batch size, then the augmentations."""
    parser = _command_line.parser("benchmarks.gpu", __doc__, repeats=5)
    parser.add_argument("--batch-size", nargs="+", type=int, default=[128, 512])
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    gpu = _machine.gpu()
    if gpu is None:
        print("no CUDA device", file=sys.stderr)
        return 1
    parts = []
    for size in options.batch_size:
        contenders: list[tuple[str, Callable[..., Callable[[int], Epoch]], tuple[object, ...]]] = [
            ("loop, eager, fused AdamW", build_loop, (size,)),
            ("`Trainer`", _trainer, (size, "fp32", False, False)),
            ("`Trainer`, `cuda_graph=True`", _trainer, (size, "fp32", True, False)),
            ("`Trainer`, `cuda_graph=True`, bf16", _trainer, (size, "bf16", True, False)),
            ("the same, `RandomAffine`", _trainer, (size, "bf16", True, True)),
        ]
        turns = in_turn(contenders, options.repeats)
        loop = [turn.steady for turn in turns[0]]
        rows = []
        for (name, _, _), measured in zip(contenders, turns, strict=True):
            steady = [turn.steady for turn in measured]
            rows.append(
                [
                    name,
                    Spread.of(steady).shown(1, 1000),
                    Spread.of([turn.all for turn in measured]).shown(1, 1000),
                    paired_ratio(loop, steady).shown(2),
                    f"{100 * Spread.of([turn.accuracy for turn in measured]).median:.2f} %",
                ]
            )
        header = ["training", "ms an epoch", "first one included", "times as fast", "test accuracy"]
        parts += [
            f"784-512-256-10, batch {size}, {EPOCHS} epochs, n = {options.repeats}, median "
            "(min to max):",
            table(header, rows),
        ]
    rows = []
    for kind, title in AUGMENTATIONS.items():
        (rates,) = in_turn([(kind, build_augmentation, (kind, 512))], options.repeats)
        (wide,) = in_turn([(kind, build_augmentation, (kind, 4096))], options.repeats)
        rows.append([title, Spread.of(rates).shown(2, 1e-6), Spread.of(wide).shown(2, 1e-6)])
    parts += [table(["million images a second", "batch 512", "batch 4096"], rows), f"{gpu}."]
    _command_line.report("gpu", arguments, load_before, parts, write=options.write)
    return 0


def _trainer(
    batch_size: int,
    precision: str,
    cuda_graph: bool,  # noqa: FBT001 - a worker's arguments are positional
    augmented: bool,  # noqa: FBT001 - likewise
) -> Callable[[int], Epoch]:
    return build_trainer(batch_size, precision, cuda_graph=cuda_graph, augmented=augmented)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
