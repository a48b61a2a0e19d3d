"""`mlpkit data`: facts about a data set, and a contact sheet of its images."""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tyro.conf import Positional

from mlpkit._checks import check_int
from mlpkit._files import write_atomically
from mlpkit.cli._output import print_path
from mlpkit.data import DatasetName, contact_sheet, info, load

__all__ = ["Data", "DataInfo", "DataShow"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataInfo:
    """Print the classes, sizes, license and citation of a data set."""

    name: Annotated[Positional[DatasetName], tyro.conf.arg(metavar="DATASET")]
    """digits, mnist, fashion_mnist, kmnist, qmnist, emnist_letters..."""

    def run(self) -> None:
        """Print one line per fact."""
        facts = info(self.name)
        rows = (
            ("name", facts.name),
            ("title", facts.title),
            ("what", facts.description),
            ("images", f"{facts.image_shape[0]} x {facts.image_shape[1]}, 0 to {facts.max_value}"),
            ("classes", ", ".join(facts.classes)),
            (
                "split",
                f"{facts.num_train - facts.val_size:,} training, {facts.val_size:,} "
                f"validation, {facts.num_test:,} test",
            ),
            ("source", facts.source),
            ("files", ", ".join(file.name for file in facts.files) or "no download needed"),
            ("license", facts.license),
            ("homepage", facts.homepage),
            ("citation", facts.citation),
        )
        for name, fact in rows:
            print(
                textwrap.fill(
                    f"{name:<10}{fact}",
                    width=96,
                    subsequent_indent=" " * 10,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataShow:
    """Write an image with examples of each class of a data set, one row per class."""

    name: Annotated[Positional[DatasetName], tyro.conf.arg(metavar="DATASET")]
    """digits, mnist, fashion_mnist, kmnist, qmnist, emnist_letters..."""
    root: Path | None = None
    """Folder with the data files; by default MLPKIT_DATA, then the cache, then a download."""
    out: Path | None = None
    """The PNG file to write; NAME.png by default."""
    columns: int = 12
    """Number of examples per class."""

    def run(self) -> None:
        """Write the image and print its path."""
        check_int("--columns", self.columns, minimum=1)
        train = load(self.name, root=self.root).train
        rows = [
            torch.nonzero(train.targets == label).flatten()[: self.columns]
            for label in range(len(train.classes or ()))
        ]
        path = self.out or Path(f"{self.name}.png")
        images = train.inputs[torch.cat(rows)]
        scaled = images.float().mul(255 / info(self.name).max_value).to(torch.uint8)
        sheet = contact_sheet(scaled, columns=self.columns)
        write_atomically(path, lambda file: sheet.save(file, format="PNG"))
        print_path(path)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Show facts about a data set, or its images."""

    command: Annotated[
        Annotated[DataInfo, tyro.conf.subcommand("info")]
        | Annotated[DataShow, tyro.conf.subcommand("show")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        """Run the chosen subcommand."""
        self.command.run()
