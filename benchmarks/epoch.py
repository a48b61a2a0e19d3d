"""One epoch of MNIST, every contender in turn: ``python -m benchmarks.epoch --only skorch``."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import _machine, _page
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import ContenderError, Worker
from benchmarks.contenders import CONTENDERS, Turn, Workload, build

REFERENCE = "mlpkit"
# Every contender's median accuracy lies at most this far below and above that of the plain loop.
# One epoch leaves about 0.3 points of difference between seeds and initial weights.
BAND = {"below": 0.010, "above": 0.020}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    only: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    hidden_features: tuple[int, ...]
    repeats: int
    epochs: int
    examples: int
    threads: int
    write: bool


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=sorted(CONTENDERS),
        default=sorted(CONTENDERS),
        metavar="NAME",
        help=f"the contenders to run, of {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--batch-size", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--hidden", nargs="+", type=int, default=[512, 256])
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds, after one to warm up")
    parser.add_argument("--epochs", type=int, default=1, help="epochs in one turn")
    parser.add_argument("--examples", type=int, default=60_000, help="training images to use")
    parser.add_argument(
        "--threads", type=int, default=_machine.processors(), help="processors to use"
    )
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    found = parser.parse_args(arguments)
    return Options(
        tuple(name for name in CONTENDERS if name in found.only),
        tuple(found.batch_size),
        tuple(found.hidden),
        found.repeats,
        found.epochs,
        found.examples,
        found.threads,
        found.write,
    )


def measure(names: Sequence[str], workload: Workload, repeats: int) -> dict[str, list[Turn]]:
    """Run rounds through all contenders, one warm-up round first; return the timed turns.

    A contender that fails is named on standard error and left out; the others go on.
    """
    turns: dict[str, list[Turn]] = {}
    with ExitStack() as stack:
        workers: list[Worker[Turn]] = []
        for name in names:
            if not CONTENDERS[name].installed:
                print(f"{name}: {CONTENDERS[name].requires} is not installed", file=sys.stderr)
                continue
            try:
                workers.append(stack.enter_context(Worker(name, build, (name, workload))))
            except ContenderError as error:
                print(error, file=sys.stderr)
        for round_number in range(-1, repeats):
            # Another one begins each round, so that nobody always follows the same neighbour.
            shift = max(round_number, 0) % max(len(workers), 1)
            for worker in workers[shift:] + workers[:shift]:
                turn = worker.turn(round_number + 1)
                if round_number >= 0:
                    turns.setdefault(worker.name, []).append(turn)
                print(f"  {round_number} {worker.name} {turn.seconds:.3f} s", file=sys.stderr)
    return {name: turns[name] for name in names if name in turns}


def rows(measured: Mapping[str, Sequence[Turn]]) -> list[list[str]]:
    """Return the table's rows, fastest first."""
    seconds = {name: [turn.seconds for turn in turns] for name, turns in measured.items()}
    shown = []
    for name in sorted(seconds, key=lambda name: statistics.median(seconds[name])):
        ratio = (
            paired_ratio(seconds[name], seconds[REFERENCE]).shown(2)
            if REFERENCE in seconds
            else "-"
        )
        learned = accuracy(measured[name])
        shown.append(
            [
                f"{CONTENDERS[name].title} (`{name}`)",
                Spread.of(seconds[name]).shown(),
                ratio,
                f"{statistics.median(turn.processor_seconds for turn in measured[name]):.3f}",
                "-" if learned is None else f"{100 * learned:.2f} %",
            ]
        )
    return shown


def accuracy(turns: Sequence[Turn]) -> float | None:
    """Return the median accuracy, None where nothing is learned."""
    known = [turn.accuracy for turn in turns if turn.accuracy is not None]
    return statistics.median(known) if known else None


def outside_the_band(measured: Mapping[str, Sequence[Turn]]) -> list[str]:
    """Return a sentence for each contender whose accuracy the others do not have."""
    found = {
        name: value
        for name, turns in measured.items()
        if CONTENDERS[name].learns and (value := accuracy(turns)) is not None
    }
    centre = found.get("hand", statistics.median(found.values()) if found else 0.0)
    return [
        f"{name}: median accuracy {value:.4f} is outside "
        f"[{centre - BAND['below']:.4f}, {centre + BAND['above']:.4f}]"
        for name, value in found.items()
        if not centre - BAND["below"] <= value <= centre + BAND["above"]
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the page where asked; return 1 if an accuracy is off."""
    options = parse(arguments)
    _machine.use_processors(options.threads)
    load_before = _machine.load()
    parts, complaints = [], []
    for batch_size in options.batch_sizes:
        workload = Workload(
            batch_size=batch_size,
            hidden_features=options.hidden_features,
            examples=options.examples,
            epochs=options.epochs,
        )
        measured = measure(options.only, workload, options.repeats)
        shape = "-".join(str(width) for width in workload.widths)
        parts.append(
            f"**{shape}, batch {batch_size}**, n = {options.repeats}, median (min to max):\n\n"
            + table(
                [
                    "contender",
                    "seconds for an epoch",
                    "times mlpkit",
                    "processor seconds",
                    "test accuracy",
                ],
                rows(measured),
            )
        )
        complaints += [f"batch {batch_size}: {line}" for line in outside_the_band(measured)]
    content = _page.section(["python", "-m", "benchmarks.epoch", *arguments], load_before, parts)
    print(content)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if options.write and not complaints:
        _page.replace("epoch", content)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
