"""WandbLogger: the options that reach ``wandb.init``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.training.loggers.services import StubWandb, StubWandbRun, read_wandb
from tests.training.scenario import examples, network

from mlpkit.training import Trainer, TrainerConfig, WandbLogger

CONFIG = TrainerConfig(epochs=1, batch_size=16, progress=False)


def test_the_options_are_those_of_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = StubWandb()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    logger = WandbLogger(
        project="digits",
        entity="team",
        name="first",
        group="sweep",
        tags=["a", "b"],
        folder=Path("runs"),
        mode="offline",
    )
    trainer = Trainer(network(), CONFIG, callbacks=[logger])
    trainer.fit(examples())
    (run,) = stub.all.values()
    options = {
        "project": "digits",
        "entity": "team",
        "name": "first",
        "group": "sweep",
        "tags": ["a", "b"],
        "dir": Path("runs"),
        "mode": "offline",
        "reinit": "create_new",
    }
    assert run.options == {**options, "id": None, "resume": None}
    trainer.fit(examples(), warm_start=True)
    assert run.options == {**options, "id": run.id, "resume": "allow"}


def test_options_of_a_given_run_are_refused() -> None:
    rule = "project must be None if a run is given, got 'digits'; set it where the run is started"
    with pytest.raises(ValueError, match=rule):
        WandbLogger(project="digits", run=StubWandbRun())
    with pytest.raises(ValueError, match="folder must be None if a run is given, got 'runs'"):
        WandbLogger(folder="runs", run=StubWandbRun())


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mode must be one of .*, got 'offlin'"):
        WandbLogger(mode="offlin")  # type: ignore[arg-type]


def test_another_run_of_the_process_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``wandb.init`` alone would return the active run, which the logger would end."""
    wandb = pytest.importorskip("wandb", reason="the extra mlpkit[wandb] is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path) as mine:
        logger = WandbLogger(mode="offline", folder=tmp_path)
        Trainer(network(), CONFIG, callbacks=[logger]).fit(examples())
        mine.log({"step": 1, "more": 2.5})
    runs = read_wandb(tmp_path)
    assert runs.keys() == {mine.id, logger.run_id}
    assert [run.status for run in runs.values()] == ["finished", "finished"]
    assert runs[mine.id].columns == {"more": [(1, 2.5)]}


def test_a_disabled_run_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra mlpkit[wandb] is not installed")
    logger = WandbLogger(mode="disabled", folder=tmp_path)
    Trainer(network(), CONFIG, callbacks=[logger]).fit(examples())
    assert list(tmp_path.iterdir()) == []
