"""Ctrl-C: exit code 130, no traceback, and no partial files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.process import command

from mlpkit import SoftmaxClassifier

COMMANDS = {
    "train": ("train", "--epochs", "2", "--hidden-features", "16"),
    "evaluate": ("evaluate", "{run}", "digits"),
    "predict": ("predict", "{run}/digit.png", "--model", "{run}"),
    "plot": ("plot", "{run}", "--out", "plots"),
    "report": ("report", "{run}", "--out", "report.html"),
    "demo": ("demo", "{run}"),
    "export": ("export", "{run}", "--to", "pt2"),
}


def loads_torch(process: subprocess.Popen[str]) -> bool:
    """Return whether a process has loaded torch."""
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc does not exist")
@pytest.mark.parametrize(
    ("seconds", "names"),
    [
        (0.0, ["train", "report"]),  # all commands import torch before one of them is chosen
        *(pytest.param(after, [*COMMANDS], marks=pytest.mark.long) for after in (0.0, 0.6, 1.8)),
    ],
)
def test_a_command_ends_at_once(
    tmp_path: Path, trained: Path, seconds: float, names: list[str]
) -> None:
    """Interrupted while torch is imported or later, a command leaves complete files or none."""
    processes = {}
    for name in names:
        words = COMMANDS[name]
        (tmp_path / name).mkdir()
        processes[name] = subprocess.Popen(
            command(*(word.format(run=trained) for word in words)),
            cwd=tmp_path / name,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    for process in processes.values():
        while process.poll() is None and not loads_torch(process):
            time.sleep(0.01)
    time.sleep(seconds)
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    errors = {name: process.communicate(timeout=60)[1] for name, process in processes.items()}
    for name, process in processes.items():
        stderr = errors[name]
        assert "Traceback" not in stderr, (name, stderr)
        assert process.returncode in (0, 130), (name, stderr)
        if process.returncode == 130:
            assert "interrupted" in stderr
        left = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert not [path for path in left if path.name.endswith(".mlpkit-tmp")]
        if seconds == 0.0:
            assert process.returncode == 130, name
            assert left == []


@pytest.mark.parametrize("name", ["plot", "report", "demo", "export"])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path,
    trained: Path,
    name: str,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Interrupted while it writes its only file, a command leaves no part of it."""

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    assert run_here(*(word.format(run=trained) for word in COMMANDS[name])) == 130
    assert capsys.readouterr().err == "mlpkit: interrupted\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_run_resumes_after_an_interrupt_at_its_end(
    tmp_path: Path,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Interrupted between the last epoch and the model, a run prints the command to resume it."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SoftmaxClassifier, "evaluate", interrupt)
        assert run_here(*COMMANDS["train"]) == 130
    (folder,) = (tmp_path / "runs").iterdir()
    words = f"mlpkit train --resume {folder.relative_to(tmp_path)}"
    assert capsys.readouterr().out.splitlines()[-1] == f"resume with: {words}"
    assert not (folder / "model").exists()
    assert run_here(*words.split()[1:]) == 0
    assert (folder / "model" / "model.safetensors").exists()
