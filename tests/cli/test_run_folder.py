"""Run folders."""

from __future__ import annotations

from pathlib import Path

from mlpkit.cli._run_folder import RunFolder


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
