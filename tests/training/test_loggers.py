"""Loggers: what stands in their files after an epoch, a kill and a resume."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mlpkit.errors import MissingDependencyError
from mlpkit.training import (
    CSVLogger,
    EpochRow,
    FitResult,
    History,
    JSONLinesLogger,
    TensorBoardLogger,
    Trainer,
    TrainerConfig,
    TrainState,
)


def row(epoch: int) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        step=10 * (epoch + 1),
        lr=1e-3,
        train_loss=1 / (epoch + 3),
        seconds=1.5,
        examples_per_second=4e4,
        val_loss=None if epoch else 0.25,
    )


@pytest.fixture
def trainer() -> Trainer:
    """A trainer that has not trained; the test gives it a history."""
    return Trainer(nn.Linear(2, 2), TrainerConfig(progress=False))


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestCSVLogger:
    def test_holds_every_epoch_once(self, tmp_path: Path, trainer: Trainer) -> None:
        logger = CSVLogger(tmp_path / "history.csv")
        logger.on_fit_start(trainer)
        assert len(logger.path.read_text().splitlines()) == 1
        for epoch in range(3):
            trainer.history.append(row(epoch))
            logger.on_epoch_end(trainer, trainer.history[-1])
        with logger.path.open(newline="") as file:
            read = list(csv.DictReader(file))
        assert [int(line["epoch"]) for line in read] == [0, 1, 2]
        assert [float(line["train_loss"]) for line in read] == [1 / 3, 1 / 4, 1 / 5]
        assert [line["val_loss"] for line in read] == ["0.25", "", ""]

    def test_a_folder_that_is_not_there_is_known_at_once(
        self, tmp_path: Path, trainer: Trainer
    ) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            CSVLogger(tmp_path / "nowhere" / "history.csv").on_fit_start(trainer)


class TestJSONLinesLogger:
    def test_appends_one_object_for_each_epoch(self, tmp_path: Path, trainer: Trainer) -> None:
        logger = JSONLinesLogger(tmp_path / "history.jsonl")
        logger.on_fit_start(trainer)
        assert logger.path.read_text() == ""
        inode = logger.path.stat().st_ino
        for epoch in range(3):
            trainer.history.append(row(epoch))
            logger.on_epoch_end(trainer, trainer.history[-1])
        assert lines_of(logger.path) == trainer.history.to_dict()
        assert logger.path.stat().st_ino == inode, "whoever follows the file goes on seeing it"

    def test_a_resumed_training_repairs_the_file(self, tmp_path: Path, trainer: Trainer) -> None:
        """Epochs that will be made again go, and so does a line cut by a kill."""
        logger = JSONLinesLogger(tmp_path / "history.jsonl")
        text = "".join(json.dumps(row(epoch).to_dict()) + "\n" for epoch in range(4))
        logger.path.write_text(text + '{"epoch": 4, "st')
        trainer.history = History([row(0), row(1)])
        logger.on_fit_start(trainer)
        trainer.history.append(row(2))
        logger.on_epoch_end(trainer, row(2))
        assert lines_of(logger.path) == History([row(0), row(1), row(2)]).to_dict()


class Writer:
    """Records what a SummaryWriter is told."""

    made: list[Writer]

    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []
        type(self).made.append(self)

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.scalars.append((tag, scalar_value, global_step))

    def close(self) -> None:
        self.closed = True


class TestTensorBoardLogger:
    @pytest.fixture
    def writers(self, monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
        """Stand in for torch.utils.tensorboard, which needs a package that is optional."""
        Writer.made = []
        original = importlib.import_module

        def stand_in(name: str) -> object:
            if name == "torch.utils.tensorboard":
                return SimpleNamespace(SummaryWriter=Writer)
            return original(name)

        monkeypatch.setattr("mlpkit.training._loggers.import_module", stand_in)
        return Writer.made

    def test_writes_every_figure_against_the_step(
        self, tmp_path: Path, trainer: Trainer, writers: list[Writer]
    ) -> None:
        logger = TensorBoardLogger(tmp_path / "runs")
        logger.on_fit_start(trainer)
        logger.on_epoch_end(trainer, row(0))
        logger.on_epoch_end(trainer, row(1))
        (writer,) = writers
        assert (writer.folder, writer.purge_step) == (str(tmp_path / "runs"), None)
        assert ("train_loss", 1 / 3, 10) in writer.scalars
        assert ("val_loss", 0.25, 10) in writer.scalars
        assert ("train_loss", 1 / 4, 20) in writer.scalars
        tags = {tag for tag, _, _ in writer.scalars}
        assert tags == {"lr", "train_loss", "seconds", "examples_per_second", "val_loss"}

    def test_a_resumed_training_purges_what_it_will_write_again(
        self, tmp_path: Path, trainer: Trainer, writers: list[Writer]
    ) -> None:
        trainer.history = History([row(0), row(1)])
        TensorBoardLogger(tmp_path).on_fit_start(trainer)
        assert writers[0].purge_step == 21

    @pytest.mark.parametrize("fails", [False, True])
    def test_closes_its_file_however_the_training_ends(
        self, tmp_path: Path, trainer: Trainer, writers: list[Writer], fails: bool
    ) -> None:
        logger = TensorBoardLogger(tmp_path)
        logger.on_fit_start(trainer)
        result = FitResult(
            stop_reason="completed", state=TrainState(), history=History(), last=None, best=None
        )
        if fails:
            logger.on_exception(trainer, KeyboardInterrupt())
        else:
            logger.on_fit_end(trainer, result)
        assert writers[0].closed
        logger.on_epoch_end(trainer, row(0))
        assert writers[0].scalars == []

    def test_without_tensorboard_it_says_what_to_install(
        self, tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(name: str) -> object:
            raise ImportError(name)

        monkeypatch.setattr("mlpkit.training._loggers.import_module", refuse)
        with pytest.raises(MissingDependencyError, match=r"pip install 'mlpkit\[tensorboard\]'"):
            TensorBoardLogger(tmp_path).on_fit_start(trainer)


def test_in_a_real_training_both_files_hold_the_history(tmp_path: Path) -> None:
    from mlpkit.data import LabeledTensors

    loggers = [CSVLogger(tmp_path / "a.csv"), JSONLinesLogger(tmp_path / "a.jsonl")]
    trainer = Trainer(nn.Linear(2, 2), TrainerConfig(epochs=3, progress=False), callbacks=loggers)
    inputs = torch.randn(20, 2)
    result = trainer.fit(LabeledTensors(inputs, (inputs[:, 0] > 0).long()))
    assert lines_of(tmp_path / "a.jsonl") == result.history.to_dict()
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
