"""A full disk: exit code 1, one sentence that names the file, and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.cli.process import command, run

from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.training import History

KIB = 1024


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    done = run("train", "--epochs", "1", "--hidden-features", "16", cwd=folder)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "runs").iterdir()
    return path


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of so many bytes, which takes a right that not everybody has."""
    folder.mkdir()
    options = f"size={-(-size // KIB)}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: it takes root and the command mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which not a byte is free."""
    with small_disk(tmp_path / "disk", 64 * KIB) as disk:
        with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"0" * KIB)
        yield disk


def files_below(folder: Path) -> list[str]:
    """Return the files of a folder and of those in it."""
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
    """Each command that writes says which file could not be written, and leaves none."""
    monkeypatch.chdir(full_disk)
    for words in WRITERS:
        capsys.readouterr()
        assert run_here(*(word.format(run=trained) for word in words)) == 1, words
        message = capsys.readouterr().err
        assert message.startswith("mlpkit: "), words
        assert "No space left on device" in message, words
        assert message.count("\n") == 1, words
        assert files_below(full_disk) == ["ballast"], words


@pytest.mark.parametrize("words", [WRITERS[0], WRITERS[2]])
def test_the_installed_command_on_a_full_disk(
    full_disk: Path, trained: Path, words: tuple[str, ...]
) -> None:
    """The same in a process of its own."""
    done = run(*(word.format(run=trained) for word in words), cwd=full_disk)
    assert done.returncode == 1
    assert done.stderr.startswith("mlpkit: [Errno 28] No space left on device: ")
    assert done.stderr.count("\n") == 1
    assert files_below(full_disk) == ["ballast"]


def test_a_disk_that_fills_while_training_costs_nothing(
    tmp_path: Path, run_here: Callable[..., int]
) -> None:
    """The checkpoint before is whole, and the run goes on to the bits of one with more room."""
    words = ("train", "--epochs", "4", "--hidden-features", "64")
    assert run_here(*words) == 0
    (whole,) = (tmp_path / "runs").iterdir()
    size = (whole / "checkpoints" / "last.pt").stat().st_size
    # room for both checkpoints, but not for a third file while one of them is replaced
    with small_disk(tmp_path / "disk", int(2.6 * size)) as disk:
        done = run(*words, cwd=disk)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr
        (folder,) = (disk / "runs").iterdir()
        assert not [name for name in files_below(disk) if name.endswith(".mlpkit-tmp")]
        assert f"go on with: mlpkit train --resume {folder.relative_to(disk)}\n" in done.stdout
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = run("train", "--resume", str(folder), cwd=disk)
        assert again.returncode == 0, again.stderr
        one = SoftmaxClassifier.load(whole / "model").state_dict()
        two = SoftmaxClassifier.load(folder / "model").state_dict()
        assert all(torch.equal(one[name], two[name]) for name in one)
        losses = [
            [row.train_loss for row in History.from_json(path / "history.json")]
            for path in (whole, folder)
        ]
        assert losses[0] == losses[1]


PRINTERS = [
    ("evaluate", "{run}", "digits", "--json"),
    ("predict", "{run}/digit.png", "--model", "{run}"),
    ("data", "info", "mnist"),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_cannot_be_written(trained: Path) -> None:
    """What prints, and prints into a full disk: one sentence instead of a silent success."""
    ink = Image.fromarray(255 - 15 * digits().test.inputs[0].numpy()).resize((80, 80))
    picture = Image.new("L", (160, 160), 255)
    picture.paste(ink, (40, 40))
    picture.save(trained / "digit.png")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - not a file
        processes = [
            subprocess.Popen(
                command(*(word.format(run=trained) for word in words)),
                stdout=full,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": ""},
                text=True,
            )
            for words in PRINTERS
        ]
        errors = [process.communicate(timeout=120)[1] for process in processes]
        for process, stderr in zip(processes, errors, strict=True):
            assert process.returncode == 1
            assert stderr == (
                "mlpkit: the output cannot be written: [Errno 28] No space left on device\n"
            )
