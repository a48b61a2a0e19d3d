"""Mutation testing: which small changes of a source file does its test file notice?

``python -m tests.mutation nn/_init.py`` makes at most 200 mutants of one file and runs the test
file that mirrors it against each of them. A mutant that no test notices survives.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.runner import tested_file

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mlpkit"
FOLDERS = ("nn", "training", "data", "models")
# At least this share of the mutants of these files must be killed.
REQUIRED_SCORE = 0.95
REQUIRED_FILES = (
    "data/_splits.py",
    "models/_calibration.py",
    "models/_softmax_classifier.py",
    "nn/_init.py",
    "training/optim/_schedule.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalent:
    """An entry of ``equivalent.toml``: mutants that no test can kill, and why.

    Attributes:
        file: The source file, relative to the package.
        function: Dotted name of the function or class that contains the line; empty at the top
            level.
        before: The changed lines of the original, stripped and joined by spaces.
        after: The same lines of the mutant; None for every change of these lines.
        previous: The line before the change where the same line occurs twice; None for any.
        reason: Why the behavior does not change.
    """

    file: str
    function: str
    before: str
    after: str | None = None
    previous: str | None = None
    reason: str

    def is_for(self, mutant: Mutant) -> bool:
        """Return whether this is the entry of a mutant of the file."""
        return (
            (self.function, self.before) == (mutant.function, mutant.before)
            and self.after in (None, mutant.after)
            and self.previous in (None, mutant.previous)
        )


def main() -> None:
    """Run the files of the command line, print their scores and exit with 1 if one is too low."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "paths", nargs="*", help="files and folders in src/mlpkit; default: nn training data models"
    )
    parser.add_argument("--required", action="store_true", help="run the files with a least score")
    parser.add_argument("--mutants", type=int, default=200, help="largest number for each file")
    parser.add_argument("--seed", type=int, default=0, help="chooses the mutants")
    options = parser.parse_args()
    table = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))
    equivalents = [Equivalent(**entry) for entry in table["equivalent"]]
    os.chdir(ROOT)
    paths = REQUIRED_FILES if options.required else options.paths or FOLDERS
    names = [name for path in paths for name in files_of(path)]
    passes = [run_file(name, equivalents, options.mutants, options.seed) for name in names]
    sys.exit(0 if all(passes) else 1)


def files_of(path: str) -> list[str]:
    """Return the files of a folder, or a file itself, relative to the package."""
    found = PACKAGE / path
    files = sorted(found.rglob("*.py")) if found.is_dir() else [found]
    return [str(file.relative_to(PACKAGE)) for file in files if file.name != "__init__.py"]


def run_file(name: str, equivalents: list[Equivalent], limit: int, seed: int) -> bool:
    """Print the score and the survivors of a file; return whether the score is high enough."""
    tests = ROOT / "tests" / Path(name).parent / f"test_{Path(name).name.removeprefix('_')}"
    if not tests.exists():
        print(f"{name}: there is no {tests.relative_to(ROOT)}", flush=True)
        return False
    start = time.monotonic()
    source = (PACKAGE / name).read_text(encoding="utf-8")
    lines = " ".join(line.strip() for line in source.splitlines())
    known = [entry for entry in equivalents if entry.file == name]
    stale = [entry for entry in known if entry.before not in lines]
    for entry in stale:
        print(f"{name}: equivalent.toml lists a line that does not exist: {entry.before}")
    # A small sample is the beginning of a large one.
    chosen = list(islice(mutants_of(source, f"{seed} {name}"), limit))
    tried = [mutant for mutant in chosen if not any(entry.is_for(mutant) for entry in known)]
    with tested_file(PACKAGE, name, tests) as tested:
        survivors = [mutant for mutant in tried if not tested.kills(mutant.source)]
    killed = len(tried) - len(survivors)
    score = killed / len(tried) if tried else 1.0
    print(
        f"{name}: {score:.1%}, {killed} of {len(tried)} killed, {len(chosen) - len(tried)} "
        f"equivalent, {time.monotonic() - start:.0f} s"
    )
    for mutant in survivors:
        print(f"  survives in {mutant.function or 'the module'}")
        print(f"    - {mutant.before}\n    + {mutant.after}")
    sys.stdout.flush()
    return not stale and (name not in REQUIRED_FILES or score >= REQUIRED_SCORE)


if __name__ == "__main__":
    main()
