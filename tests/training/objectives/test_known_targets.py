"""Targets that an objective cannot have are refused before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mlpkit.data import LabeledTensors
from mlpkit.training import (
    BinaryCrossEntropy,
    Callback,
    CheckpointConfig,
    CrossEntropy,
    Huber,
    MeanSquaredError,
    Mixup,
    Objective,
    Trainer,
    TrainerConfig,
)

INDICES = torch.tensor([0, 1, 0, 1])
REAL = torch.tensor([0.3, 1.7, -2.0, 5.0])
ROWS = torch.tensor([[0.2, 0.8], [1.0, 0.0], [0.5, 0.5], [0.9, 0.0]])  # the last sums to 0.9
LABELS = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


class Started(Callback):
    """Fails if the run starts."""

    def on_fit_start(self, trainer: Trainer) -> None:  # noqa: ARG002 - the hook
        pytest.fail("the run has started")


@pytest.mark.parametrize(
    ("objective", "targets", "error", "message"),
    [
        (None, REAL, ValueError, r"or pass objective=MeanSquaredError\(\) and targets\[:, None\]"),
        (
            None,
            REAL,
            ValueError,
            r"targets\[:, None\] if the model returns .* \(N, 1\)",
        ),
        (None, REAL[:, None], ValueError, r"mlpkit\.Regressor, or pass objective=MeanSq"),
        (None, REAL.abs().round(), ValueError, r"MeanSquaredError"),
        (None, INDICES.float(), ValueError, r"mlpkit\.MultilabelClassifier, or pass objective=Bin"),
        (None, ROWS, ValueError, r"rows of at least 0 that sum to 1, got \[0\.8999"),
        (None, LABELS, ValueError, r"pass objective=BinaryCrossEntropy\(\)"),
        (CrossEntropy(), REAL, ValueError, "at least two classes, for the cross-entropy, got"),
        (Mixup(0.2), REAL, ValueError, "at least two classes, for the cross-entropy, got"),
        (BinaryCrossEntropy(), REAL, ValueError, r"in \[0, 1\], got \[-2\.0, 5\.0\]"),
        (BinaryCrossEntropy(), INDICES, TypeError, r"got torch\.int64; pass targets\.float\(\)"),
        (MeanSquaredError(), INDICES, TypeError, r"pass targets\.float\(\) for a regression"),
        (Huber(), INDICES, TypeError, r"pass targets\.float\(\) for a regression"),
    ],
)
def test_they_are_refused_before_anything_is_made(
    objective: Objective | None,
    targets: Tensor,
    error: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    config = TrainerConfig(
        epochs=1, progress=False, checkpoints=CheckpointConfig(folder=tmp_path / "run")
    )
    trainer = Trainer(nn.Linear(3, 2), config, objective=objective, callbacks=[Started()])
    with pytest.raises(error, match=message):
        trainer.fit(LabeledTensors(torch.rand(4, 3), targets))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("targets", [INDICES, ROWS[:3].repeat(2, 1)[:4]], ids=["indices", "rows"])
def test_classes_are_accepted(targets: Tensor) -> None:
    config = TrainerConfig(epochs=1, progress=False)
    data = LabeledTensors(torch.rand(4, 3), targets)
    assert Trainer(nn.Linear(3, 2), config).fit(data).stop_reason == "completed"


def test_an_objective_of_the_user_is_not_checked() -> None:
    def distance(model: nn.Module, batch: object) -> Tensor:
        return model(batch.inputs).sum(1) - batch.targets  # type: ignore[attr-defined,no-any-return]

    config = TrainerConfig(epochs=1, progress=False)
    trainer = Trainer(nn.Linear(3, 2), config, objective=distance)
    assert trainer.fit(LabeledTensors(torch.rand(4, 3), REAL)).stop_reason == "completed"
