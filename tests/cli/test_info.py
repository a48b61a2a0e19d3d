"""`mlpkit info`."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch


def test_versions_and_devices(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The output has the versions, the devices of torch and the speed of each precision."""
    assert run_here("info") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in lines)
    assert rows["torch"] == torch.__version__.partition("+")[0]
    assert f"{torch.get_num_threads()} threads" in rows["CPU"]
    assert (rows["accelerator"] == "none") == (not torch.accelerator.is_available())
    for precision in ("fp32", "bf16", "fp16"):
        assert re.match(r"[\d,]+ Gflop/s|not supported", rows[f"{precision} products"])
        times = re.findall(r"([\d.]+) times fp32", rows[f"{precision} products"])
        is_faster = bool(times) and float(times[0]) > 1.2
        assert (f"try --precision {precision}" in rows[f"{precision} products"]) == is_faster
