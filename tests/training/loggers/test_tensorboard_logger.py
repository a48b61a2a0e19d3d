"""TensorBoard: the scalars of the epochs, and the end of a run."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.training.loggers.rows import row
from torch import nn

from mlpkit.errors import MissingDependencyError
from mlpkit.training import (
    FitResult,
    History,
    TensorBoardLogger,
    Trainer,
    TrainerConfig,
    TrainState,
)


@pytest.fixture
def trainer() -> Trainer:
    """A trainer that has not trained; the test gives it a history."""
    return Trainer(nn.Linear(2, 2), TrainerConfig(progress=False))


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

        monkeypatch.setattr("mlpkit.training.loggers._tensorboard_logger.import_module", stand_in)
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

        monkeypatch.setattr("mlpkit.training.loggers._tensorboard_logger.import_module", refuse)
        with pytest.raises(MissingDependencyError, match=r"pip install 'mlpkit\[tensorboard\]'"):
            TensorBoardLogger(tmp_path).on_fit_start(trainer)
