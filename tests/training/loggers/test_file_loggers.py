"""Loggers of files: what stands in them after an epoch, a kill and a resume."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from tests.training.loggers.rows import row
from torch import nn

from mlpkit.training import CSVLogger, History, JSONLinesLogger, Trainer, TrainerConfig


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


def test_in_a_real_training_both_files_hold_the_history(tmp_path: Path) -> None:
    from mlpkit.data import LabeledTensors

    loggers = [CSVLogger(tmp_path / "a.csv"), JSONLinesLogger(tmp_path / "a.jsonl")]
    trainer = Trainer(nn.Linear(2, 2), TrainerConfig(epochs=3, progress=False), callbacks=loggers)
    inputs = torch.randn(20, 2)
    result = trainer.fit(LabeledTensors(inputs, (inputs[:, 0] > 0).long()))
    assert lines_of(tmp_path / "a.jsonl") == result.history.to_dict()
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
