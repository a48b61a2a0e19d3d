"""Run every benchmark and write its section of the page: ``python -m benchmarks``."""

from __future__ import annotations

import sys
from importlib import import_module

BENCHMARKS = (
    *("imports", "epoch", "precision", "target", "launch"),
    *("mapped", "memory", "growth", "inference", "many", "small_tables", "defaults"),
)


def main() -> int:
    """Run them one after the other, each with its default settings; return 1 if one fails."""
    failed = 0
    for name in BENCHMARKS:
        print(f"# {name}", file=sys.stderr)
        failed |= import_module(f"benchmarks.{name}").main(["--write"])
    return failed


if __name__ == "__main__":
    sys.exit(main())
