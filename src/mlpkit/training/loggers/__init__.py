"""Callbacks that write a run to files and to tracking services."""

from __future__ import annotations

from mlpkit.training.loggers._file_loggers import CSVLogger, JSONLinesLogger
from mlpkit.training.loggers._mlflow_logger import MLflowLogger
from mlpkit.training.loggers._tensorboard_logger import TensorBoardLogger
from mlpkit.training.loggers._wandb_logger import WandbLogger

__all__ = ["CSVLogger", "JSONLinesLogger", "MLflowLogger", "TensorBoardLogger", "WandbLogger"]
