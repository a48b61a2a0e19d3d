"""`mlpkit demo`: a web page in which people draw for a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mlpkit.cli._model import ModelArgument, load_model

__all__ = ["Demo"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """Write one web page in which people draw for a model and watch it think."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    out: Path = Path("demo.html")
    """The HTML file to write."""
    title: str | None = None
    """Heading of the page."""

    def run(self) -> None:
        """Load, write, and print the path."""
        from mlpkit.demo import write_demo

        print(write_demo(load_model(self.model), self.out, title=self.title))
