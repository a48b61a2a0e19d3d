"""Make the golden checkpoint of format 1, or go on from it.

``python -m tests.training.checkpoints.golden.make_format_1 make`` is run once for a format; from
release 0.1.0 on its files stay as they are. ``resume PATH`` resumes a checkpoint and prints where
the run ends.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
)

HERE = Path(__file__).parent


class Part(NamedTuple):
    """A batch."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    indices: Tensor


class Lattice:
    """Points of a lattice in an order of its own, so that the file depends on nothing else."""

    num_examples = 16
    fingerprint = "lattice of 16 points"

    def __len__(self) -> int:
        return 4

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Part]:
        """Give batches of four points."""
        for batch in range(start, 4):
            indices = (torch.arange(4) * 5 + 4 * batch + epoch) % 16
            inputs = torch.stack([indices // 4, indices % 4], dim=1) / 2.0 - 0.75
            yield Part(inputs, (inputs.prod(dim=1) > 0).long(), None, indices)


class StopAtStep(Callback):
    """Asks the training to stop after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        """Ask."""
        if step.step == self.step:
            trainer.stop()


def trainer(folder: Path, *callbacks: Callback) -> Trainer:
    """Return the trainer of the golden checkpoint."""
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1.0, 1.0, parameter.numel()).view_as(parameter))
    config = TrainerConfig(
        epochs=3,
        gradient_accumulation_steps=3,
        optimizer=OptimizerConfig(lr=0.05, weight_decay=0.01),
        schedule=Schedule(kind="one_cycle"),
        averaging=AveragingConfig(decay=0.5),
        checkpoints=CheckpointConfig(folder=folder),
        device="cpu",
        progress=False,
    )
    return Trainer(model, config, callbacks=callbacks)


def end(trained: Trainer) -> dict[str, object]:
    """Return where a training ended."""
    weights = trained.model.state_dict()
    return {
        "step": trained.state.step,
        "final": {name: value.flatten().tolist() for name, value in weights.items()},
    }


def main() -> None:
    """Do what the command line says."""
    torch.set_num_threads(1)
    if sys.argv[1] == "make":
        trainer(HERE, StopAtStep(2)).fit(Lattice(), Lattice())
        (HERE / "last.pt").rename(HERE / "format_1.pt")
        (HERE / "best.pt").unlink()
        resumed = trainer(HERE)
        resumed.fit(Lattice(), Lattice(), resume=HERE / "format_1.pt")
        (HERE / "format_1.json").write_text(json.dumps(end(resumed), indent=2) + "\n")
        (HERE / "last.pt").unlink()
        (HERE / "best.pt").unlink(missing_ok=True)
    else:
        resumed = trainer(Path(sys.argv[3]))
        resumed.fit(Lattice(), Lattice(), resume=sys.argv[2])
        sys.stdout.write(json.dumps(end(resumed)) + "\n")


if __name__ == "__main__":
    main()
