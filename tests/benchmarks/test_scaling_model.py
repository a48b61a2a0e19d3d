"""The arithmetic of many devices, against numbers that were computed by hand."""

from __future__ import annotations

import pytest
from benchmarks import _scaling_model as model

# 4e6 parameters: 16e6 bytes in one bucket. With 50 examples the forward pass takes
# 2 * 4e6 * 50 / 1e9 = 0.4 s, the backward pass 0.8 s, the update 28 * 4e6 / 1e9 = 0.112 s.
DEVICE = model.Device(flops=1e9, memory_bandwidth=1e9, memory=80e9)
PARAMETERS, BATCH = 4e6, 50


@pytest.mark.parametrize(("devices", "expected"), [(1, 0.0), (2, 1e6), (4, 1.5e6), (1000, 1.998e6)])
def test_bytes_of_a_ring(devices: int, expected: float) -> None:
    assert model.ring_bytes(1e6, devices) == pytest.approx(expected)


def test_ring_and_tree() -> None:
    """4 devices: a ring sends 1.5e6 bytes in 6 messages, a tree 2e6 bytes in 4 messages."""
    quick = model.Link(bandwidth=1e6, latency=1e-3)
    assert model.ring(1e6, 4, quick) == pytest.approx((1.5, 6e-3))
    assert model.all_reduce(1e6, 4, quick) == pytest.approx((1.5, 6e-3))
    late = model.Link(bandwidth=1e6, latency=1.0)
    assert model.all_reduce(1e6, 4, late) == pytest.approx((2.0, 4.0))
    assert model.all_reduce(1e6, 1, late) == (0.0, 0.0)


def test_a_step_of_one_bucket() -> None:
    """Its sum starts after the backward pass; 2 devices send 16e6 bytes each."""
    step = model.step(PARAMETERS, BATCH, 2, DEVICE, model.Link(bandwidth=16e6, latency=0.01))
    assert step == pytest.approx((1.2, 0.112, 1.02, 1.0, 0.02))
    assert step.seconds == pytest.approx(2.332)
    assert step.bottleneck == "computation"


def test_buckets_overlap_with_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 buckets are ready at 0.6, 0.8, 1.0 and 1.2 s, and the sum of each takes 0.25 or 0.1 s."""
    monkeypatch.setattr(model, "BUCKET_BYTES", 4e6)
    step = model.step(PARAMETERS, BATCH, 2, DEVICE, model.Link(bandwidth=16e6, latency=0.0))
    assert step.exposed == pytest.approx(0.6 + 4 * 0.25 - 1.2)
    step = model.step(PARAMETERS, BATCH, 2, DEVICE, model.Link(bandwidth=40e6, latency=0.0))
    assert step.exposed == pytest.approx(0.1)


def test_reading_the_weights_bounds_a_small_batch() -> None:
    """3 times 16e6 bytes at 1e9 a second; one example would take 24e-3 s."""
    step = model.step(PARAMETERS, 1, 1, DEVICE, model.Link(bandwidth=1.0, latency=1.0))
    assert step.computation == pytest.approx(48e-3)
    assert step.exposed == 0.0
    assert step.bottleneck == "update"


@pytest.mark.parametrize(
    ("bandwidth", "latency", "expected"), [(1e6, 1e-3, "bandwidth"), (1e9, 10.0, "latency")]
)
def test_slow_links_are_named(bandwidth: float, latency: float, expected: str) -> None:
    link = model.Link(bandwidth=bandwidth, latency=latency)
    assert model.step(PARAMETERS, BATCH, 2, DEVICE, link).bottleneck == expected


def test_the_hidden_batch_balances_backward_pass_and_sum() -> None:
    """8 bytes at 1e6 a second are 8 us, and an example 4 FLOP at 1e9 a second."""
    link = model.Link(bandwidth=1e6, latency=0.0)
    assert model.hidden_batch(DEVICE, link) == pytest.approx(2000.0)


def test_largest_networks() -> None:
    """80 GB hold 20 bytes of each parameter, or 16 / 8 + 8 / 10."""
    assert model.largest_replicated(80e9) == pytest.approx(4e9)
    assert model.largest_sharded(80e9, 8, 10) == pytest.approx(80e9 / 2.8)
