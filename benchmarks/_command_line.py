"""What every benchmark's command line has, and how its result is shown."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks import _machine, _page


def parser(module: str, description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("--repeats", type=int, default=repeats, help="timed rounds, after a warm-up")
    made.add_argument(
        "--threads", type=int, default=_machine.processors(), help="processors to use"
    )
    made.add_argument("--write", action="store_true", help="write the table into the page")
    return made


def report(
    name: str,
    arguments: Sequence[str],
    load_before: float,
    parts: Sequence[str],
    *,
    write: bool,
    page: Path = _page.PAGE,
) -> None:
    """Print a section of a page, and put it there where asked."""
    shown = [argument for argument in arguments if argument != "--write"]
    command = shlex.join(["python", "-m", f"benchmarks.{name}", *shown])
    content = _page.section(command, load_before, parts)
    print(content)
    if write:
        _page.replace(name, content, page)
