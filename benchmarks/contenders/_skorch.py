"""skorch's NeuralNetClassifier with the callbacks it has by default."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import nn

from benchmarks.contenders import LR, Workload
from benchmarks.contenders._torch import network, resident


class Skorch:
    """``fit`` without a held-out part, which the others do not hold out either."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.data = resident(workload)
        self.estimator = import_module("skorch").NeuralNetClassifier
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        self.classifier: Any = self.estimator(
            network(self.workload, seed),
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=LR,
            batch_size=self.workload.batch_size,
            max_epochs=self.workload.epochs,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        self.classifier.initialize()

    def train(self) -> None:
        self.classifier.partial_fit(self.data.inputs, self.data.targets)

    def accuracy(self) -> float:
        found = torch.as_tensor(self.classifier.predict(self.data.test_inputs))
        return float((found == self.data.test_targets).double().mean())


def build(workload: Workload, _variant: str) -> Skorch:
    """Return the classifier."""
    return Skorch(workload)
