"""The folder of a run."""

from __future__ import annotations

from pathlib import Path

from mlpkit.cli._run_folder import RunFolder


def test_each_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    """Runs of the same second get a number; none is ever used twice."""
    folders = [RunFolder.create(tmp_path / "runs", "digits").path for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(folder.is_dir() for folder in folders)
    assert all(folder.name.startswith("digits-") for folder in folders)


def test_text_is_written_whole(tmp_path: Path) -> None:
    """A second write replaces the first."""
    folder = RunFolder.create(tmp_path, "x")
    for text in ("one", "two"):
        folder.write_text(folder.config, text)
        assert folder.config.read_text() == text
