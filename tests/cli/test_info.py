"""`mlpkit info`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch


def test_the_versions_that_a_bug_report_needs(
    run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Python, torch and the devices are named, each on its line."""
    assert run_here("info") == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["torch"] == torch.__version__.partition("+")[0]
    assert facts["CPU"].startswith(f"{torch.get_num_threads()} threads")
    assert "accelerator" in facts
