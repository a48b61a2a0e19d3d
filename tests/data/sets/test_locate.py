"""Where data are looked for, and in which order."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from mlpkit.data import info
from mlpkit.data.sets._locate import candidates, data_root, is_offline, names, own_folder

MNIST = info("mnist")
LABELS = MNIST.files[3]


def test_the_root_given_wins_over_the_variable_over_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer the more specific."""
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
    """On Linux XDG_CACHE_HOME says where caches go."""
    monkeypatch.delenv("MLPKIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not platformdirs.user_cache_dir("x").startswith(str(tmp_path)):
        pytest.skip("this platform has another convention for caches")
    assert data_root(None) == tmp_path / "mlpkit"


def test_the_home_folder_may_be_written_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As shells let people do, but only where they see the word first."""
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
    """On, off, or not set."""
    monkeypatch.delenv("MLPKIT_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("MLPKIT_OFFLINE", value)
    assert is_offline() is offline


def test_an_offline_switch_of_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess could download what must not be."""
    monkeypatch.setenv("MLPKIT_OFFLINE", "maybe")
    with pytest.raises(ValueError, match="MLPKIT_OFFLINE must be 0 or 1, got 'maybe'"):
        is_offline()


def test_every_place_and_name_in_order(tmp_path: Path) -> None:
    """The set's own folder first; of one folder, what is quickest to read first."""
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
    assert candidates(tmp_path, MNIST, LABELS) == expected
    assert own_folder(tmp_path, MNIST) == tmp_path / "MNIST" / "raw"


def test_archives_first_where_only_they_have_a_digest() -> None:
    """Torchvision leaves both; the archive is the one that can be trusted."""
    ends = [name.endswith(".gz") for name in names(info("fashion_mnist").files[0])]
    assert ends == [True, True, False, False]


def test_a_broken_link_counts_as_there(tmp_path: Path) -> None:
    """It is somebody's mistake, to be told and not to be downloaded over."""
    link = tmp_path / LABELS.name
    link.symlink_to(tmp_path / "nowhere")
    assert candidates(tmp_path, MNIST, LABELS) == [link]
