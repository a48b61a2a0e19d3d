"""Lightning's Trainer over a DataLoader, with all that can be left out left out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contenders import LR, Workload
from benchmarks.contenders._torch import accuracy, network, resident


class Lightning:
    """``fit`` without logger, checkpoints, progress bar and summary."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.data = resident(workload)
        self.loader = DataLoader(
            TensorDataset(self.data.inputs, self.data.targets),
            batch_size=workload.batch_size,
            shuffle=True,
        )
        self.lightning = import_module("lightning")
        # Built at run time: Lightning is not there where the types of this file are checked.
        self.module_class = type(
            "Classifier",
            (self.lightning.LightningModule,),
            {"training_step": _training_step, "configure_optimizers": _configure_optimizers},
        )
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        self.model = network(self.workload, seed)
        self.module = self.module_class()
        self.module.network = self.model
        self.trainer: Any = self.lightning.Trainer(
            max_epochs=self.workload.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def train(self) -> None:
        self.trainer.fit(self.module, self.loader)

    def accuracy(self) -> float:
        return accuracy(self.model, self.data.test_inputs, self.data.test_targets)


def _training_step(self: nn.Module, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
    inputs, targets = batch
    return F.cross_entropy(self.get_submodule("network")(inputs), targets)


def _configure_optimizers(self: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(self.parameters(), lr=LR)


def build(workload: Workload, _variant: str) -> Lightning:
    """Return the trainer."""
    return Lightning(workload)
