"""A full disk: exit code 1, an error that names the file, and no partial files."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.cli.process import command, run

from mlpkit import SoftmaxClassifier
from mlpkit.training import History

KIB = 1024


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of this number of bytes; skip the test if that is not permitted."""
    folder.mkdir()
    options = f"size={-(-size // KIB)}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk requires root and the command mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk without a free byte."""
    with small_disk(tmp_path / "disk", 64 * KIB) as disk:
        with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"0" * KIB)
        yield disk


def files_below(folder: Path) -> list[str]:
    """Return all files below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


WRITERS = [
    ("train", "--epochs", "1", "--hidden-features", "8"),
    ("plot", "{run}", "--out", "plots"),
    ("report", "{run}", "--out", "report.html"),
    ("demo", "{run}"),
    ("export", "{run}", "--to", "pt2"),
    ("data", "show", "digits"),
]


def test_nothing_is_left_on_a_full_disk(
    full_disk: Path,
    trained: Path,
    run_here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error of each command names the file that cannot be written, and no file is left."""
    monkeypatch.chdir(full_disk)
    for words in WRITERS:
        capsys.readouterr()
        assert run_here(*(word.format(run=trained) for word in words)) == 1, words
        message = capsys.readouterr().err
        assert message.startswith("mlpkit: "), words
        assert "No space left on device" in message, words
        assert message.count("\n") == 1, words
        assert files_below(full_disk) == ["ballast"], words


@pytest.mark.long
@pytest.mark.parametrize("words", [WRITERS[0], WRITERS[2]])
def test_the_installed_command_on_a_full_disk(
    full_disk: Path, trained: Path, words: tuple[str, ...]
) -> None:
    """The same in a separate process."""
    done = run(*(word.format(run=trained) for word in words), cwd=full_disk)
    assert done.returncode == 1
    assert done.stderr.startswith("mlpkit: [Errno 28] No space left on device: ")
    assert done.stderr.count("\n") == 1
    assert files_below(full_disk) == ["ballast"]


def test_a_run_resumes_after_the_disk_was_full(
    tmp_path: Path, run_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The last checkpoint is complete, and the resumed run equals an undisturbed one bit by bit."""
    words = ("train", "--epochs", "4", "--hidden-features", "64")
    assert run_here(*words) == 0
    (whole,) = (tmp_path / "runs").iterdir()
    size = (whole / "checkpoints" / "last.pt").stat().st_size
    # space for both checkpoints, but not for a third file while one of them is replaced
    with small_disk(tmp_path / "disk", int(2.6 * size)) as disk:
        capsys.readouterr()
        with contextlib.chdir(disk):
            assert run_here(*words) == 1
        printed = capsys.readouterr()
        assert "No space left on device" in printed.err
        (folder,) = (disk / "runs").iterdir()
        assert not [name for name in files_below(disk) if name.endswith(".mlpkit-tmp")]
        assert f"resume with: mlpkit train --resume {folder.relative_to(disk)}\n" in printed.out
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert run_here("train", "--resume", str(folder)) == 0
        one = SoftmaxClassifier.load(whole / "model").state_dict()
        two = SoftmaxClassifier.load(folder / "model").state_dict()
        assert all(torch.equal(one[name], two[name]) for name in one)
        losses = [
            [row.train_loss for row in History.load_json(path / "history.json")]
            for path in (whole, folder)
        ]
        assert losses[0] == losses[1]


PRINTERS = [
    ("data", "info", "mnist"),
    ("evaluate", "{run}", "digits", "--json"),
    ("predict", "{run}/digit.png", "--model", "{run}"),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full does not exist")
@pytest.mark.parametrize(
    "printers", [PRINTERS[:1], pytest.param(PRINTERS[1:], marks=pytest.mark.long)]
)
def test_an_output_that_cannot_be_written(trained: Path, printers: list[tuple[str, ...]]) -> None:
    """A command whose output is on a full disk fails with an error."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - not a file
        processes = [
            subprocess.Popen(
                command(*(word.format(run=trained) for word in words)),
                stdout=full,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": ""},
                text=True,
            )
            for words in printers
        ]
        errors = [process.communicate(timeout=120)[1] for process in processes]
        for process, stderr in zip(processes, errors, strict=True):
            assert process.returncode == 1
            assert stderr == (
                "mlpkit: the output cannot be written: [Errno 28] No space left on device\n"
            )
