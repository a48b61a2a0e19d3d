"""`mlpkit info`: versions, devices, and what this hardware does fast."""

from __future__ import annotations

import dataclasses
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

__all__ = ["Info"]

_PACKAGES = ("mlpkit", "torch", "torchvision", "numpy", "safetensors")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """Print the versions and devices, and what this hardware does fast."""

    def run(self) -> None:
        """Print a line for each fact."""
        rows = [("Python", f"{platform.python_version()} on {platform.platform()}")]
        rows += [(name, _version(name)) for name in _PACKAGES]
        rows += [
            ("CPU", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
        ]
        rows += [("bf16 products", _bf16())]
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        rows += [("accelerator", "none" if accelerator is None else str(accelerator))]
        width = max(len(name) for name, _ in rows)
        for name, fact in rows:
            print(f"{name:<{width}}  {fact}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _bf16() -> str:
    """Return whether bfloat16 matrix products run on units made for them."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "fast: try --precision bf16" if fast else "no faster than float32 on this CPU"
