"""Run folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlpkit.cli._run_folder import RunFolder, missing_run_cure
from mlpkit.data import FileSource
from mlpkit.errors import ConfigError


def test_each_run_has_a_new_folder(tmp_path: Path) -> None:
    """Folders created in the same second are numbered."""
    folders = [RunFolder.create(tmp_path / "runs", "digits").path for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(folder.is_dir() for folder in folders)
    assert all(folder.name.startswith("digits-") for folder in folders)


def test_text_files_are_replaced(tmp_path: Path) -> None:
    """A second write replaces the first."""
    folder = RunFolder.create(tmp_path, "x")
    for text in ("one", "two"):
        folder.write_text(folder.config, text)
        assert folder.config.read_text() == text


def test_the_files_of_a_run_are_found(tmp_path: Path) -> None:
    """From its folder or that of its model; a data set has none."""
    folder = RunFolder.create(tmp_path, "x")
    assert folder.read_source() is None
    folder.write_text(folder.config, 'dataset = "/x.csv"\n[data]\ntarget = ["y"]\n')
    expected = FileSource(path="/x.csv", target=("y",))
    assert folder.read_source() == expected
    assert RunFolder(folder.model).read_source() == expected
    folder.write_text(folder.config, 'dataset = "mnist"\n')
    assert folder.read_source() is None
    for text in ("dataset =", 'dataset = "/x.csv"\n[data]\ncolor = 3\n'):
        folder.write_text(folder.config, text)
        with pytest.raises(ConfigError):  # never all rows in place of the test rows
            folder.read_source()


def test_the_data_set_of_a_run_is_found(tmp_path: Path) -> None:
    """A path, a misspelled name and a folder without options have none."""
    folder = RunFolder.create(tmp_path, "x")
    assert folder.read_dataset() is None
    for text, expected in (("mnist", "mnist"), ("/x.csv", None), ("minst", None)):
        folder.write_text(folder.config, f'dataset = "{text}"\n')
        assert folder.read_dataset() == expected
        assert RunFolder(folder.model).read_dataset() == expected


def test_the_root_of_a_run_is_that_of_its_data_set(tmp_path: Path) -> None:
    """Another data set, and a run without a root, have the default folders."""
    folder = RunFolder.create(tmp_path, "x")
    assert folder.read_root("mnist") == (None, True)
    folder.write_text(folder.config, 'dataset = "mnist"\nroot = "/files"\nverify = false\n')
    assert folder.read_root("mnist") == (Path("/files"), False)
    assert RunFolder(folder.model).read_root("mnist") == (Path("/files"), False)
    assert folder.read_root("kmnist") == (None, True)


def test_the_newest_run_is_named(tmp_path: Path) -> None:
    """Of those whose folder begins like the path that does not exist."""
    assert missing_run_cure(tmp_path / "runs/x-...") == "mlpkit train creates one in runs"
    for age, name in enumerate(("x-2", "y-3", "x-1")):
        config = RunFolder(tmp_path / name).config
        config.parent.mkdir()
        config.touch()
        os.utime(config, (age, age))
    assert missing_run_cure(tmp_path / "x-...") == f"the newest one is {tmp_path / 'x-1'}"
    assert missing_run_cure(tmp_path / "y-9") == "mlpkit train creates one in runs"
