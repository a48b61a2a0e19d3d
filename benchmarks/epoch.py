"""One epoch of MNIST, every contender in turn: ``python -m benchmarks.epoch --only skorch``.

``--against FOLDER`` compares mlpkit with another version of it instead, whose package is in FOLDER.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import ContenderError, Measure, Worker, in_turn
from benchmarks.contenders import CONTENDERS, Turn, Workload, build

REFERENCE = "mlpkit"
HEADER = ("contender", "seconds for an epoch", "times mlpkit", "processor seconds", "test accuracy")
# Every contender's median accuracy lies at most this far below and above that of the plain loop.
# One epoch leaves about 0.3 points of difference between seeds and initial weights.
BAND = {"below": 0.010, "above": 0.020}


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
            # Another one begins each round, so that nobody always follows the same neighbor.
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
    center = found.get("hand", statistics.median(found.values()) if found else 0.0)
    return [
        f"{name}: median accuracy {value:.4f} is outside "
        f"[{center - BAND['below']:.4f}, {center + BAND['above']:.4f}]"
        for name, value in found.items()
        if not center - BAND["below"] <= value <= center + BAND["above"]
    ]


def compare_versions(folder: str, workload: Workload, repeats: int) -> str:
    """Return the table of this version, another one, and this one again, in each round."""
    turns = in_turn(_versions(folder, workload), repeats)
    before = turns[1]
    lines = []
    for title, found in zip(("this version", folder, "this version again"), turns, strict=True):
        seconds = [turn.seconds for turn in found]
        processor = [turn.processor_seconds for turn in found]
        lines.append(
            [
                title,
                Spread.of(seconds).shown(),
                paired_ratio(seconds, [turn.seconds for turn in before]).shown(),
                Spread.of(processor).shown(),
                paired_ratio(processor, [turn.processor_seconds for turn in before]).shown(),
            ]
        )
    return table(("version", "seconds", "ratio", "processor seconds", "ratio"), lines)


def _versions(
    folder: str, workload: Workload
) -> list[tuple[str, Callable[..., Measure[Turn]], tuple[object, ...]]]:
    here = (REFERENCE, workload)
    return [
        ("this version", build, here),
        (folder, _build_other, (folder, *here)),
        ("this version again", build, here),
    ]


def _build_other(folder: str, name: str, workload: Workload) -> Measure[Turn]:
    root = Path(folder).resolve()
    sys.path.insert(0, str(root))
    measure = build(name, workload)
    if not Path(sys.modules["mlpkit"].__file__ or "").is_relative_to(root):
        raise ValueError(f"--against must be a folder with the package mlpkit, got {folder!r}")
    return measure


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return 1 if an accuracy is off."""
    parser = _command_line.parser("benchmarks.epoch", __doc__, repeats=7)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help=f"the contenders to run, of {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--batch-size", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--hidden", nargs="+", type=int, default=[512, 256])
    parser.add_argument("--epochs", type=int, default=1, help="epochs in one turn")
    parser.add_argument("--examples", type=int, default=60_000, help="training images to use")
    parser.add_argument("--against", metavar="FOLDER", help="the src folder of another version")
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    parts, complaints = [], []
    for batch_size in options.batch_size:
        workload = Workload(
            batch_size=batch_size,
            hidden_features=tuple(options.hidden),
            examples=options.examples,
            epochs=options.epochs,
        )
        shape = "-".join(str(width) for width in workload.widths)
        title = f"**{shape}, batch {batch_size}**, n = {options.repeats}, median (min to max):\n\n"
        if options.against:
            parts.append(title + compare_versions(options.against, workload, options.repeats))
            continue
        measured = measure(options.only, workload, options.repeats)
        parts.append(title + table(HEADER, rows(measured)))
        complaints += [f"batch {batch_size}: {line}" for line in outside_the_band(measured)]
    # A table whose contenders did not learn the same is not worth a page.
    write = options.write and not complaints and not options.against
    _command_line.report("epoch", arguments, load_before, parts, write=write)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
