"""`mlpkit train` in several processes: one folder, one model, each line once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits

KILLS = """
import os, signal, sys
from mlpkit.cli import main
from mlpkit.training import CSVLogger

write = CSVLogger.on_epoch_end

def killed(logger, trainer, row):
    if row.epoch == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    write(logger, trainer, row)

CSVLogger.on_epoch_end = killed
sys.argv = ["mlpkit", *sys.argv[1:]]
main()
"""


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


@pytest.mark.distributed
@pytest.mark.long
def test_a_killed_command_continues_its_run_after_a_restart(tmp_path: Path) -> None:
    """The first process is killed after an epoch; `torchrun` starts both again."""
    script = tmp_path / "train.py"
    script.write_text(KILLS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    launch += ["--max-restarts=9", "--monitor-interval=0.1"]
    words = ["train", "--epochs", "3", "--runs", str(tmp_path / "runs")]
    subprocess.run([*launch, str(script), *words], check=True, timeout=200, capture_output=True)
    (folder,) = (tmp_path / "runs").iterdir()
    assert len((folder / "history.csv").read_text("utf-8").splitlines()) == 1 + 3
    assert (folder / "model").is_dir()
