"""The matrix products of an epoch and nothing else: no data, no activation, no optimizer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from benchmarks.contenders import Workload

Product = Callable[[], object]


class Products:
    """Forward, weight gradient and input gradient of each layer; the first has no input gradient.

    Args:
        workload: The shapes.
        variant: ``fp32`` and ``bf16`` are ``torch.mm`` in that type, into buffers that are used
            again; ``onednn`` is float32 by oneDNN, which ``torch.mm`` does not take for float32.
    """

    def __init__(self, workload: Workload, variant: str) -> None:
        self.workload = workload
        self.variant = variant
        full, rest = divmod(workload.examples, workload.batch_size)
        self.batches = [(self._step(workload.batch_size), full)]
        if rest:
            self.batches.append((self._step(rest), 1))

    def prepare(self, seed: int) -> None:
        torch.manual_seed(seed)

    @torch.inference_mode()
    def train(self) -> None:
        for _ in range(self.workload.epochs):
            for products, count in self.batches:
                for _ in range(count):
                    for product in products:
                        product()

    def accuracy(self) -> None:
        return None

    def _step(self, size: int) -> list[Product]:
        dtype = torch.bfloat16 if self.variant == "bf16" else torch.float32
        products: list[Product] = []
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.workload.widths)):
            inputs = torch.randn(size, fan_in).to(dtype)
            weight = torch.randn(fan_out, fan_in).to(dtype)
            gradient = torch.randn(size, fan_out).to(dtype)
            products.append(self._product(inputs, weight.t()))
            products.append(self._product(gradient.t(), inputs))
            if layer > 0:
                products.append(self._product(gradient, weight))
        return products

    def _product(self, left: torch.Tensor, right: torch.Tensor) -> Product:
        if self.variant == "onednn":
            transposed = right.t()
            return lambda: torch.ops.mkldnn._linear_pointwise(
                left, transposed, None, "none", [], ""
            )
        out = left.new_empty(left.shape[0], right.shape[1])
        return lambda: torch.mm(left, right, out=out)


def build(workload: Workload, variant: str) -> Products:
    """Return the products in one arithmetic."""
    return Products(workload, variant)
