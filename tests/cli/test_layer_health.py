"""The layer health of a run, measured without an effect on the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit import SoftmaxClassifier
from mlpkit.cli._layer_health import NUM_EXAMPLES, LayerHealthLog
from mlpkit.data import digits
from mlpkit.nn import MLPOptions, activation_statistics
from mlpkit.report import read_layer_health
from mlpkit.training import EpochRow, Trainer, TrainerConfig


def test_each_epoch_is_measured_and_nothing_changes(tmp_path: Path) -> None:
    """Oracle: the statistics of the same network before and after the run."""
    splits = digits()

    def classifier() -> SoftmaxClassifier:
        generator = torch.Generator().manual_seed(3)
        return SoftmaxClassifier.for_data(
            splits.train, (12, 9), MLPOptions(dropout=0.2, norm="batch"), generator=generator
        )

    logged, path = classifier(), tmp_path / "layer_health.json"
    log = LayerHealthLog(logged, splits.train.inputs, path)
    Trainer(logged, TrainerConfig(epochs=2), callbacks=[log]).fit(splits.train)
    indices = torch.linspace(0, len(splits.train) - 1, NUM_EXAMPLES).long()
    inputs = logged.standardize(splits.train.inputs[indices])
    measured = read_layer_health(path)
    assert list(measured) == [0, 1, 2]
    assert measured[0] == activation_statistics(classifier().network, inputs)
    assert measured[1] != measured[2]
    assert measured[2] == activation_statistics(logged.network, inputs)
    bare = classifier()
    Trainer(bare, TrainerConfig(epochs=2)).fit(splits.train)
    expected = bare.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in logged.state_dict().items())


def test_a_resumed_run_keeps_its_measurements(tmp_path: Path) -> None:
    """The measurements of a checkpoint are restored, and the initial one is not repeated."""
    splits = digits()
    model = SoftmaxClassifier.for_data(splits.train, (6,))
    first = LayerHealthLog(model, splits.train.inputs, tmp_path / "first.json")
    trainer = Trainer(model, TrainerConfig(epochs=1))
    first.on_fit_start(trainer)
    second = LayerHealthLog(model, splits.train.inputs, tmp_path / "second.json")
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        model.network.layers[0].linear.weight.zero_()
    second.on_fit_start(trainer)
    row = EpochRow(epoch=4, step=9, lr=0.1, train_loss=1.5, seconds=2.0, examples_per_second=7.0)
    second.on_epoch_end(trainer, row)
    found = read_layer_health(tmp_path / "second.json")
    assert list(found) == [0, 5]
    assert found[0] == read_layer_health(tmp_path / "first.json")[0]
    assert found[5].layers[0].dead > found[0].layers[0].dead


@pytest.mark.parametrize("hidden", [("7", "5"), ()])
def test_the_file_exists_if_there_are_hidden_layers(
    hidden: tuple[str, ...], run_here: Callable[..., int], tmp_path: Path
) -> None:
    """There is a measurement before the first and after each epoch; a linear model has none."""
    assert run_here("train", "--epochs", "3", "--hidden-features", *hidden) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    path = folder / "layer_health.json"
    assert path.exists() == bool(hidden)
    if hidden:
        assert list(read_layer_health(path)) == [0, 1, 2, 3]
