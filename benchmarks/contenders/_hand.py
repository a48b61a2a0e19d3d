"""Loops over tensors in memory, as one would write them by hand."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.contenders import LR, Workload
from benchmarks.contenders._torch import accuracy, network, resident


class Loop:
    """Shuffle, index, forward, backward, step.

    Args:
        workload: What is trained.
        fused: Whether Adam is torch's fused one; None is torch's default.
        bf16: Whether the forward pass runs under autocast to bfloat16.
    """

    def __init__(
        self, workload: Workload, *, fused: bool | None = None, bf16: bool = False
    ) -> None:
        self.workload = workload
        self.fused = fused
        self.bf16 = bf16
        self.data = resident(workload)
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        self.model = network(self.workload, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR, fused=self.fused)

    def train(self) -> None:
        data, model, optimizer = self.data, self.model, self.optimizer
        model.train()
        for _ in range(self.workload.epochs):
            order = torch.randperm(len(data.inputs))
            for rows in torch.split(order, self.workload.batch_size):
                with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                    loss = F.cross_entropy(model(data.inputs[rows]), data.targets[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()

    def accuracy(self) -> float:
        return accuracy(self.model, self.data.test_inputs, self.data.test_targets)


class BestLoop:
    """The fastest eager loop known that computes what the Trainer computes by default.

    Weights scaled for ReLU, fused AdamW with the Trainer's schedule, the mean loss of the epoch,
    and rows gathered into one buffer that is used again. The images are normalized before the
    clock starts, which the Trainer's are not, and there is no gradient norm and no check of each
    step.
    """

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.data = resident(workload)
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        self.model = network(self.workload, seed)
        for parameter in self.model.parameters():
            if parameter.ndim == 2:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LR, weight_decay=0.0, fused=True)
        self.loss_function = nn.CrossEntropyLoss()

    def train(self) -> None:
        data, model, optimizer = self.data, self.model, self.optimizer
        size = self.workload.batch_size
        steps = self.workload.epochs * math.ceil(len(data.inputs) / size)
        buffer = torch.empty(size, data.inputs.shape[1])
        step = 0
        model.train()
        for _ in range(self.workload.epochs):
            order = torch.randperm(len(data.inputs))
            targets = data.targets[order]
            total = torch.zeros(())
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                inputs = torch.index_select(data.inputs, 0, rows, out=buffer[: len(rows)])
                loss = self.loss_function(model(inputs), targets[start : start + size])
                optimizer.param_groups[0]["lr"] = LR * one_cycle(step, steps)
                for parameter in self.parameters:
                    parameter.grad = None
                torch.autograd.backward(loss)
                optimizer.step()
                total += loss.detach() * len(rows)
                step += 1
            if not math.isfinite(float(total)):
                raise ArithmeticError("the loss is not finite")

    def accuracy(self) -> float:
        return accuracy(self.model, self.data.test_inputs, self.data.test_targets)


def one_cycle(step: int, steps: int) -> float:
    """Return torch's one-cycle factor: up over 30 % of the steps, then down."""
    peak = 0.3 * steps - 1
    if step <= peak:
        return 1 + (0.04 - 1) * (1 + math.cos(math.pi * step / peak)) / 2
    return (1 + math.cos(math.pi * (step - peak) / (steps - 1 - peak))) / 2


def build(workload: Workload, variant: str) -> Loop | BestLoop:
    """Return one of the loops."""
    if variant == "best":
        return BestLoop(workload)
    return Loop(workload, fused=variant in ("fused", "bf16") or None, bf16=variant == "bf16")
