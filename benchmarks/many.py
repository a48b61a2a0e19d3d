"""Many small networks at once and one after the other: ``python -m benchmarks.many``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import Worker

NETWORKS = 16
HIDDEN_FEATURES = (128,)
ORDERS = {
    "one order": "one seed: all see the same batches",
    "own orders": "a seed, and so an order of the images, for each",
    "own rates": "one seed, a learning rate for each",
}


class Round(NamedTuple):
    """What one round measured.

    Attributes:
        together: Seconds of ``fit_many``.
        separate: Seconds of ``Trainer.fit``, of all networks one after the other.
        together_processor: Seconds of all processors in ``fit_many``.
        separate_processor: Seconds of all processors in ``Trainer.fit``.
        difference: The largest difference between a weight of the one and of the other.
    """

    together: float
    separate: float
    together_processor: float
    separate_processor: float
    difference: float


def build(kind: str, examples: int) -> Callable[[int], Round]:
    """Return what trains the same networks both ways, from the same weights in the same order.

    Both run in one process, one after the other, since they are the same computation; another one
    begins in each round.
    """
    import copy
    from dataclasses import replace

    import torch

    from benchmarks import _mnist
    from benchmarks.contenders import LR
    from benchmarks.contenders._mlpkit import SCHEDULE
    from mlpkit import SoftmaxClassifier
    from mlpkit.data import mnist
    from mlpkit.training import OptimizerConfig, Trainer, TrainerConfig, fit_many

    train = mnist(_mnist.folder(), val_size=0, download=False).train[:examples]

    def settings(seed: int) -> list[TrainerConfig]:
        config = TrainerConfig(
            epochs=1,
            optimizer=OptimizerConfig(name="adamw", lr=LR),
            schedule=SCHEDULE,
            device="cpu",
            progress=False,
            seed=seed,
        )
        if kind == "own orders":
            return [replace(config, seed=seed * NETWORKS + k) for k in range(NETWORKS)]
        if kind == "own rates":
            rates = [LR * 2 ** (k / 4 - 2) for k in range(NETWORKS)]
            return [replace(config, optimizer=OptimizerConfig(lr=rate)) for rate in rates]
        return [config] * NETWORKS

    def turn(seed: int) -> Round:
        configs = settings(seed)
        together = [
            SoftmaxClassifier.for_data(
                train,
                HIDDEN_FEATURES,
                generator=torch.Generator().manual_seed(seed * NETWORKS + k),
            )
            for k in range(NETWORKS)
        ]
        separate = copy.deepcopy(together)
        trainers = [Trainer(model, one) for model, one in zip(separate, configs, strict=True)]

        def fit_separately() -> None:
            for trainer in trainers:
                trainer.fit(train)

        jobs: list[Callable[[], object]] = [
            lambda: fit_many(together, train, config=configs),
            fit_separately,
        ]
        seconds, processor = [0.0, 0.0], [0.0, 0.0]
        for job in (0, 1) if seed % 2 else (1, 0):
            start, start_processor = time.perf_counter(), time.process_time()
            jobs[job]()
            seconds[job] = time.perf_counter() - start
            processor[job] = time.process_time() - start_processor
        difference = max(
            float((one - two).abs().max())
            for model, other in zip(together, separate, strict=True)
            for one, two in zip(model.parameters(), other.parameters(), strict=True)
        )
        return Round(seconds[0], seconds[1], processor[0], processor[1], difference)

    return turn


def main(arguments: Sequence[str]) -> int:
    """Measure each kind of training of many networks."""
    parser = _command_line.parser("benchmarks.many", __doc__, repeats=5)
    parser.add_argument("--examples", type=int, default=60_000, help="training images")
    parser.add_argument("--only", nargs="+", choices=ORDERS, default=list(ORDERS))
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rows = []
    for kind in options.only:
        with Worker(kind, build, (kind, options.examples)) as worker:
            worker.turn(0)
            rounds = [worker.turn(seed) for seed in range(1, options.repeats + 1)]
        together, separate, together_processor, separate_processor, differences = zip(
            *rounds, strict=True
        )
        rows.append(
            [
                ORDERS[kind],
                Spread.of(together).shown(1),
                Spread.of(separate).shown(1),
                paired_ratio(together, separate).shown(2),
                paired_ratio(together_processor, separate_processor).shown(2),
                f"{max(differences):.0e}",
            ]
        )
    header = [
        f"{NETWORKS} networks",
        "`fit_many` (s)",
        f"{NETWORKS} `Trainer.fit` (s)",
        "ratio",
        "ratio of processor time",
        "largest difference of a weight",
    ]
    parts = [
        f"784-{'-'.join(map(str, HIDDEN_FEATURES))}-10, batch 128, AdamW, one epoch of "
        f"{options.examples:,} images, {options.threads} threads; n = {options.repeats}, "
        "median (min to max):",
        table(header, rows),
    ]
    _command_line.report("many", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
