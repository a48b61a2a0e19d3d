"""bf16 against float32 over seeds, speed and accuracy: ``python -m benchmarks.precision``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import in_turn
from benchmarks.contenders import Turn, Workload, build

NETWORKS = ((512, 256), (2048, 2048))
PAIRS = {
    "Trainer": ("mlpkit", "mlpkit-bf16"),
    "matrix products alone": ("floor", "floor-bf16"),
}


def main(arguments: Sequence[str]) -> int:
    """Measure each network in both precisions."""
    options = _command_line.parser("benchmarks.precision", __doc__, repeats=10).parse_args(
        arguments
    )
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rows = []
    for hidden in NETWORKS:
        workload = Workload(batch_size=512, hidden_features=hidden)
        names = [name for pair in PAIRS.values() for name in pair]
        measured = in_turn([(name, build, (name, workload)) for name in names], options.repeats)
        turns = dict(zip(names, measured, strict=True))
        for title, (single, half) in PAIRS.items():
            seconds = [[turn.seconds for turn in turns[name]] for name in (single, half)]
            rows.append(
                [
                    f"{title}, {'-'.join(map(str, workload.widths))}",
                    Spread.of(seconds[0]).shown(),
                    Spread.of(seconds[1]).shown(),
                    paired_ratio(seconds[0], seconds[1]).shown(2),
                    _accuracy(turns[single]),
                    _accuracy(turns[half]),
                ]
            )
    header = ["", "float32 (s)", "bf16 (s)", "times as fast", "accuracy, float32", "accuracy, bf16"]
    parts = [
        f"An epoch in batches of 512, {options.repeats} seeds, median (min to max):",
        table(header, rows),
    ]
    _command_line.report("precision", arguments, load_before, parts, write=options.write)
    return 0


def _accuracy(turns: Sequence[Turn]) -> str:
    """Return mean and standard deviation over the seeds."""
    known = [100 * turn.accuracy for turn in turns if turn.accuracy is not None]
    return f"{statistics.mean(known):.2f} +- {statistics.stdev(known):.2f} %" if known else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
