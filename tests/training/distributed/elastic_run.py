"""A script for ``torchrun`` whose processes are killed, each once.

Usage: elastic_run.py FOLDER RANK:STEP...
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.nn import MLPOptions
from mlpkit.training import (
    Callback,
    CheckpointConfig,
    OptimizerConfig,
    StepInfo,
    Trainer,
    TrainerConfig,
)


class KillAt(Callback):
    """Kills its process at a step, unless it has done so before."""

    def __init__(self, step: int, done: Path) -> None:
        self.step = step
        self.done = done

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002 - the hook
        if step.step + 1 == self.step and not self.done.exists():
            self.done.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder = Path(sys.argv[1])
    callbacks: list[Callback] = []
    for kill in sys.argv[2:]:
        rank, step = map(int, kill.split(":"))
        if rank == int(os.environ["RANK"]):
            callbacks.append(KillAt(step, folder / f"killed-{rank}-{step}"))
    splits = digits()
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxClassifier.for_data(
        splits.train, (16,), MLPOptions(dropout=0.2), generator=generator
    )
    config = TrainerConfig(
        epochs=2,
        batch_size=100,
        optimizer=OptimizerConfig(lr=0.01),
        checkpoints=CheckpointConfig(folder=folder / "run", every_steps=3),
        progress=False,
    )
    train, val = splits.train[:600], splits.train[600:700]
    trainer = Trainer(model, config, callbacks=callbacks)
    trainer.fit(train, val, resume="auto")
    if trainer.rank == 0:
        torch.save((trainer.state.step, model.state_dict()), folder / "result.pt")


if __name__ == "__main__":
    main()
