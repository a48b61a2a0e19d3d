"""The presets, adapted to every data set."""

from __future__ import annotations

from typing import get_args

import pytest

from mlpkit.cli._presets import PRESETS, DataFacts, PresetName, preset, preset_for
from mlpkit.data import DatasetName, info
from mlpkit.models import NETWORK_DEFAULTS
from mlpkit.training import Task, TrainerConfig, fill_defaults


def test_the_table_has_the_names_of_its_type() -> None:
    """Every name of the type has a preset."""
    assert set(PRESETS) == set(get_args(PresetName))


@pytest.mark.parametrize("dataset", get_args(DatasetName))
@pytest.mark.parametrize("name", get_args(PresetName))
def test_a_preset_fits_its_data_set(name: PresetName, dataset: DatasetName) -> None:
    """The network has the pixels and classes of the data set, and pooling divides the images."""
    chosen = preset(name, dataset)
    network = chosen.network
    facts = info(dataset)
    assert all(side % chosen.pool == 0 for side in facts.image_shape)
    assert network.in_features == facts.image_shape[0] * facts.image_shape[1]
    assert network.out_features == len(facts.classes)


@pytest.mark.parametrize("task", get_args(Task))
@pytest.mark.parametrize("count", [500, 50_000])
def test_the_default_preset_of_files_is_that_of_the_library(task: Task, count: int) -> None:
    """`mlpkit train FILE.csv` trains what ``Trainer(Model.for_data(train))`` trains."""
    facts = DataFacts(num_examples=count, input_shape=(7,), out_features=3, task=task)
    chosen = preset_for("default", facts)
    filled = fill_defaults(TrainerConfig(), task=task, num_examples=count)
    assert chosen.network.hidden_features == NETWORK_DEFAULTS[task].widths(count)
    assert chosen.network.dropout == NETWORK_DEFAULTS[task].options.dropout
    assert (chosen.network.in_features, chosen.network.out_features) == (7, 3)
    for name in ("epochs", "batch_size", "optimizer", "schedule", "label_smoothing"):
        assert getattr(chosen.training, name) == getattr(filled, name)


@pytest.mark.parametrize(
    ("shape", "pool"), [((28, 28), 2), ((28, 31), 1), ((3, 32, 32), 1), ((64,), 1), ((8, 8), 1)]
)
def test_only_large_gray_images_are_pooled(shape: tuple[int, ...], pool: int) -> None:
    facts = DataFacts(num_examples=100, input_shape=shape, out_features=2)
    assert preset_for("fast", facts).pool == pool
