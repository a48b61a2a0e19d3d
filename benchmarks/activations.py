"""Test accuracy of each activation on MNIST, over seeds: ``python -m benchmarks.activations``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import _machine, _page
from benchmarks._figures import table
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import Splits, mnist
from mlpkit.nn import ActivationName, MLPOptions

DOCS = _page.PAGE.parent
FILE = DOCS / "results" / "activations.jsonl"
PAGE = DOCS / "tutorials" / "activations.md"

WIDTH = 256
# Maxout has two weights where the others have one: 784-144-144-10 has 269,290 parameters with
# Maxout, and 784-256-256-10 has 269,322 with ReLU.
WIDTH_OF_EQUAL_SIZE = 144

NETWORKS: dict[str, tuple[ActivationName, int]] = {
    "sigmoid": ("sigmoid", WIDTH),
    "tanh": ("tanh", WIDTH),
    "relu": ("relu", WIDTH),
    "leaky_relu": ("leaky_relu", WIDTH),
    "elu": ("elu", WIDTH),
    "prelu": ("prelu", WIDTH),
    "gelu": ("gelu", WIDTH),
    "silu": ("silu", WIDTH),
    "maxout, equal width": ("maxout", WIDTH),
    "maxout, equal parameters": ("maxout", WIDTH_OF_EQUAL_SIZE),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one run.

    Attributes:
        network: Key of ``NETWORKS``.
        hidden_features: Widths of the hidden layers.
        num_parameters: Number of learnable parameters.
        accuracy: Fraction of the test images that are classified correctly.
        seconds: Processor time of ``fit``.
        versions: Versions of Python and of the packages.
        hardware: The processor.
    """

    network: str
    hidden_features: tuple[int, ...]
    num_parameters: int
    epochs: int
    seed: int
    accuracy: float
    seconds: float
    versions: str
    hardware: str


def measure(splits: Splits, network: str, epochs: int, seed: int) -> Row:
    """Train one network with the default settings, and test it."""
    activation, width = NETWORKS[network]
    model = SoftmaxClassifier.for_data(
        splits.train,
        (width, width),
        MLPOptions(activation=activation),
        generator=torch.Generator().manual_seed(seed),
    )
    config = TrainerConfig(epochs=epochs, seed=seed, device="cpu", progress=False)
    trainer = Trainer(model, config)
    start = time.process_time()  # other processes do not count
    trainer.fit(splits.train)
    seconds = time.process_time() - start
    return Row(
        network=network,
        hidden_features=(width, width),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        epochs=epochs,
        seed=seed,
        accuracy=trainer.evaluate(splits.test).accuracy,
        seconds=seconds,
        versions=_machine.versions(("torch", "numpy")),
        hardware=_machine.hardware(),
    )


def read(path: Path) -> list[Row]:
    """Return the results of a file; none if there is no file."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def shown(rows: Sequence[Row]) -> str:
    """Return a table with a line for each network."""
    lines = []
    for network in NETWORKS:
        chosen = [row for row in rows if row.network == network]
        accuracies = [100 * row.accuracy for row in chosen]
        spread = f"{statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else "-"
        lines.append(
            [
                network,
                "-".join(map(str, [784, *chosen[0].hidden_features, 10])),
                f"{chosen[0].num_parameters:,}",
                f"{statistics.mean(accuracies):.2f}",
                spread,
                f"{min(accuracies):.2f} to {max(accuracies):.2f}",
                f"{statistics.median(row.seconds for row in chosen):.0f}",
            ]
        )
    header = ["activation", "widths", "parameters", "accuracy (%)", "std", "range", "seconds"]
    return table(header, lines)


def section(rows: Sequence[Row], command: str) -> str:
    """Return the table, with the command, the machine and the versions of its rows."""
    seeds = len({row.seed for row in rows})
    epochs = _only(row.epochs for row in rows)
    intro = (
        f"MNIST, test accuracy after {epochs} epochs on 55,000 training images with the default "
        f"`TrainerConfig` and without dropout: mean, standard deviation and range over {seeds} "
        "seeds, and the median processor time of a run on one thread."
    )
    origin = [
        f"`{command}`",
        _only(row.hardware for row in rows),
        _only(row.versions for row in rows),
    ]
    return f"{intro}\n\n{shown(rows)}\n\n" + ";\n".join(origin) + "."


def _only(values: Iterable[object]) -> str:
    return " or ".join(map(str, dict.fromkeys(values)))


def main(arguments: Sequence[str]) -> int:
    """Train what the file lacks, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.activations", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--file", type=Path, default=FILE, help="the results, one line for a run")
    parser.add_argument("--show", action="store_true", help="print what the file has")
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    options = parser.parse_args(arguments)
    _machine.use_processors(1)
    torch.set_num_threads(1)
    done = read(options.file)
    keys = {(row.network, row.epochs, row.seed) for row in done}
    wanted = [
        (network, options.epochs, seed) for seed in range(options.seeds) for network in NETWORKS
    ]
    if not options.show and not keys.issuperset(wanted):
        splits = mnist()
        options.file.parent.mkdir(parents=True, exist_ok=True)
        for network, epochs, seed in wanted:
            if (network, epochs, seed) in keys:
                continue
            row = measure(splits, network, epochs, seed)
            done.append(row)
            with options.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(row)) + "\n")
            print(f"{network} {seed}: {row.accuracy:.4f}", file=sys.stderr, flush=True)
    chosen = [row for row in done if (row.network, row.epochs, row.seed) in wanted]
    shown_options = [each for each in arguments if each not in ("--show", "--write")]
    command = shlex.join(["python", "-m", "benchmarks.activations", *shown_options])
    content = section(chosen, command)
    print(content)
    if options.write:
        _page.replace("activations", content, PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
