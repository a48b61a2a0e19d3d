"""Processes that do not have the same data, settings or numbers: an error or one decision."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.distributed as dist
from tests.training.distributed.processes import run_ranks
from tests.training.distributed.runs import examples, network
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from mlpkit import MLP
from mlpkit.data import LabeledTensors
from mlpkit.training import (
    BatchLike,
    EarlyStopping,
    Monitor,
    Trainer,
    TrainerConfig,
    TrainingData,
)

pytestmark = pytest.mark.distributed

CONFIG = TrainerConfig(epochs=1, batch_size=50, progress=False)


class TwoOutputs(nn.Module):
    """A network whose outputs are not one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MLP(64, (4,), 2, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.network(x).unbind(1)
        return first, second


class SumOfSquares:
    """The loss of both outputs."""

    task = "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        first, second = model(batch.inputs)
        loss: Tensor = (first - batch.targets).square() + second.square()
        return loss


def message(data: TrainingData, val: TrainingData, config: TrainerConfig = CONFIG) -> str:
    """Return the error of a run."""
    with pytest.raises(ValueError, match="the same in every process") as found:
        Trainer(network(), config).fit(data, val)
    return str(found.value)


def errors() -> dict[str, str]:
    rank = dist.get_rank()
    train, val = examples()
    tensors = TensorDataset(train.inputs, train.targets)
    sampled = DataLoader(tensors, batch_size=50, sampler=DistributedSampler(tensors))
    other = dataclasses.replace(CONFIG, validate_every=1 + rank)
    return {
        "data.train": message(train[rank:], val),
        "config.validate_every": message(train, val, other),
        "the batches of train": message(sampled, val),
        "the validation batches": message(train, sampled),
    }


def runs() -> tuple[int, list[float | None]]:
    """Return the number of epochs, which a metric of a process stops, and losses of two outputs."""
    train, val = examples()
    values = iter([0.1, 0.2, 0.3, 0.0] if dist.get_rank() == 0 else [0.1, 0.0, 0.0, 0.0])
    config = dataclasses.replace(
        CONFIG,
        epochs=4,
        monitor=Monitor("val_score", "max"),
        early_stopping=EarlyStopping(patience=1),
    )
    stopped = Trainer(network(), config, metrics={"score": lambda *_: next(values)})
    epochs = len(stopped.fit(train, val).history)
    data = [LabeledTensors(part.inputs, part.targets.float()) for part in (train, val)]
    result = Trainer(TwoOutputs(), CONFIG, objective=SumOfSquares()).fit(*data)
    return epochs, [row.val_loss for row in result.history]


def both() -> tuple[dict[str, str], tuple[int, list[float | None]]]:
    return errors(), runs()


def test_processes_that_disagree_raise_or_follow_the_first() -> None:
    """Other data or settings, a sampler for processes, and a metric that differs."""
    train, val = (LabeledTensors(part.inputs, part.targets.float()) for part in examples())
    alone = Trainer(TwoOutputs(), CONFIG, objective=SumOfSquares()).fit(train, val)
    for messages, (epochs, losses) in run_ranks(both, 2):
        assert all(text.startswith(name) for name, text in messages.items())
        assert epochs == 4
        assert losses == pytest.approx([row.val_loss for row in alone.history], rel=1e-5)
