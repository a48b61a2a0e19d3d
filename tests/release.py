"""The facts that several files of a release repeat: version, date, repository and contact.

pyproject.toml and CHANGELOG.md define them. ``python -m tests.release`` names what is left to fill
in there, ``--fill`` copies the facts to the other files, and ``--tag v0.1.0`` fails unless the tag
is that of the version and nothing is left.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER"

# Name of the fact -> files with a pattern of the text around it.
COPIES = {
    "repository": [
        ("README.md", r"(?<=git clone )\S+"),
        ("CITATION.cff", r"(?<=repository-code: )\S+"),
    ],
    "contact": [
        ("CODE_OF_CONDUCT.md", r"(?<=<)\S+@[^\s>]+"),
        ("SECURITY.md", r"(?<=<)\S+@[^\s>]+"),
    ],
    "version": [("CITATION.cff", r"(?m)(?<=^version: )\S+")],
    "date": [("CITATION.cff", r"(?<=date-released: )\S+")],
}


def facts(root: Path) -> dict[str, str]:
    """Return the facts; the date is missing until the changelog has a heading of the version."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    found = {
        "repository": project["urls"]["Repository"],
        "contact": project["authors"][0]["email"],
        "version": project["version"],
    }
    heading = rf"(?m)^## \[{re.escape(found['version'])}\] - (\d{{4}}-\d\d-\d\d)$"
    date = re.search(heading, (root / "CHANGELOG.md").read_text("utf-8"))
    return found if date is None else {**found, "date": date[1]}


def left_to_fill(root: Path) -> list[str]:
    """Return what the owner has to write before a release, with the line where it belongs."""
    version, has_date = facts(root)["version"], "date" in facts(root)
    found = _lines(root, "pyproject.toml", rf'"[^"\n]*{PLACEHOLDER}[^"\n]*"', PLACEHOLDER)
    if not has_date:
        heading = f"## [{version}] - YYYY-MM-DD"
        found += _lines(root, "CHANGELOG.md", r"(?m)^## \[Unreleased\]", heading) or [heading]
    return found


def _lines(root: Path, name: str, pattern: str, what: str) -> list[str]:
    text = (root / name).read_text("utf-8")
    return [
        f"fill in {what}: {name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for match in re.finditer(pattern, text)
    ]


def different_copies(root: Path) -> list[str]:
    """Return each copy of a fact that differs from it, or that a file no longer has."""
    found = []
    for fact, value in facts(root).items():
        for name, pattern in COPIES[fact]:
            copies = re.findall(pattern, (root / name).read_text("utf-8"))
            cure = "run python -m tests.release --fill"
            found += [
                f"{name}: the {fact} must be {value}, got {copy}; {cure}"
                for copy in copies or ["none"]
                if copy != value
            ]
    return found


def fill(root: Path) -> None:
    """Write each fact into its copies."""
    for fact, value in facts(root).items():
        for name, pattern in COPIES[fact]:
            path = root / name
            path.write_text(re.sub(pattern, value, path.read_text("utf-8")), "utf-8")


def main(words: Sequence[str], root: Path = ROOT) -> int:
    """Do what the command line says; return 1 if a release with the tag must not be published."""
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("--fill", action="store_true", help="copy the facts to the other files")
    parser.add_argument("--tag", help="fail unless a release with this tag can be published")
    options = parser.parse_args(words)
    if options.fill:
        fill(root)
    left, wrong = left_to_fill(root), different_copies(root)
    version = f"v{facts(root)['version']}"
    if options.tag not in (None, version):
        wrong.append(f"--tag must be {version}, got {options.tag}")
    for line in left + wrong:
        print(line)
    return bool(wrong or (left and options.tag is not None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
