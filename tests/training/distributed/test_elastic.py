"""Processes that die: ``torchrun`` starts them again, and the run continues from its checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.distributed

SCRIPT = Path(__file__).with_name("elastic_run.py")
RAISES = """
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import digits
from mlpkit.training import Callback

class Raises(Callback):
    def on_step_end(self, trainer, step):
        if trainer.rank == 1 and step.step == 1:
            raise OSError("the disk is on fire")

data = digits().train
config = TrainerConfig(epochs=50, progress=False)
Trainer(SoftmaxClassifier.for_data(data), config, callbacks=[Raises()]).fit(data)
"""
FREES = """
import gc
import weakref

import torch.distributed as dist
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import digits

data = digits().train
config = TrainerConfig(epochs=1, progress=False)
Trainer(SoftmaxClassifier.for_data(data), config).fit(data)
group = weakref.ref(dist.group.WORLD)
dist.destroy_process_group()
gc.collect()
if group() is not None:
    raise RuntimeError("the group is kept")
"""


def run(folder: Path, *kills: str) -> tuple[int, dict[str, Tensor]]:
    """Return the number of steps and the weights."""
    folder.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc-per-node=2", "--max-restarts=9", "--monitor-interval=0.1"]
    # A restart may fail or wait before the script has run, when gloo reads an address of an
    # earlier one: also in a script that only joins the group (torch 2.14 and 2.15).
    arguments = [str(SCRIPT), str(folder), *kills]
    subprocess.run([*launch, *arguments], check=True, timeout=200, capture_output=True)
    assert len(list(folder.glob("killed-*"))) == len(kills)
    steps, weights = torch.load(folder / "result.pt")
    return int(steps), weights


def launch(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes."""
    script = folder / "script.py"
    script.write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run([*command, str(script)], timeout=200, capture_output=True, text=True)


@pytest.mark.long
def test_a_run_whose_processes_are_killed_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """SIGKILL before the first checkpoint, and of the process that writes within an epoch."""
    steps, undisturbed = run(tmp_path / "undisturbed")
    steps_of_killed, killed = run(tmp_path / "killed", "1:2", "0:10")
    assert steps_of_killed == steps
    assert all(torch.equal(killed[name], value) for name, value in undisturbed.items())


def test_a_process_that_raises_ends_the_others_with_its_message(tmp_path: Path) -> None:
    """The other process would wait for its gradient for ever; the launcher ends it."""
    found = launch(RAISES, tmp_path)
    assert found.returncode != 0
    assert "the disk is on fire" in found.stderr


def test_the_group_that_a_run_joined_can_be_freed(tmp_path: Path) -> None:
    """Threads of a group that is kept can abort the interpreter at its end."""
    found = launch(FREES, tmp_path)
    assert found.returncode == 0, found.stderr
