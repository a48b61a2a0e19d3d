"""How time and memory grow with examples, parameters, epochs: ``python -m benchmarks.growth``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from benchmarks import _command_line, _machine
from benchmarks._figures import growth_exponent, table
from benchmarks._workers import Worker
from benchmarks.contenders import Workload, build
from benchmarks.memory import build_training

EXAMPLES = (15_000, 30_000, 60_000)
HIDDEN_FEATURES = ((1024, 1024), (2048, 2048), (4096, 4096))
EPOCHS = (1, 4, 16)


def seconds(workload: Workload, repeats: int) -> float:
    """Return the median seconds of an epoch of mlpkit's Trainer."""
    with Worker("mlpkit", build, ("mlpkit", workload)) as worker:
        worker.turn(0)
        return statistics.median(worker.turn(seed + 1).seconds for seed in range(repeats))


def mebibytes(workload: Workload) -> float:
    """Return the peak memory of a process that trains once."""
    with Worker("mlpkit", build_training, ("mlpkit", workload)) as worker:
        return worker.turn(0)


def row(what: str, sizes: Sequence[int], values: Sequence[float], unit: str) -> list[str]:
    """Return the sizes, what was measured at each, and the exponent between them."""
    shown = ", ".join(
        f"{value:.3g} {unit} at {size:,}" for size, value in zip(sizes, values, strict=True)
    )
    return [what, shown, f"{growth_exponent(sizes, values):.2f}"]


def main(arguments: Sequence[str]) -> int:
    """Measure three sizes of each."""
    options = _command_line.parser("benchmarks.growth", __doc__, repeats=5).parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    by_examples = [seconds(Workload(examples=size), options.repeats) for size in EXAMPLES]
    wide = [
        Workload(batch_size=512, hidden_features=hidden, examples=10_000)
        for hidden in HIDDEN_FEATURES
    ]
    by_parameters = [seconds(workload, options.repeats) for workload in wide]
    memory = [mebibytes(Workload(examples=5_000, epochs=epochs)) for epochs in EPOCHS]
    rows = [
        row("time by examples", EXAMPLES, by_examples, "s"),
        row("time by parameters", [load.num_parameters for load in wide], by_parameters, "s"),
        row("peak memory by epochs", EPOCHS, memory, "MiB"),
    ]
    parts = [
        f"mlpkit's Trainer, median of {options.repeats}; an exponent of 1 is linear, 0 is flat:",
        table(["what grows", "measured", "exponent"], rows),
    ]
    _command_line.report("growth", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
