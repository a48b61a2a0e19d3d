"""What a timing depends on besides the code: processor, memory, threads, versions, other load."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# The instruction sets that decide how fast a matrix product can be.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "sve", "bf16")


def use_processors(count: int) -> None:
    """Bind this process, and all that it starts, to ``count`` processors and as many threads.

    Every library derives its number of threads from one of these when it is imported. More threads
    than processors would wait for one another, so libraries that are imported already are told.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    if "threadpoolctl" in sys.modules:  # scikit-learn imports it
        sys.modules["threadpoolctl"].threadpool_limits(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> str:
    """Return one line: processor, the processors used, instruction sets, memory, governor."""
    model, flags = _processor()
    known = [flag for flag in _FLAGS if flag in flags]
    parts = [f"{model}, {processors()} processors used", " ".join(known) or platform.machine()]
    memory = _field(Path("/proc/meminfo"), "MemTotal")
    if memory:
        parts.append(f"{int(memory.split()[0]) / 2**20:.0f} GiB")
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    parts.append(
        f"governor {governor.read_text().strip()}" if governor.exists() else "governor not readable"
    )
    if "hypervisor" in flags:
        parts.append("virtual machine")
    return "; ".join(parts)


def gpu() -> str | None:
    """Return the name of the CUDA device, None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions(distributions: Sequence[str]) -> str:
    """Return one line of the installed versions, Python first."""
    found = [f"Python {platform.python_version()}"]
    for name in distributions:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def load() -> float:
    """Return the load of the last minute: near 0 on a quiet machine before a run."""
    return os.getloadavg()[0]


def _processor() -> tuple[str, set[str]]:
    path = Path("/proc/cpuinfo")
    model = _field(path, "model name") or platform.processor() or platform.machine()
    flags = _field(path, "flags") or _field(path, "Features") or ""
    return model, set(flags.split())


def _field(path: Path, name: str) -> str | None:
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
