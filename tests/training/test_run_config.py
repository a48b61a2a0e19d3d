"""The settings of a run depend on the kind of its data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mlpkit.data import LabeledTensors
from mlpkit.training import BinaryCrossEntropy, Trainer, TrainerConfig, TrainingData

CONFIG = TrainerConfig(progress=False, device="cpu")
DATA = LabeledTensors(torch.rand(20, 3), torch.arange(20) % 2)


@pytest.mark.parametrize(
    ("train", "epochs"),
    [
        (DATA, 200),  # one step of up to 64 examples
        (DATA.batches(1), 50),
        (DataLoader(DATA.as_torch_dataset(), 2), 100),
    ],
    ids=["LabeledTensors", "Batches", "DataLoader"],
)
def test_epochs_depend_on_the_steps_of_an_epoch(train: TrainingData, epochs: int) -> None:
    trainer = Trainer(nn.Linear(3, 2), CONFIG)
    trainer.fit(train)
    assert trainer.config.epochs == epochs


def test_several_labels_have_no_class_weights() -> None:
    data = LabeledTensors(torch.rand(6, 3), torch.ones(6, 2))
    config = replace(CONFIG, class_weights=(1.0, 2.0))
    trainer = Trainer(nn.Linear(3, 2), config, objective=BinaryCrossEntropy())
    with pytest.raises(ValueError, match=r"use BinaryCrossEntropy\(pos_weight=\.\.\.\)"):
        trainer.fit(data)
