"""Class weights as numbers, by class name and balanced, against scikit-learn's."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors
from mlpkit.training import ClassWeights, MeanSquaredError, Trainer, TrainerConfig

class_weight = importlib.import_module("sklearn.utils.class_weight")  # it has no type hints

CONFIG = TrainerConfig(epochs=2, progress=False, device="cpu")
NAMES = ("cat", "dog", "owl")


def examples(names: tuple[str, ...] | None = NAMES) -> LabeledTensors:
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor([0] * 30 + [1] * 9 + [2] * 3)
    return LabeledTensors(torch.randn(42, 4, generator=generator), targets, names)


def trained(weights: ClassWeights | None, data: LabeledTensors) -> Trainer:
    torch.manual_seed(0)
    trainer = Trainer(nn.Linear(4, 3), replace(CONFIG, class_weights=weights))
    trainer.fit(data)
    return trainer


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    trainer = trained("balanced", examples())
    targets = examples().targets.numpy()
    expected = class_weight.compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert trainer.config.class_weights == pytest.approx(expected)


@pytest.mark.parametrize("names", [NAMES, None])
def test_balanced_weights_are_the_numbers(names: tuple[str, ...] | None) -> None:
    balanced = trained("balanced", examples(names))
    given = trained((42 / 90, 42 / 27, 42 / 9), examples(names))
    assert torch.equal(balanced.model.weight, given.model.weight)  # type: ignore[arg-type]  # of a Linear


def test_an_example_of_weight_two_counts_twice_in_balanced_weights() -> None:
    data = examples()
    factors = torch.randint(0, 4, (42,), generator=torch.Generator().manual_seed(1))
    weighted = LabeledTensors(data.inputs, data.targets, NAMES, weights=factors.double())
    repeated = data.targets.repeat_interleave(factors).numpy()
    expected = class_weight.compute_class_weight("balanced", classes=np.arange(3), y=repeated)
    assert trained("balanced", weighted).config.class_weights == pytest.approx(expected)


def test_a_class_without_examples_gets_no_weight() -> None:
    data = LabeledTensors(torch.rand(4, 4), torch.tensor([0, 0, 0, 2]), NAMES)
    assert trained("balanced", data).config.class_weights == pytest.approx((4 / 9, 0.0, 4 / 3))


def test_names_have_any_order() -> None:
    by_name = trained({"owl": 3.0, "cat": 0.5, "dog": 1.0}, examples())
    assert by_name.config.class_weights == (0.5, 1.0, 3.0)
    given = trained((0.5, 1.0, 3.0), examples())
    assert torch.equal(by_name.model.weight, given.model.weight)  # type: ignore[arg-type]  # of a Linear


def test_the_names_may_be_those_of_the_model() -> None:
    model = SoftmaxClassifier.for_data(examples(), (4,))
    weights = {"owl": 3.0, "cat": 0.5, "dog": 1.0}
    trainer = Trainer(model, replace(CONFIG, class_weights=weights))
    trainer.fit(DataLoader(examples().as_torch_dataset(), 8))
    assert trainer.config.class_weights == (0.5, 1.0, 3.0)


@pytest.mark.parametrize(
    ("weights", "data", "message"),
    [
        ({"cat": 1.0, "cow": 2.0}, examples(), r"add \['dog', 'owl'\]; remove \['cow'\]"),
        ({"cat": 1.0}, examples(None), "a sequence of numbers for classes without names"),
        ((1.0, 2.0), examples(), "one number for each of the 3 classes"),
    ],
    ids=["other names", "no names", "count"],
)
def test_what_does_not_fit_the_classes_is_refused(
    weights: ClassWeights, data: LabeledTensors, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(weights, data)


@pytest.mark.parametrize("count", [2, 5])
def test_the_outputs_of_a_bare_module_are_counted(count: int) -> None:
    data = examples(None)
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    trainer = Trainer(model, replace(CONFIG, class_weights=[1.0] * count))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one number for each of the 3 classes"):
        trainer.fit(data)


def test_balanced_batches_need_no_weights() -> None:
    trainer = Trainer(nn.Linear(4, 3), replace(CONFIG, class_weights="balanced"))
    with pytest.raises(ValueError, match="None for batches that are balanced already"):
        trainer.fit(examples().batches(8, balanced=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_rows_of_any_dtype_are_weighted(dtype: torch.dtype) -> None:
    rows = torch.rand(42, 3).softmax(1).to(dtype)
    data = LabeledTensors(torch.rand(42, 4), rows, NAMES)
    assert trained((1.0, 2.0, 3.0), data).state.step > 0


def test_balanced_needs_the_targets_before_the_run() -> None:
    trainer = Trainer(nn.Linear(4, 3), replace(CONFIG, class_weights="balanced"))
    with pytest.raises(ValueError, match="pass LabeledTensors with class indices"):
        trainer.fit(DataLoader(examples().as_torch_dataset(), 8))


def test_a_regression_has_no_classes() -> None:
    config = replace(CONFIG, class_weights="balanced")
    trainer = Trainer(nn.Linear(4, 1), config, objective=MeanSquaredError())
    with pytest.raises(ValueError, match=r"^train must be a classification for class_weights"):
        trainer.fit(LabeledTensors(torch.rand(6, 4), torch.rand(6, 1)))


def test_they_survive_json_and_toml() -> None:
    for weights in ("balanced", {"cat": 1.0, "the dog": 2.0}, (1.0, 2.0)):
        config = replace(CONFIG, class_weights=weights)
        assert TrainerConfig.from_json(config.to_json()) == config
        assert TrainerConfig.from_toml(config.to_toml()) == config
