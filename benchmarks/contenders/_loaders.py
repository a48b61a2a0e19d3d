"""Loops over a DataLoader: tensors in memory, and the style of PyTorch's own MNIST example."""

from __future__ import annotations

import gzip
import tempfile
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks import _mnist
from benchmarks.contenders import LR, Workload
from benchmarks.contenders._torch import accuracy, network, resident


class LoaderLoop:
    """A DataLoader of ``(images, labels)`` and the loop of the tutorials."""

    def __init__(self, workload: Workload, dataset: Dataset[tuple[Tensor, ...]]) -> None:
        self.workload = workload
        self.loader = DataLoader(dataset, batch_size=workload.batch_size, shuffle=True)
        self.test = resident(workload)
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        self.model: nn.Module = network(self.workload, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR)

    def train(self) -> None:
        self.model.train()
        for _ in range(self.workload.epochs):
            for images, labels in self.loader:
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.model(images), labels)
                torch.autograd.backward(loss)
                self.optimizer.step()

    def accuracy(self) -> float:
        return accuracy(self.model, self.test.test_inputs, self.test.test_targets)


class ExampleLoop(LoaderLoop):
    """What pytorch/examples/mnist does: images through transforms, a line every ten batches."""

    def __init__(self, workload: Workload) -> None:
        datasets = import_module("torchvision.datasets")
        transforms = import_module("torchvision.transforms")
        self.folder = tempfile.TemporaryDirectory()
        raw = Path(self.folder.name) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for packed in _mnist.folder().glob("*-ubyte.gz"):
            (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((_mnist.MEAN,), (_mnist.STD,))]
        )
        dataset = datasets.MNIST(self.folder.name, train=True, transform=transform)
        if workload.examples < len(dataset):
            dataset = torch.utils.data.Subset(dataset, range(workload.examples))
        super().__init__(workload, dataset)

    def prepare(self, seed: int) -> None:
        super().prepare(seed)
        self.model = nn.Sequential(nn.Flatten(), self.model, nn.LogSoftmax(dim=1))

    def train(self) -> None:
        self.model.train()
        for epoch in range(self.workload.epochs):
            for index, (images, labels) in enumerate(self.loader):
                self.optimizer.zero_grad()
                loss = F.nll_loss(self.model(images), labels)
                torch.autograd.backward(loss)
                self.optimizer.step()
                if index % 10 == 0:
                    print(f"Train Epoch: {epoch} [{index * len(images)}]\tLoss: {loss.item():.6f}")


def build(workload: Workload, variant: str) -> LoaderLoop:
    """Return one of the two loops."""
    if variant == "example":
        return ExampleLoop(workload)
    data = resident(workload)
    return LoaderLoop(workload, TensorDataset(data.inputs, data.targets))
