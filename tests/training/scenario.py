"""A small training with everything that could go wrong on resume switched on.

Dropout, batch norm, shuffling, noise on the inputs, an averaged model, one-cycle rates and
momentum, accumulation with a short last window, clipping, early stopping's counters, rates
reduced on a plateau: what a resumed training must bring back to end with the same bits. Or, with
``stream``, a stream whose passes, epochs and steps end at different batches, with noise from
torch's global generator.

``main`` is for a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from mlpkit.data import Batches, LabeledTensors
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    EarlyStopping,
    FitResult,
    MetricLike,
    MomentumSchedule,
    OptimizerConfig,
    ReduceLROnPlateau,
    Schedule,
    TopKAccuracy,
    Trainer,
    TrainerConfig,
)

#: Measured by the clock, or about the files alone.
INCOMPARABLE = frozenset({"seconds", "epoch_seconds", "examples_per_second", "checkpoints"})


def examples(number: int = 61, *, seed: int = 0) -> LabeledTensors:
    """Return three overlapping classes in six dimensions."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (number,), generator=generator)
    inputs = torch.randn(number, 6, generator=generator)
    inputs[torch.arange(number), targets] += 1.0
    return LabeledTensors(inputs, targets)


def noise(images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
    """Shift each row by a number that depends on seed, epoch and its index alone."""
    return (
        images + 0.1 * torch.sin(12.9898 * (indices + 1.0) + 78.233 * (epoch + seed + 1.0))[:, None]
    )


def network(seed: int = 0) -> nn.Sequential:
    """Return a small network with batch norm and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
        )


def margin(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return by how much the output of the true class is above the mean, as a custom metric."""
    true = outputs.gather(1, targets[:, None])
    return (true - outputs.mean(dim=1, keepdim=True)).mean()


def everything(
    folder: Path | None, *, epochs: int = 4, every_steps: int = 1, restore_best: bool = False
) -> TrainerConfig:
    """Return a configuration that switches everything on, the best weights where asked for."""
    return TrainerConfig(
        epochs=epochs,
        batch_size=8,
        eval_batch_size=16,
        gradient_accumulation_steps=3,
        optimizer=OptimizerConfig(lr=0.02, weight_decay=0.1),
        schedule=Schedule(kind="one_cycle"),
        momentum_schedule=MomentumSchedule(kind="one_cycle"),
        label_smoothing=0.1,
        class_weights=(1.0, 2.0, 0.5),
        clip_grad_norm=0.5,
        averaging=AveragingConfig(decay=0.9),
        restore_best=restore_best,
        early_stopping=EarlyStopping(patience=1000),
        # no loss improves by 100: the rate is halved after the second and the fourth epoch
        reduce_lr_on_plateau=ReduceLROnPlateau(
            factor=0.5, patience=0, threshold=100.0, threshold_mode="abs", cooldown=1
        ),
        checkpoints=None
        if folder is None
        else CheckpointConfig(folder=folder, every_steps=every_steps),
        progress=False,
    )


class Passes(IterableDataset[tuple[Tensor, Tensor]]):
    """Noisy examples in an order that differs from pass to pass; its position is its state."""

    def __init__(self) -> None:
        self.number = self.position = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data = examples()
        order = torch.randperm(61, generator=torch.Generator().manual_seed(self.number)).tolist()
        while self.position < 61:
            index = order[self.position]
            self.position += 1
            yield data.inputs[index] + 0.1 * torch.randn(6), data.targets[index]
        self.number, self.position = self.number + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"number": self.number, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.number, self.position = state["number"], state["position"]


def streamed(config: TrainerConfig) -> TrainerConfig:
    """Return the settings for a stream: four epochs of three steps, the last one of two."""
    return replace(config, steps_per_epoch=3, max_steps=11)


def train(
    config: TrainerConfig,
    *,
    resume: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[Trainer, FitResult]:
    """Train the small network, from fresh objects as a fresh process has them.

    With ``config.steps_per_epoch`` it is trained on a stream.
    """
    metrics: dict[str, MetricLike] = {"margin": margin, "top2": TopKAccuracy(2)}
    trainer = Trainer(network(), config, callbacks=callbacks, metrics=metrics)
    batches = Batches(examples(), config.batch_size or 8, seed=config.seed, augment=noise)
    stream = DataLoader(Passes(), 8)
    data = batches if config.steps_per_epoch is None else stream
    result = trainer.fit(data, examples(20, seed=1), resume=resume)
    return trainer, result


def differences(one: object, other: object, name: str = "") -> list[str]:
    """Return where two checkpoints differ, bit by bit, but for what the clock says."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [name]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return [f"{name}: {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [
            found
            for key in one
            if key not in INCOMPARABLE
            for found in differences(one[key], other[key], f"{name}.{key}")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return [f"{name}: {len(one)} and {len(other)} items"]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for index, pair in pairs for found in differences(*pair, f"{name}.{index}")]
    return [] if type(one) is type(other) and one == other else [f"{name}: {one} and {other}"]


def main() -> None:
    """Train in the folder given, going on from what is there."""
    torch.set_num_threads(1)
    config = everything(Path(sys.argv[1]), epochs=int(sys.argv[2]), restore_best=True)
    train(config, resume="auto")
