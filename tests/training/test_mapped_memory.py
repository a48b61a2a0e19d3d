"""The memory of a run on examples in files does not grow with the files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

LIMIT_BYTES = 96 * 2**20
SHAPE = (1, 28, 28)


@pytest.mark.parametrize(
    "times", [3, pytest.param(30, marks=pytest.mark.long)], ids=["288 MiB", "2.8 GiB"]
)
def test_a_set_larger_than_the_limit_is_trained_on(tmp_path: Path, times: int) -> None:
    """Of pages of files there may be as many as the system wants: it can discard them."""
    block = np.random.default_rng(0).normal(size=(2_000, *SHAPE)).astype(np.float32)
    count = len(block) * (times * LIMIT_BYTES // block.nbytes + 1)
    with (tmp_path / "inputs.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(count // len(block)):
            file.write(block.tobytes())
    np.save(tmp_path / "targets.npy", (np.arange(count) % 2).astype(np.uint8))
    command = [sys.executable, "-m", "tests.training.mapped_run", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 0 <= int(done.stdout) < LIMIT_BYTES
