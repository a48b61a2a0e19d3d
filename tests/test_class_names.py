"""Class names of model, training and validation data are compared before anything is trained."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mlpkit import SoftmaxClassifier
from mlpkit._class_names import check_same_classes, class_names
from mlpkit.data import LabeledTensors
from mlpkit.training import Trainer, TrainerConfig, fit_many

CONFIG = TrainerConfig(epochs=1, batch_size=8, progress=False)
NAMES = ("ant", "bee", "cat")


def data(classes: tuple[str, ...] | None = NAMES, examples: int = 24) -> LabeledTensors:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(examples, 4, generator=generator)
    return LabeledTensors(inputs, torch.arange(examples) % 3, classes)


class Folder(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set with class names, as torchvision's."""

    classes = ("bee", "ant", "cat")

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(4), torch.tensor(index % 3)


def test_names_are_found_in_data_batches_and_loaders() -> None:
    assert class_names(data()) == NAMES
    assert class_names(data().batches(8)) == NAMES
    assert class_names(DataLoader(Folder(), 8)) == Folder.classes
    assert class_names(SoftmaxClassifier.for_data(data(), (4,))) == NAMES
    assert class_names(data(None)) is None
    assert class_names(torch.nn.Linear(1, 1)) is None


@pytest.mark.parametrize("other", [("bee", "ant", "cat"), ("ant", "bee", "dog")], ids=str)
def test_other_names_or_another_order_are_refused(other: tuple[str, ...]) -> None:
    """The message names both lists; nothing has been trained."""
    train, val = data(), data(other)
    model = SoftmaxClassifier.for_data(train, (4,))
    before = model.network.layers[0].linear.weight.clone()
    trainer = Trainer(model, CONFIG)
    cure = r"(with_classes|'dog'.*, which model does not have)"
    pattern = rf"val\.classes must be those of model .*ant.*bee.*cat.* got .*; .*{cure}"
    with pytest.raises(ValueError, match=pattern):
        trainer.fit(train, val)
    with pytest.raises(ValueError, match=r"train\.classes must be those of model"):
        trainer.fit(val)
    with pytest.raises(ValueError, match=r"data\.classes must be those of model"):
        trainer.evaluate(val)
    with pytest.raises(ValueError, match=r"val\.classes must be those of models"):
        fit_many([model], train, val, config=CONFIG)
    with pytest.raises(ValueError, match=r"val\.classes must be those of train"):
        Trainer(torch.nn.Linear(4, 3), CONFIG).fit(train, val)
    assert torch.equal(model.network.layers[0].linear.weight, before)


def test_data_without_names_are_accepted() -> None:
    train = data()
    result = Trainer(SoftmaxClassifier.for_data(train, (4,)), CONFIG).fit(train, data(None))
    assert result.stop_reason == "completed"


class Points(Folder):
    """A data set of distinguishable examples whose classes are numbered in another order."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((4,), float(index)), torch.tensor(index % 3)


@pytest.mark.parametrize("kind", ["data", "batches", "loader"])
def test_the_cure_for_another_order_works(kind: str) -> None:
    """The expression in the message is executed, and its result is accepted."""
    train = data()
    val: object = LabeledTensors.from_dataset(Points(), classes=Points.classes)
    if kind == "batches":
        val = val.batches(8)  # type: ignore[attr-defined]
    if kind == "loader":
        val = DataLoader(Points(), 8)
    with pytest.raises(ValueError, match=r"^val\.classes must be those of train ") as caught:
        check_same_classes({"train": train, "val": val})
    code = re.search(r"[\w.]+(?:\([\w.]+\))?\.with_classes\(\.\.\.\)", str(caught.value))
    assert code is not None, str(caught.value)
    call = code[0].replace("...", "NAMES")
    names = {"LabeledTensors": LabeledTensors, "NAMES": NAMES, "val": val}
    cured = eval(call, names)  # noqa: S307 - from this package
    check_same_classes({"train": train, "val": cured})
    before = [Points.classes[index % 3] for index in range(24)]
    assert [NAMES[index] for index in cured.targets.tolist()] == before


def test_the_names_of_targets_are_names() -> None:
    class WithTargets:
        target_names = ("p", "q")

    assert class_names(WithTargets()) == ("p", "q")


def test_tables_with_other_columns_are_refused() -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0, 4.0], "age": [3.0, 1.0, 2.0], "y": [1.5, 2.5, 3.5]})
    train = LabeledTensors.from_frame(frame, target="y")
    swapped = LabeledTensors.from_frame(frame[["age", "size", "y"]], target="y")
    check_same_classes(
        {"train": train, "val": LabeledTensors.from_frame(frame, encoder=train.encoder)}
    )
    for other in (swapped, swapped.batches(2)):
        with pytest.raises(ValueError, match=r"val must be encoded as train is, .*train\.encoder"):
            check_same_classes({"train": train, "val": other})
