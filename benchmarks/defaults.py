"""MNIST with every default, against a constant rate: ``python -m benchmarks.defaults``."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence

import torch

from benchmarks import _command_line, _machine, _page
from benchmarks._figures import Spread, paired_ratio, table
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import mnist
from mlpkit.training import OptimizerConfig, Schedule

SETTINGS = {
    "`TrainerConfig()`": TrainerConfig(progress=False),
    "constant rate of 0.001, no weight decay, no smoothing": TrainerConfig(
        optimizer=OptimizerConfig(),
        schedule=Schedule(),
        label_smoothing=0.0,
        progress=False,
    ),
}


def train(config: TrainerConfig, seed: int) -> tuple[float, float]:
    """Return the test accuracy, and the processor seconds of ``fit``, of the default classifier."""
    train, val, test = mnist()
    generator = torch.Generator().manual_seed(seed)
    model = SoftmaxClassifier.for_data(train, generator=generator)
    trainer = Trainer(model, dataclasses.replace(config, seed=seed))
    start = time.process_time()  # other processes do not count
    trainer.fit(train, val)
    return trainer.evaluate(test).accuracy, time.process_time() - start


def main(arguments: Sequence[str]) -> int:
    """Train with both settings in turn, one seed after the other."""
    options = _command_line.parser("benchmarks.defaults", __doc__, repeats=5).parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    torch.set_num_threads(options.threads)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SETTINGS}
    for seed in range(options.repeats):
        for name, config in SETTINGS.items():
            found[name].append(train(config, seed))
    seconds = {name: [one[1] for one in each] for name, each in found.items()}
    plain = list(seconds.values())[-1]
    rows = [
        [
            name,
            Spread.of([one[0] for one in each]).shown(2, scale=100),
            Spread.of(seconds[name]).shown(1),
            paired_ratio(seconds[name], plain).shown(2),
        ]
        for name, each in found.items()
    ]
    parts = [
        f"MNIST, `Trainer(SoftmaxClassifier.for_data(train), config)`, {options.repeats} seeds, "
        "median (min to max):",
        table(["config", "test accuracy (%)", "processor seconds", "ratio"], rows),
    ]
    page = _page.PAGE.parent / "how-to" / "targets.md"
    _command_line.report("defaults", arguments, load_before, parts, write=options.write, page=page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
