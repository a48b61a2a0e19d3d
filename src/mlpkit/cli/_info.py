"""`mlpkit info`: versions, devices, and the speed of each precision on this hardware."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mlpkit._devices import matmul_speed

__all__ = ["Info"]

_PACKAGES = ("mlpkit", "torch", "torchvision", "numpy", "safetensors")
_DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Side of the square matrices, in the range of the layers of an MLP.
_SIZE = {"cpu": 768, "other": 4096}
_TIME_LIMIT = 0.15  # seconds of measurement per precision, after a warmup product
_MIN_SPEEDUP = 1.2  # over fp32, for a precision to be recommended


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """Print the versions, the devices, and the speed of each precision on this hardware."""

    def run(self) -> None:
        """Measure the speeds, then print one line per fact."""
        rows = [("Python", f"{platform.python_version()} on {platform.platform()}")]
        rows += [(name, _version(name)) for name in _PACKAGES]
        rows += [("CPU", f"{_processor()}, {torch.get_num_threads()} threads for torch")]
        rows += _speeds(torch.device("cpu"))
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        rows += [("accelerator", "none" if accelerator is None else _description(accelerator))]
        rows += [] if accelerator is None else _speeds(accelerator)
        width = max(len(name) for name, _ in rows)
        for name, fact in rows:
            print(f"{name:<{width}}  {fact}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Return the name of the processor and its widest vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _description(accelerator: torch.device) -> str:
    if accelerator.type != "cuda":
        return str(accelerator)
    facts = torch.cuda.get_device_properties(accelerator)
    count = torch.cuda.device_count()
    several = f", one of {count}" if count > 1 else ""
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB{several}"


def _speeds(device: torch.device) -> list[tuple[str, str]]:
    """Return a row per precision: the speed of its matrix products, and a hint if it is faster."""
    rows = []
    fp32 = 0.0
    for name, dtype in _DTYPES.items():
        try:
            size = _SIZE["cpu" if device.type == "cpu" else "other"]
            speed = matmul_speed(device, dtype, size=size, time_limit=_TIME_LIMIT)
        except RuntimeError:  # this build of torch has no such product on the device
            rows.append((f"  {name} products", "not supported"))
            continue
        if name == "fp32":
            fp32 = speed
            rows.append((f"  {name} products", f"{speed / 1e9:,.0f} Gflop/s"))
            continue
        hint = f": try --precision {name}" if speed > _MIN_SPEEDUP * fp32 else ""
        rows.append(
            (
                f"  {name} products",
                f"{speed / 1e9:,.0f} Gflop/s, {speed / fp32:.2g} times fp32{hint}",
            )
        )
    return rows
