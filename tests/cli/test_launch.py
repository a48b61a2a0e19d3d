"""`mlpkit train` that `torchrun` starts again: it continues its run by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit import SoftmaxClassifier
from mlpkit.training import CSVLogger, EpochRow, Trainer

WORDS = ("train", "--epochs", "3", "--hidden-features", "16", "--progress", "off")


@pytest.fixture
def attempt(
    run_here: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int], int]:
    """Return a function that runs an attempt of a launch as `torchrun` does, with one process."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")

    def run(run_id: str, count: int) -> int:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run_id)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(count))
        return run_here(*WORDS)

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return SoftmaxClassifier.load(folder / "model").state_dict()


def test_a_restart_continues_the_run_of_its_launch(
    attempt: Callable[[str, int], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights of an undisturbed run; the first attempt and other launches begin one."""
    write = CSVLogger.on_epoch_end
    calls = 0

    def dies_once(logger: CSVLogger, trainer: Trainer, row: EpochRow) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("a process has died")
        write(logger, trainer, row)

    monkeypatch.setattr(CSVLogger, "on_epoch_end", dies_once)
    assert attempt("first", 0) == 1
    (folder,) = (tmp_path / "runs").iterdir()
    assert attempt("first", 1) == 0
    assert list((tmp_path / "runs").iterdir()) == [folder]
    assert calls == 1 + 1 + 2  # the second epoch is trained again, the first one is not
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 3
    for run_id, count in (("first", 0), ("second", 1)):
        before = set((tmp_path / "runs").iterdir())
        assert attempt(run_id, count) == 0
        (other,) = set((tmp_path / "runs").iterdir()) - before
        assert all(torch.equal(weights(other)[name], one) for name, one in weights(folder).items())


def test_a_launch_of_one_attempt_is_not_recorded(
    run_here: Callable[..., int], tmp_path: Path
) -> None:
    assert run_here(*WORDS[:2], "1") == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "launch.txt").exists()
