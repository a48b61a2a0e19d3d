"""`mlpkit demo`: a web page on which people draw inputs for a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mlpkit.cli._model import ModelArgument, as_classifier, load_model
from mlpkit.cli._output import print_path

__all__ = ["Demo"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """Write a web page that classifies what you draw and shows the activations of the network."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    out: Path = Path("demo.html")
    """The HTML file to write."""
    title: str | None = None
    """Heading of the page."""

    def run(self) -> None:
        """Load the model, write the page and print its path."""
        from mlpkit.demo import write_demo

        model = as_classifier(load_model(self.model), "demo")
        print_path(write_demo(model, self.out, title=self.title))
