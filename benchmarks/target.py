"""Training time to a test accuracy, over seeds: ``python -m benchmarks.target --percent 98``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import in_turn
from benchmarks.contenders._target import RECIPES, Reached, build_mlpkit, build_sklearn


class Row(NamedTuple):
    """A contender, and how it goes about a percentage."""

    title: str
    build: Callable[..., Callable[[int], Reached]]
    given: tuple[object, ...]


def rows(percent: float) -> list[Row]:
    """Return who is after a percentage, mlpkit first."""
    found = [Row("mlpkit Trainer", build_mlpkit, (RECIPES[percent],))]
    if percent < 98.5:
        found.append(Row("scikit-learn MLPClassifier", build_sklearn, (percent,)))
    return found


def race(percent: float, repeats: int) -> list[list[str]]:
    """Train each contender from every seed, in turn, and return the rows of the table."""
    contenders = rows(percent)
    reached = in_turn(contenders, repeats)
    ours = [turn.seconds for turn in reached[0]]
    shown = []
    for row, turns in zip(contenders, reached, strict=True):
        seconds = [turn.seconds for turn in turns]
        accuracies = [turn.accuracy for turn in turns]
        shown.append(
            [
                f"{row.title} to {percent} %",
                Spread.of(seconds).shown(2),
                paired_ratio(seconds, ours).shown(1),
                f"{sum(100 * value >= percent for value in accuracies)} of {repeats}",
                f"{100 * statistics.median(accuracies):.2f} %",
            ]
        )
    return shown


def main(arguments: Sequence[str]) -> int:
    """Train from every seed, the contenders in turn."""
    parser = _command_line.parser("benchmarks.target", __doc__, repeats=10)
    parser.add_argument("--percent", nargs="+", type=float, default=list(RECIPES), choices=RECIPES)
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    shown = [line for percent in options.percent for line in race(percent, options.repeats)]
    parts = [
        "Seconds of training from tensors in memory, evaluation and import not counted, "
        f"{options.repeats} seeds, median (min to max). mlpkit trains for a number of epochs fixed "
        "beforehand, on pictures whose 2 x 2 blocks are averaged first, which is counted, and is "
        "tested as a network of whole pictures; scikit-learn is looked at after each epoch and "
        "stops at the first that reaches the percentage:",
        table(
            ["contender", "seconds", "times mlpkit", "seeds that reach it", "median test accuracy"],
            shown,
        ),
    ]
    _command_line.report("target", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
