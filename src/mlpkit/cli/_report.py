"""`mlpkit report`: an HTML page about a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from mlpkit.cli._files import read_run_files
from mlpkit.cli._output import print_path
from mlpkit.report import write_report

__all__ = ["Report"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Write an HTML page about a run: curves, test metrics, errors, weights, layers, options."""

    folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run (runs/...)."""
    out: Path | None = None
    """The HTML file to write; RUN/report.html by default."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with the data files, or the CSV file; by default as in the run."""

    def run(self) -> None:
        """Read the run, write the page and print its path."""
        found = read_run_files(self.folder, self.root)
        print_path(write_report(found, self.out or self.folder / "report.html"))
