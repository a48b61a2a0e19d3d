"""The presets, adapted to every data set."""

from __future__ import annotations

from typing import get_args

import pytest

from mlpkit.cli._presets import PRESETS, PresetName, preset
from mlpkit.data import DatasetName, info


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
