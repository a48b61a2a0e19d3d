"""The time of a step and the memory of a device by arithmetic, for any number of devices.

A step of data parallelism is a forward pass, a backward pass during which the gradients of each
bucket are summed over the devices as soon as they are ready, and an update of the weights. It is
written down in the section "Several processes" of docs/performance.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

BUCKET_BYTES = 25 * 2**20
"""The size of a bucket of DistributedDataParallel by default."""
STATE_BYTES = 16
"""Weight, gradient and two moments of AdamW of a parameter, in float32."""
BUCKET_COPY_BYTES = 4
"""The gradient again, in a bucket of DistributedDataParallel."""
GATHERED_BYTES = 8
"""Weight and gradient of a parameter of the layer that is not divided while it is computed."""
UPDATE_BYTES = 28
"""AdamW reads weight, gradient and two moments, and writes all but the gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What computes: rates that programs reach, not those of the data sheet.

    Attributes:
        flops: Floating-point operations of matrix products in a second.
        memory_bandwidth: Bytes that the device reads from or writes to its memory in a second.
        memory: Bytes.
    """

    flops: float
    memory_bandwidth: float
    memory: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What a device sends: bytes in a second, and the seconds that a message takes besides."""

    bandwidth: float
    latency: float


class Step(NamedTuple):
    """The seconds of a step, and where they are spent.

    Attributes:
        computation: Forward and backward pass.
        update: The optimizer.
        exposed: Communication after the end of the backward pass.
        transfer: All communication, as far as bandwidth determines it.
        waiting: All communication, as far as latency determines it.
    """

    computation: float
    update: float
    exposed: float
    transfer: float
    waiting: float

    @property
    def seconds(self) -> float:
        """Return the duration of the step."""
        return self.computation + self.exposed + self.update

    @property
    def bottleneck(self) -> str:
        """Return the part that takes the most time."""
        communication = "latency" if self.waiting > self.transfer else "bandwidth"
        parts = {
            "computation": self.computation,
            "update": self.update,
            communication: self.exposed,
        }
        return max(parts, key=lambda name: parts[name])


def ring_bytes(num_bytes: float, devices: int) -> float:
    """Return the bytes that each device sends to sum a vector over the devices of a ring."""
    return 2 * (devices - 1) / devices * num_bytes


def ring(num_bytes: float, devices: int, link: Link) -> tuple[float, float]:
    """Return the seconds of bandwidth and of latency in which a ring sums a vector."""
    messages = 2 * (devices - 1)
    return ring_bytes(num_bytes, devices) / link.bandwidth, messages * link.latency


def all_reduce(num_bytes: float, devices: int, link: Link) -> tuple[float, float]:
    """Return the seconds of bandwidth and of latency of the faster one of a ring and a tree."""
    tree = (2 * num_bytes / link.bandwidth, 2 * math.ceil(math.log2(devices)) * link.latency)
    return min(ring(num_bytes, devices, link), tree, key=sum)


def step(parameters: float, batch: float, devices: int, device: Device, link: Link) -> Step:
    """Return the time of a step of fully connected layers.

    Args:
        parameters: Weights of the network, on each device.
        batch: Examples on each device.
        devices: Number of devices.
        device: Each of them.
        link: What connects it with the others.
    """
    read = 4 * parameters / device.memory_bandwidth
    forward = max(2 * parameters * batch / device.flops, read)
    backward = 2 * forward
    buckets = math.ceil(4 * parameters / BUCKET_BYTES)
    transfer, waiting = all_reduce(4 * parameters / buckets, devices, link)
    end = 0.0
    for bucket in range(1, buckets + 1):
        is_ready = forward + backward * bucket / buckets
        end = max(end, is_ready) + transfer + waiting
    return Step(
        computation=forward + backward,
        update=UPDATE_BYTES * parameters / device.memory_bandwidth,
        exposed=max(end - forward - backward, 0.0),
        transfer=buckets * transfer,
        waiting=buckets * waiting,
    )


def hidden_batch(device: Device, link: Link) -> float:
    """Return the examples on each device whose backward pass takes as long as a long ring's sum.

    Both times are proportional to the number of parameters. Latency and memory are left out.
    """
    sum_of_a_parameter = 2 * 4 / link.bandwidth
    backward_of_a_parameter = 4 / device.flops  # for one example
    return sum_of_a_parameter / backward_of_a_parameter


def largest_replicated(memory: float) -> float:
    """Return the parameters that fit a device with DistributedDataParallel, without activations."""
    return memory / (STATE_BYTES + BUCKET_COPY_BYTES)


def largest_sharded(memory: float, devices: int, layers: int) -> float:
    """Return the parameters that fit devices that divide all but the layer that they compute.

    Args:
        memory: Bytes of a device, without activations.
        devices: Number of devices.
        layers: Number of layers, of equal size.
    """
    return memory / (STATE_BYTES / devices + GATHERED_BYTES / layers)
