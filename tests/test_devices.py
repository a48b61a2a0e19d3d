"""Devices, random state, evaluation mode, and the side stream of a CUDA graph."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mlpkit._devices import (
    SideStream,
    accumulator_dtype,
    autocast,
    available_device,
    evaluation_mode,
    find_device,
    has_autocast,
    has_fast_bf16,
    is_training,
    matmul_speed,
    random_state,
    seed_of,
    set_random_state,
)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_outside_of_a_capture_the_work_runs_immediately(device: str) -> None:
    done: list[int] = []
    side_stream = SideStream(torch.device(device))
    side_stream.do(lambda: done.append(1))
    assert done == [1]
    side_stream.join()


@needs_cuda
def test_in_a_capture_the_result_is_complete_after_join() -> None:
    """Also if the caller has released the inputs in the meantime."""
    device = torch.device("cuda")
    side_stream = SideStream(device)
    values = torch.arange(1 << 20, device=device, dtype=torch.float32)
    total = torch.zeros((), device=device)
    graph = torch.cuda.CUDAGraph()

    def add(scaled: Tensor) -> None:
        total.add_(scaled.double().sum())

    with torch.cuda.graph(graph):
        for factor in range(1, 9):
            scaled = values * factor
            side_stream.do(functools.partial(add, scaled), scaled)
            del scaled
            torch.full_like(values, -1.0).mul_(2.0)  # would reuse the memory if it were free
        side_stream.join()
        result = total * 2
    for _ in range(2):
        total.zero_()
        graph.replay()
        expected = 2 * 36 * float(values.double().sum())
        assert float(result) == pytest.approx(expected, rel=1e-6)


def test_evaluation_mode_restores_the_mode_of_each_module() -> None:
    """Also of a submodule that was in eval mode, and after an exception."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Dropout()))
    modes = [module.training for module in model.modules()]
    assert is_training(model)
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        assert not is_training(model)
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(RuntimeError, match="stop"), evaluation_mode(model):
        raise RuntimeError("stop")
    assert [module.training for module in model.modules()] == modes


def test_is_training_looks_at_every_submodule() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout())).eval()
    assert not is_training(model)
    model.get_submodule("1.0").train()
    assert is_training(model)


def test_a_device_is_found_by_its_name() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("cuda:1") == torch.device("cuda", 1)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert find_device("auto") == (accelerator or torch.device("cpu"))
    assert available_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (find_device, "gpu:0", 'device must be "auto" or the name of a torch device, such as'),
        (available_device, "gpu:0", 'device must be "auto" or the name of a torch device, such as'),
        (available_device, "xpu:7", 'device must be a device that this machine has, such as "cpu"'),
    ],
)
def test_an_unknown_or_missing_device_is_refused(
    find: Callable[[str], torch.device], name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}.* got '{name}'"):
        find(name)


def test_precision_is_the_dtype_of_autocast() -> None:
    linear, x = nn.Linear(2, 2), torch.ones(1, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(precision, torch.device("cpu")):  # type: ignore[arg-type]  # a literal
            assert linear(x).dtype == dtype
    assert [has_autocast(name) for name in ("fp32", "bf16", "fp16")] == [False, True, True]


def test_sums_are_in_float64_except_on_mps() -> None:
    assert accumulator_dtype(torch.device("cpu")) == torch.float64
    assert accumulator_dtype(torch.device("mps")) == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_speed_of_a_product_is_that_of_its_fastest_repetition(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """With a clock that a product advances by 5 s (warmup), 3 s, 2 s and 4 s."""
    times = iter([0.0, 0.0, 5.0, 5.0, 5.0, 5.0, 8.0, 8.0, 8.0, 10.0, 10.0, 10.0, 14.0, 14.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    speed = matmul_speed(torch.device("cpu"), dtype, size=8, time_limit=9.0)
    assert speed == 2 * 8**3 / 2.0


def test_a_product_slower_than_the_limit_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warmup product takes 5 s, the second one 6 s, and then the limit of 1 s has passed."""
    times = iter([0.0, 0.0, 5.0, 5.0, 5.0, 5.0, 11.0, 11.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    assert matmul_speed(torch.device("cpu"), torch.float32, size=8, time_limit=1.0) == 1024 / 5.0


@pytest.mark.parametrize(("bf16", "is_fast"), [(2.0, True), (1.0, True), (0.9, False)])
def test_bf16_is_fast_if_its_products_are_measured_so(
    monkeypatch: pytest.MonkeyPatch, bf16: float, *, is_fast: bool
) -> None:
    """They are measured once for each device."""
    speeds = {torch.float32: 1.0, torch.bfloat16: bf16}
    measured: list[torch.dtype] = []

    def speed(_device: torch.device, dtype: torch.dtype, **_options: float) -> float:
        measured.append(dtype)
        return speeds[dtype]

    monkeypatch.setattr("mlpkit._devices.matmul_speed", speed)
    has_fast_bf16.cache_clear()
    try:
        assert [has_fast_bf16(torch.device("cpu")) for _ in range(2)] == [is_fast, is_fast]
    finally:
        has_fast_bf16.cache_clear()
    assert sorted(measured, key=str) == [torch.bfloat16, torch.float32]


def test_without_bf16_products_bf16_is_not_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> float:
        raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr("mlpkit._devices.matmul_speed", refuse)
    has_fast_bf16.cache_clear()
    try:
        assert not has_fast_bf16(torch.device("cpu"))
    finally:
        has_fast_bf16.cache_clear()


def test_a_random_state_is_that_of_the_cpu_and_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both generators repeat their numbers; a state without the device leaves its generator."""
    generator = torch.Generator().manual_seed(1)  # stands for that of an accelerator

    class Module:
        @staticmethod
        def get_rng_state(_device: torch.device) -> Tensor:
            return generator.get_state()

        @staticmethod
        def set_rng_state(state: Tensor, _device: torch.device) -> None:
            generator.set_state(state)

    monkeypatch.setattr(torch, "get_device_module", lambda _device: Module)
    device = torch.device("cuda")
    state = random_state(device)
    assert list(state) == ["cpu", "cuda"]
    first = torch.rand(3), torch.rand(3, generator=generator)
    set_random_state(device, state)
    assert torch.equal(torch.rand(3), first[0])
    assert torch.equal(torch.rand(3, generator=generator), first[1])
    after = generator.get_state()
    cpu_state = random_state(torch.device("cpu"))
    assert list(cpu_state) == ["cpu"]
    set_random_state(device, cpu_state)
    assert torch.equal(generator.get_state(), after)


def test_a_seed_is_the_first_56_bits_of_the_sha256_of_a_text() -> None:
    assert seed_of("") == 0xE3B0C44298FC1C  # the digest of no bytes, FIPS 180-4
    assert seed_of("mlpkit.stream 0") != seed_of("mlpkit.stream 1")
    torch.Generator().manual_seed(seed_of("a text"))  # within the range of torch's seeds
