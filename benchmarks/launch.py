"""From launch to 98 % printed, the whole process: ``python -m benchmarks.launch``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

COMMANDS: dict[str, tuple[str, ...]] = {
    'python -c "import torch"': ("-c", "import torch"),
    "mlpkit train mnist --preset fast": ("-m", "mlpkit", "train", "mnist", "--preset", "fast"),
}


def launch(command: Sequence[str], folder: str) -> tuple[float, str]:
    """Return the seconds from launch to exit, and what was printed."""
    # A module is compiled once and kept, as it is wherever nobody forbade it.
    environment = {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    return time.perf_counter() - start, done.stdout


def main(arguments: Sequence[str]) -> int:
    """Launch both in turn, each time in a new folder."""
    options = _command_line.parser("benchmarks.launch", __doc__, repeats=5).parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    seconds: dict[str, list[float]] = {shown: [] for shown in COMMANDS}
    printed = ""
    for number in range(options.repeats + 1):
        for shown, command in COMMANDS.items():
            with tempfile.TemporaryDirectory() as folder:
                taken, printed = launch(command, folder)
            if number > 0:
                seconds[shown].append(taken)
    imported, trained = seconds.values()
    over = [all_of_it - torch for all_of_it, torch in zip(trained, imported, strict=True)]
    rows = [
        [f"`{shown}`", Spread.of(taken).shown(2), paired_ratio(taken, imported).shown(2)]
        for shown, taken in seconds.items()
    ]
    rows.append(["the second over the first", Spread.of(over).shown(2), "-"])
    parts = [
        f"Seconds from launch to exit, n = {options.repeats}, median (min to max):",
        table(["command", "seconds", "times torch"], rows),
        f"What the last run printed:\n\n```text\n{printed.strip()}\n```",
    ]
    _command_line.report("launch", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
