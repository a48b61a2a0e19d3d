"""What several test files need: reproducible randomness and the real MNIST files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Start every test from the same global random state, whichever tests ran before it."""
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() is torch.float32, "a test left another default dtype behind"


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> None:
    """React to SIGINT, also as a background process of a shell, which starts it ignoring that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _fast_bf16() -> Iterator[None]:
    """Make a run in bf16 independent of the speed of the processor: it does not warn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlpkit.training._trainer.has_fast_bf16", lambda _device: True)
        yield


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder of the four real MNIST files, named by MLPKIT_DATA."""
    folder = os.environ.get("MLPKIT_DATA")
    if folder is None:
        pytest.skip("MLPKIT_DATA does not name a folder with the four MNIST files")
    return Path(folder)
