"""The folders and file names of a data set, in search order."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from mlpkit.data import info
from mlpkit.data.sets._locate import data_root, existing_files, file_names, is_offline, raw_folder

MNIST = info("mnist")
LABELS = MNIST.files[3]


def test_the_root_takes_precedence_over_the_variable_and_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable counts as unset."""
    monkeypatch.setenv("MLPKIT_DATA", str(tmp_path))
    assert data_root("elsewhere") == Path("elsewhere")
    assert data_root(None) == tmp_path
    for unset in (None, ""):
        if unset is None:
            monkeypatch.delenv("MLPKIT_DATA")
        else:
            monkeypatch.setenv("MLPKIT_DATA", unset)
        assert data_root(None) == Path(platformdirs.user_cache_dir("mlpkit", appauthor=False))


def test_the_cache_follows_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux the variable XDG_CACHE_HOME names the cache folder."""
    monkeypatch.delenv("MLPKIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not platformdirs.user_cache_dir("x").startswith(str(tmp_path)):
        pytest.skip("this platform has another convention for caches")
    assert data_root(None) == tmp_path / "mlpkit"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is expanded in the argument and in the variable."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLPKIT_DATA", "~/data")
    assert data_root(None) == data_root("~/data") == tmp_path / "data"


@pytest.mark.parametrize(
    ("value", "offline"),
    [(None, False), ("", False), ("0", False), ("false", False), ("1", True), ("TRUE", True)],
)
def test_the_offline_switch(
    value: str | None, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLPKIT_OFFLINE is on, off, or unset."""
    monkeypatch.delenv("MLPKIT_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("MLPKIT_OFFLINE", value)
    assert is_offline() is offline


def test_another_value_of_the_offline_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong guess would download files against the user's will."""
    monkeypatch.setenv("MLPKIT_OFFLINE", "maybe")
    with pytest.raises(ValueError, match="MLPKIT_OFFLINE must be 0 or 1, got 'maybe'"):
        is_offline()


def test_every_folder_and_name_in_search_order(tmp_path: Path) -> None:
    """Torchvision's folder is first; within a folder, uncompressed files are first."""
    expected = []
    for folder in (tmp_path / "MNIST" / "raw", tmp_path / "raw", tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (
            "t10k-labels-idx1-ubyte",
            "t10k-labels.idx1-ubyte",
            "t10k-labels-idx1-ubyte.gz",
            "t10k-labels.idx1-ubyte.gz",
        ):
            (folder / name).write_bytes(b"")
            expected.append(folder / name)
    assert existing_files(tmp_path, MNIST, LABELS) == expected
    assert raw_folder(tmp_path, MNIST) == tmp_path / "MNIST" / "raw"


def test_uncompressed_files_are_first() -> None:
    """They are faster to read."""
    for name in ("mnist", "fashion_mnist", "kmnist"):
        names = file_names(info(name).files[0])
        assert [name.endswith(".gz") for name in names] == [False, False, True, True]


def test_a_broken_link_counts_as_existing(tmp_path: Path) -> None:
    """It is reported as an error, and the file is not downloaded in its place."""
    link = tmp_path / LABELS.name
    link.symlink_to(tmp_path / "nowhere")
    assert existing_files(tmp_path, MNIST, LABELS) == [link]
