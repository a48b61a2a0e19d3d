"""Checkpoints are whole, checked to the last byte, and run no code."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from tests.training.scenario import differences, everything, train

from mlpkit import _files
from mlpkit._serialization import Saved
from mlpkit.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointVersionError,
    CheckpointWriteError,
)
from mlpkit.training import Callback, EpochRow, Trainer
from mlpkit.training.checkpoints import _file_format as checkpoint
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.checkpoints._file_format import first_nonfinite, write_checkpoint

ROOT = Path(__file__).parents[3]
CONTENT: dict[str, Saved] = {
    "weights": {"layer": torch.arange(6.0)},
    "numbers": [1, 2.5, None, True],
    "words": ("one", "two"),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Tensors and plain values come back the same, with the format beside them."""
    path = write_checkpoint(tmp_path / "a.pt", CONTENT)
    content = read_checkpoint(path)
    assert (content.pop("format"), content.pop("version")) == ("mlpkit.trainer", 1)
    assert differences(CONTENT, content) == []


def test_torch_reads_the_same_file(tmp_path: Path) -> None:
    """Whoever has no mlpkit can use torch alone."""
    path = write_checkpoint(tmp_path / "a.pt", CONTENT)
    content = torch.load(path, weights_only=True)
    assert torch.equal(content["weights"]["layer"], torch.arange(6.0))


class TestDamage:
    """Whatever is wrong with a file is found before a tensor is used, and the file is named."""

    def test_every_truncation(self, tmp_path: Path) -> None:
        path = write_checkpoint(tmp_path / "a.pt", CONTENT)
        data = path.read_bytes()
        for length in range(len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(CheckpointCorruptError, match=r"a\.pt must"):
                read_checkpoint(path)

    def test_every_flipped_byte(self, tmp_path: Path) -> None:
        path = write_checkpoint(tmp_path / "a.pt", CONTENT)
        data = bytearray(path.read_bytes())
        for position in range(len(data)):
            data[position] ^= 0x10
            path.write_bytes(data)
            with pytest.raises(CheckpointCorruptError, match=r"a\.pt must"):
                read_checkpoint(path)
            data[position] ^= 0x10

    def test_bytes_at_the_end(self, tmp_path: Path) -> None:
        path = write_checkpoint(tmp_path / "a.pt", CONTENT)
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(CheckpointCorruptError, match=r"a\.pt must"):
            read_checkpoint(path)

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pt"
        torch.save({"weights": torch.zeros(100)}, path)
        with pytest.raises(CheckpointCorruptError, match="not a checkpoint of mlpkit"):
            read_checkpoint(path)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"a\.pt could not be read: .*No such file"):
            read_checkpoint(tmp_path / "a.pt")

    def test_a_damaged_checkpoint_does_not_resume(self, tmp_path: Path) -> None:
        config = everything(tmp_path)
        train(config)
        path = tmp_path / "last.pt"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(CheckpointCorruptError, match=r"last\.pt must have the SHA-256"):
            train(config, resume="auto")

    def test_a_part_that_is_missing(self, tmp_path: Path) -> None:
        config = everything(tmp_path)
        train(config)
        content = read_checkpoint(tmp_path / "last.pt")
        del content["rng"]
        write_checkpoint(tmp_path / "last.pt", content)
        with pytest.raises(CheckpointCorruptError, match=r"must hold rng, got none"):
            train(config, resume="auto")


class Bomb:
    """An object whose pickle makes a file when it is loaded without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.marker),))


def sealed(path: Path, save: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file with a right trailer around whatever ``save`` writes."""
    save(path)
    payload = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", lambda _content, file: file.write(payload))
        write_checkpoint(path, {})


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a right digest, as an attacker would have it, loading still runs no code."""
    marker = tmp_path / "marker"
    bomb = {"format": "mlpkit.trainer", "version": 1, "model": Bomb(marker)}
    path = tmp_path / "a.pt"
    sealed(path, lambda path: torch.save(bomb, path), monkeypatch)
    torch.load(path, weights_only=False)
    assert marker.exists(), "the bomb is real"
    marker.rmdir()
    with pytest.raises(CheckpointCorruptError, match="must hold tensors and plain values only"):
        read_checkpoint(path)
    assert not marker.exists()


def test_a_bare_pickle_does_not_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old format of torch is a plain pickle; that too runs no code."""
    marker = tmp_path / "marker"
    path = tmp_path / "a.pt"
    sealed(path, lambda path: path.write_bytes(pickle.dumps(Bomb(marker), 2)), monkeypatch)
    with pytest.raises(CheckpointCorruptError, match="must hold tensors and plain values only"):
        read_checkpoint(path)
    assert not marker.exists()


def test_an_unknown_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a newer mlpkit says so, instead of failing somewhere inside."""
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    path = write_checkpoint(tmp_path / "a.pt", CONTENT)
    monkeypatch.undo()
    with pytest.raises(CheckpointVersionError, match=r"must be .* format 1, got format 2"):
        read_checkpoint(path)


def test_the_golden_checkpoint_of_format_1_resumes(tmp_path: Path) -> None:
    """What the first release wrote can be read and gone on with, for good."""
    golden = Path(__file__).parent / "golden"
    expected = json.loads((golden / "format_1.json").read_text())
    script = [sys.executable, "-m", "tests.training.checkpoints.golden.make_format_1"]
    found = subprocess.run(
        [*script, "resume", str(golden / "format_1.pt"), str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    resumed = json.loads(found.stdout)
    assert resumed["step"] == expected["step"]
    # A bias below batch norm has no gradient but rounding, which Adam scales up to whole steps; it
    # and the mean that it shifts are those of one release of torch.
    rounding = {"0.bias", "1.running_mean"}
    for name in expected["final"].keys() - rounding:
        value = expected["final"][name]
        assert resumed["final"][name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


class TestWriteErrors:
    """A checkpoint that cannot be written says so, and the older one stays."""

    @contextmanager
    def old_stays(self, folder: Path) -> Iterator[Path]:
        path = write_checkpoint(folder / "last.pt", CONTENT)
        before = path.read_bytes()
        yield path
        assert path.read_bytes() == before
        assert [other.name for other in folder.iterdir()] == ["last.pt"]

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """/dev/full answers every write as a full disk does."""
        if not Path("/dev/full").exists():
            pytest.skip("this system has no /dev/full")
        real = os.open

        def full(path: str, flags: int, *rest: int) -> int:
            descriptor = real(path, flags, *rest)
            if str(path).endswith(_files.TEMPORARY_SUFFIX):
                os.close(descriptor)
                return real("/dev/full", os.O_WRONLY)
            return descriptor

        with self.old_stays(tmp_path) as path:
            monkeypatch.setattr(os, "open", full)
            with pytest.raises(CheckpointWriteError, match="No space left"):
                write_checkpoint(path, {"weights": torch.zeros(10_000)})

    def test_a_limit_on_the_size_of_files(self, tmp_path: Path) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with self.old_stays(tmp_path) as path:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
            try:
                with pytest.raises(CheckpointWriteError, match="File too large"):
                    write_checkpoint(path, {"weights": torch.zeros(10_000)})
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        """Also for a user who may write everywhere."""
        (tmp_path / "file").write_text("")
        with pytest.raises(CheckpointWriteError, match="Not a directory"):
            train(everything(tmp_path / "file" / "folder"))

    def test_a_read_only_folder(self, tmp_path: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("the superuser may write into a read-only folder")
        with self.old_stays(tmp_path) as path:
            tmp_path.chmod(0o500)
            try:
                with pytest.raises(CheckpointWriteError, match="Permission denied"):
                    write_checkpoint(path, CONTENT)
            finally:
                tmp_path.chmod(0o700)

    def test_a_folder_that_goes_away_while_training(self, tmp_path: Path) -> None:
        """Nothing is lost but the folder: the state is in memory and can be saved elsewhere."""

        class RemoveFolder(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
                if row.epoch == 1:
                    shutil.rmtree(tmp_path / "a")

        trainers: list[Trainer] = []

        class Keep(Callback):
            def on_fit_start(self, trainer: Trainer) -> None:
                trainers.append(trainer)

        config = everything(tmp_path / "a")
        with pytest.raises(CheckpointWriteError, match="No such file"):
            train(config, callbacks=[Keep(), RemoveFolder()])
        assert len(trainers[0].history) == 2
        other = everything(tmp_path / "b")
        assert other.checkpoints is not None
        other.checkpoints.folder.mkdir()
        trainers[0].save(other.checkpoints.last)
        train(other, resume="auto")
        train(everything(tmp_path / "c"))
        ends = [read_checkpoint(tmp_path / name / "last.pt") for name in ("b", "c")]
        assert differences(ends[0], ends[1]) == []

    def test_an_object_that_could_not_be_read_again(self) -> None:
        """What torch would pickle, but never load safely, is refused on the way out."""
        found: object = {"optimizer": {"betas": (0.9, object())}}
        with pytest.raises(TypeError, match=r"optimizer\.betas\.1 must be a tensor or a plain"):
            first_nonfinite(found)

    def test_save_before_fit(self, tmp_path: Path) -> None:
        trainer = Trainer(torch.nn.Linear(1, 1))
        with pytest.raises(CheckpointWriteError, match=r"a\.pt was not written: fit has not been"):
            trainer.save(tmp_path / "a.pt")


@pytest.mark.parametrize("kills", [20, pytest.param(400, marks=pytest.mark.long)])
def test_kills_during_saves_leave_whole_files(tmp_path: Path, kills: int) -> None:
    """SIGKILL in the middle of writing: the path holds the old or the new file."""
    output = subprocess.run(
        [sys.executable, "-m", "tests.training.stress_test", "save", str(tmp_path), str(kills)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout
    report = json.loads(output.splitlines()[-1])
    assert report["kills"] == kills
    assert report["versions_seen"] > 1
    if kills > 100:
        assert report["left_over"] > 0, "no kill hit a write; the storm shows nothing"


def test_first_nonfinite_names_the_place() -> None:
    """Every NaN or infinity is found, wherever it is."""
    finite = {"a": [1.0, 2], "b": {"c": torch.ones(2), "d": torch.tensor([1])}}
    assert first_nonfinite(finite) is None
    infinite = {"a": [1.0, math.inf]}
    assert first_nonfinite(infinite) == "a.1"
    assert first_nonfinite({"b": {0: torch.tensor([1.0, math.nan])}}) == "b.0"


class TestFolder:
    """A former run is not lost by a forgotten resume."""

    def test_it_is_refused_and_said_how_to_go_on(self, tmp_path: Path) -> None:
        train(everything(tmp_path))
        before = (tmp_path / "last.pt").read_bytes()
        with pytest.raises(ValueError, match=r"checkpoints\.folder must be .*auto"):
            train(everything(tmp_path))
        assert (tmp_path / "last.pt").read_bytes() == before

    def test_it_is_overwritten_where_asked(self, tmp_path: Path) -> None:
        config = everything(tmp_path)
        assert config.checkpoints is not None
        train(config)
        config = replace(config, checkpoints=replace(config.checkpoints, overwrite=True), seed=1)
        train(config)
        saved = cast("dict[str, Saved]", read_checkpoint(tmp_path / "last.pt")["config"])
        assert saved["seed"] == 1

    def test_auto_begins_where_there_is_nothing(self, tmp_path: Path) -> None:
        _, result = train(everything(tmp_path), resume="auto")
        assert result.stop_reason == "completed"

    def test_auto_needs_a_folder(self) -> None:
        with pytest.raises(ValueError, match=r"resume must be a path .*got 'auto'"):
            train(everything(None), resume="auto")
