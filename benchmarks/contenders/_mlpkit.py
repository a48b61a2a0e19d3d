"""mlpkit's Trainer with its default features and a schedule, on the raw uint8 images."""

from __future__ import annotations

import torch

from benchmarks import _mnist
from benchmarks.contenders import LR, Workload
from mlpkit import SoftmaxClassifier
from mlpkit.data import mnist
from mlpkit.training import OptimizerConfig, Precision, Schedule, Trainer, TrainerConfig

# The schedule of the Trainer and of the hand-written loop that it is compared with.
SCHEDULE = Schedule(kind="one_cycle")


class TrainerFit:
    """One ``fit``: NaN guard, history, schedule and the look for a terminal are in the clock."""

    def __init__(self, workload: Workload, precision: Precision) -> None:
        self.workload = workload
        splits = mnist(_mnist.folder(), val_size=0, download=False)
        self.train_data = splits.train[: workload.examples]
        self.test_data = splits.test
        self.config = TrainerConfig(
            epochs=workload.epochs,
            batch_size=workload.batch_size,
            optimizer=OptimizerConfig(name="adamw", lr=LR),
            schedule=SCHEDULE,
            precision=precision,
            device="cpu",
        )
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        model = SoftmaxClassifier.for_data(
            self.train_data,
            hidden_features=self.workload.hidden_features,
            generator=torch.Generator().manual_seed(seed),
        )
        self.trainer = Trainer(model, self.config)

    def train(self) -> None:
        self.trainer.fit(self.train_data)

    def accuracy(self) -> float:
        found = self.trainer.evaluate(self.test_data).classification
        assert found is not None
        return found.accuracy


def build(workload: Workload, variant: str) -> TrainerFit:
    """Return the trainer in one precision."""
    precisions: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16"}
    return TrainerFit(workload, precisions[variant])
