"""MNIST with each augmentation and without: ``python -m benchmarks.augmentation``.

Each run is a line of docs/results/augmentation.jsonl; only the runs that it lacks are made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import _command_line, _machine, _page
from benchmarks._figures import Spread, table
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import (
    Augmentation,
    Compose,
    RandomAffine,
    RandomElastic,
    RandomErasing,
    Splits,
    mnist,
)

DOCS = _page.PAGE.parent
FILE = DOCS / "results" / "augmentation.jsonl"

_AFFINE = RandomAffine(degrees=15, shear=15, scale=(0.85, 1.15))
_ELASTIC = RandomElastic(alpha=37, sigma=5.5)
SETTINGS: dict[str, Augmentation | None] = {
    "none": None,
    "erasing": RandomErasing(p=0.5),
    "shift": RandomAffine(translate=(2 / 28, 2 / 28)),
    "affine": _AFFINE,
    "elastic": _ELASTIC,
    "affine, elastic": Compose([_AFFINE, _ELASTIC]),
}
CODE = {
    "none": "",
    "erasing": "`RandomErasing(p=0.5)`",
    "shift": "`RandomAffine(translate=(2 / 28, 2 / 28))`",
    "affine": "`RandomAffine(degrees=15, shear=15, scale=(0.85, 1.15))`",
    "elastic": "`RandomElastic(alpha=37, sigma=5.5)`",
    "affine, elastic": "`Compose` of the two above",
}


class Row(NamedTuple):
    """One run: its accuracy is the fraction of the test images that are classified correctly."""

    augmentation: str
    epochs: int
    seed: int
    accuracy: float


def measure(splits: Splits, name: str, epochs: int, seed: int) -> Row:
    """Train the default classifier, and test it."""
    generator = torch.Generator().manual_seed(seed)
    model = SoftmaxClassifier.for_data(splits.train, generator=generator)
    config = TrainerConfig(epochs=epochs, seed=seed, device="cpu", progress=False)
    trainer = Trainer(model, config)
    trainer.fit(splits.train.batches(128, augment=SETTINGS[name], seed=seed))
    return Row(name, epochs, seed, trainer.evaluate(splits.test).accuracy)


def read(path: Path) -> list[Row]:
    """Return the runs of a file; none if there is no file."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main(arguments: Sequence[str]) -> int:
    """Make the runs that the file lacks, one seed after the other, and show all as a table."""
    parser = _command_line.parser("benchmarks.augmentation", __doc__, repeats=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    torch.set_num_threads(options.threads)
    splits = mnist()
    rows = []
    for seed in range(options.repeats):
        for name in SETTINGS:
            found = [row for row in read(options.file) if row[:3] == (name, options.epochs, seed)]
            if not found:
                found = [measure(splits, name, options.epochs, seed)]
                with options.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found[0]._asdict()) + "\n")
            rows += found
    spreads = {
        name: Spread.of([row.accuracy for row in rows if row.augmentation == name])
        for name in SETTINGS
    }
    parts = [
        f"MNIST, `SoftmaxClassifier.for_data(train)` with the default settings, {options.epochs} "
        f"epochs of the 55,000 training images, {options.repeats} seeds, median (min to max):",
        table(
            ["augmentation", "", "test accuracy (%)"],
            [[name, CODE[name], each.shown(2, scale=100)] for name, each in spreads.items()],
        ),
    ]
    page = DOCS / "how-to" / "augmentation.md"
    _command_line.report(
        "augmentation", arguments, load_before, parts, write=options.write, page=page
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
