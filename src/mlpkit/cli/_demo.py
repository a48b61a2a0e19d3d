"""`mlpkit demo`: a web page on which people draw inputs for a model."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import torch
import tyro

from mlpkit.cli._model import ModelArgument, as_classifier, load_model
from mlpkit.cli._output import print_path
from mlpkit.cli._run_folder import RunFolder
from mlpkit.data import LabeledTensors, info, load
from mlpkit.errors import MlpkitError
from mlpkit.models import SoftmaxClassifier

__all__ = ["Demo"]

_NUM_EXAMPLES = 10
_MOST_EXAMPLES = 20  # of more classes, the others have no example


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """Write a web page that classifies what you draw and shows the activations of the network."""

    model: ModelArgument
    """Folder of a run (runs/...) or of a model."""
    out: Path = Path("demo.html")
    """The HTML file to write."""
    title: str | None = None
    """Heading of the page."""
    examples: bool = True
    """Leave out the examples of the data set of the run."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder with the data files, or of images; by default as in the run."""

    def run(self) -> None:
        """Load the model, write the page and print its path."""
        from mlpkit.demo import write_demo

        model = as_classifier(load_model(self.model), "demo", self.model)
        examples, credit = self._read_examples(model)
        print_path(write_demo(model, self.out, title=self.title, examples=examples, credit=credit))

    def _read_examples(
        self, model: SoftmaxClassifier
    ) -> tuple[LabeledTensors, str] | tuple[None, None]:
        """Return test examples of the data set of the run with their source, if they are there.

        Raises:
            MlpkitError: If ``root`` is given and the examples cannot be read.
        """
        if not self.examples or len(model.input_shape) not in (2, 3):
            return None, None
        try:
            found = self._read_test()
        except (MlpkitError, OSError) as error:
            if self.root is not None:
                raise
            if sys.stderr is not None:
                message = f"the page has no examples: {str(error).splitlines()[0]}"
                print(f"mlpkit: {message}", file=sys.stderr)
            return None, None
        if found is None or found[0].classes != model.classes:
            return None, None
        return _of_each_class(found[0]), found[1]

    def _read_test(self) -> tuple[LabeledTensors, str] | None:
        """Return the test set of the run with its source; None if the run is unknown."""
        run = RunFolder(self.model)
        source = run.read_source()
        if source is not None:
            if self.root is not None:
                source = dataclasses.replace(source, path=self.root)
            name = Path(source.path).resolve().name
            return source.load().test, f"Examples: test images of {name}."
        dataset = run.read_dataset()
        if dataset is None:
            return None
        root, verify = run.read_root(dataset)
        splits = load(dataset, root=self.root or root, verify=verify, download=False)
        about = info(dataset)
        credit = f"Examples: test images of {about.title} ({about.license}). {about.citation}"
        return splits.test, credit


def _of_each_class(data: LabeledTensors) -> LabeledTensors:
    """Return the first examples of each class, by class."""
    num_classes = data.num_classes or 1
    count = max(1, _NUM_EXAMPLES // num_classes)
    rows = [(data.targets == index).nonzero()[:count, 0] for index in range(num_classes)]
    return data[torch.cat(rows)[:_MOST_EXAMPLES]]
