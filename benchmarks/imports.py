"""How long all of mlpkit takes to import against torch: ``python -m benchmarks.imports``."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table

STATEMENTS = ("pass", "import torch", "from mlpkit import *")


def seconds(statement: str) -> float:
    """Return how long a fresh interpreter takes for a statement, its own start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main(arguments: Sequence[str]) -> int:
    """Start interpreters in turn; the first of each fills the caches of the file system."""
    options = _command_line.parser("benchmarks.imports", __doc__, repeats=11).parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rounds = [[seconds(statement) for statement in STATEMENTS] for _ in range(options.repeats + 1)]
    empty, torch, mlpkit = zip(*rounds[1:], strict=True)
    own = [[each - nothing for each, nothing in zip(times, empty, strict=True)]
           for times in (torch, mlpkit)]  # fmt: skip
    parts = [
        f"n = {options.repeats}, median (min to max); an empty interpreter's start taken off:",
        table(
            ["statement", "seconds", "times torch"],
            [
                ["`import torch`", Spread.of(own[0]).shown(), "1"],
                [
                    "`from mlpkit import *`",
                    Spread.of(own[1]).shown(),
                    paired_ratio(own[1], own[0]).shown(),
                ],
            ],
        ),
    ]
    _command_line.report("imports", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
