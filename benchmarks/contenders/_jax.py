"""JAX with optax: a whole epoch is one jitted scan, compiled before the clock starts."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any

from benchmarks import _mnist
from benchmarks.contenders import LR, Workload

# Arrays, parameters and optimizer states of libraries that are not there where types are checked.
Pytree = Any


class Jax:
    """Full batches in a scan, then the short last batch, in one compiled function."""

    def __init__(self, workload: Workload) -> None:
        self.jax = import_module("jax")
        self.jnp = import_module("jax.numpy")
        self.optimizer = import_module("optax").adam(LR)
        self.workload = workload
        data = _mnist.read(workload.examples)
        self.inputs = self.jnp.asarray(_mnist.normalized(data.train_images))
        self.targets = self.jnp.asarray(data.train_labels)
        self.test_inputs = self.jnp.asarray(_mnist.normalized(data.test_images))
        self.test_targets = data.test_labels
        self.epoch = self.jax.jit(self._epoch, donate_argnums=(0, 1))
        self.prepare(0)

    def prepare(self, seed: int) -> None:
        random = self.jax.random
        self.key, *keys = random.split(random.key(seed), 1 + len(self.workload.widths))
        # torch's bounds: uniform within 1 / sqrt(fan_in).
        self.parameters = [
            (
                random.uniform(key, (fan_in, fan_out), minval=-(fan_in**-0.5), maxval=fan_in**-0.5),
                self.jnp.zeros(fan_out),
            )
            for key, (fan_in, fan_out) in zip(keys, pairwise(self.workload.widths), strict=False)
        ]
        self.state = self.optimizer.init(self.parameters)

    def train(self) -> None:
        for _ in range(self.workload.epochs):
            self.key, key = self.jax.random.split(self.key)
            self.parameters, self.state = self.epoch(
                self.parameters, self.state, key, self.inputs, self.targets
            )
        self.jax.block_until_ready(self.parameters)

    def accuracy(self) -> float:
        found = self._logits(self.parameters, self.test_inputs).argmax(1)
        return float((found == self.test_targets).mean())

    def _logits(self, parameters: Pytree, inputs: Pytree) -> Pytree:
        *hidden, (weight, bias) = parameters
        for hidden_weight, hidden_bias in hidden:
            inputs = self.jax.nn.relu(inputs @ hidden_weight + hidden_bias)
        return inputs @ weight + bias

    def _loss(self, parameters: Pytree, inputs: Pytree, targets: Pytree) -> Pytree:
        scores = self.jax.nn.log_softmax(self._logits(parameters, inputs))
        return -self.jnp.take_along_axis(scores, targets[:, None], 1).mean()

    def _epoch(
        self, parameters: Pytree, state: Pytree, key: Pytree, inputs: Pytree, targets: Pytree
    ) -> Pytree:
        size = self.workload.batch_size
        order = self.jax.random.permutation(key, len(inputs))
        full = len(inputs) // size

        def step(carry: Pytree, rows: Pytree) -> Pytree:
            parameters, state = carry
            gradients = self.jax.grad(self._loss)(parameters, inputs[rows], targets[rows])
            updates, state = self.optimizer.update(gradients, state, parameters)
            added = self.jax.tree.map(self.jnp.add, parameters, updates)
            return (added, state), None

        carry = (parameters, state)
        carry, _ = self.jax.lax.scan(step, carry, order[: full * size].reshape(full, size))
        if len(inputs) % size:
            carry, _ = step(carry, order[full * size :])
        return carry


def build(workload: Workload, _variant: str) -> Jax:
    """Return the compiled loop."""
    return Jax(workload)
