"""`mlpkit train` in several processes: one folder, one model, each line once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits


@pytest.mark.distributed
def test_two_processes_write_one_run(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = ["-m", "mlpkit", "train", "--epochs", "3", "--runs", str(tmp_path)]
    done = subprocess.run(
        [*launch, *command], check=True, timeout=200, capture_output=True, text=True
    )
    (folder,) = tmp_path.iterdir()
    assert done.stdout.count("epoch 3/3") == done.stdout.count("test accuracy: ") == 1
    assert len((folder / "history.csv").read_text("utf-8").splitlines()) == 1 + 3
    model = SoftmaxClassifier.load(folder / "model")
    accuracy = model.evaluate(digits().test).accuracy
    assert f"test accuracy: {accuracy:.2%} of" in done.stdout
