"""Training time to a test accuracy, over seeds: ``python -m benchmarks.target --percent 98``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, table
from benchmarks._workers import Worker
from benchmarks.contenders._target import RECIPES, Reached, build_mlpkit, build_sklearn


class Row(NamedTuple):
    """A contender, the percentage it is after, and how it goes about it."""

    title: str
    percent: float
    build: Callable[..., Callable[[int], Reached]]
    given: tuple[object, ...]


def rows(percents: Sequence[float]) -> list[Row]:
    """Return the rows to measure."""
    found = []
    for percent in percents:
        recipe = RECIPES[percent]
        found.append(Row("mlpkit Trainer", percent, build_mlpkit, (recipe,)))
        if percent < 98.5:
            found.append(Row("scikit-learn MLPClassifier", percent, build_sklearn, (percent,)))
    return found


def main(arguments: Sequence[str]) -> int:
    """Train from every seed, the contenders in turn."""
    parser = _command_line.parser("benchmarks.target", __doc__, repeats=10)
    parser.add_argument("--percent", nargs="+", type=float, default=list(RECIPES), choices=RECIPES)
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    shown = []
    for row in rows(options.percent):
        with Worker(row.title, row.build, row.given) as worker:
            worker.turn(0)
            reached = [worker.turn(seed) for seed in range(1, options.repeats + 1)]
        accuracies = [turn.accuracy for turn in reached]
        shown.append(
            [
                f"{row.title} to {row.percent} %",
                Spread.of([turn.seconds for turn in reached]).shown(2),
                f"{sum(100 * value >= row.percent for value in accuracies)} of {len(reached)}",
                f"{100 * statistics.median(accuracies):.2f} %",
            ]
        )
    parts = [
        "Seconds of training from tensors in memory, evaluation and import not counted, "
        f"{options.repeats} seeds, median (min to max). mlpkit trains for a number of epochs fixed "
        "beforehand; the others are looked at after each epoch and stop at the first that reaches "
        "the percentage:",
        table(["contender", "seconds", "seeds that reach it", "median test accuracy"], shown),
    ]
    _command_line.report("target", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
