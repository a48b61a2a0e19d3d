"""Where a run starts, and what is checked before it does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from tests.training.scenario import examples, network
from torch import nn

from mlpkit.errors import CheckpointError
from mlpkit.training import CheckpointConfig, Trainer, TrainerConfig

TRAIN = examples()
PLAIN = TrainerConfig(epochs=2, batch_size=8, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warm_start": True, "resume": "a"}, "warm_start must be None or False together with res"),
        ({"init_from": "b", "resume": "a"}, "init_from must be None or False together with resume"),
        ({"init_from": "b", "warm_start": True}, "init_from must be .* with warm_start, got 'b'"),
        ({"init_optimizer": True}, "init_optimizer must be False without init_from, got True"),
    ],
)
def test_arguments_exclude_one_another(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trainer(network(), PLAIN).fit(TRAIN, **arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="warm_start must be True or False, got 1"):
        Trainer(network(), PLAIN).fit(TRAIN, warm_start=1)  # type: ignore[arg-type]


def test_nothing_is_made_where_a_check_fails(tmp_path: Path) -> None:
    """Neither a folder nor a run; the trainer keeps its earlier run."""
    folder = tmp_path / "run"
    config = TrainerConfig(epochs=1, checkpoints=CheckpointConfig(folder=folder), progress=False)
    trainer = Trainer(network(), config)
    with pytest.raises(CheckpointError, match=r"missing\.pt could not be read"):
        trainer.fit(TRAIN, resume=tmp_path / "missing.pt")
    assert not folder.exists()
    assert len(trainer.history) == 0
    trainer.fit(TRAIN)
    history = trainer.history
    with pytest.raises(ValueError, match=r"checkpoints\.folder must be a folder without"):
        trainer.fit(TRAIN)
    assert trainer.history is history


@pytest.mark.parametrize(("size", "rule"), [(1, "at least 2"), (12, "a divisor")])
def test_batch_norm_needs_two_examples(size: int, rule: str) -> None:
    """Also in the last of 61 examples."""
    config = TrainerConfig(epochs=1, batch_size=size, progress=False)
    with pytest.raises(ValueError, match=f"batch_size must be {rule}"):
        Trainer(network(), config).fit(TRAIN)


def test_the_factory_gets_the_trainable_parameters() -> None:
    model = nn.Linear(6, 3)
    model.bias.requires_grad = False
    seen: list[nn.Parameter] = []

    def build(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        seen.extend(parameters)
        return torch.optim.SGD(seen, lr=0.1)

    Trainer(model, PLAIN, optimizer=build).fit(TRAIN)
    assert len(seen) == 1
    assert seen[0] is model.weight
