"""`mlpkit train`: train, calibrate, evaluate and save a classifier."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tyro.conf import Positional

from mlpkit import _serialization
from mlpkit._checks import check_int, error_message
from mlpkit.cli._compute_options import check_device_option
from mlpkit.cli._layer_health import LayerHealthLog
from mlpkit.cli._options import HIDDEN_NETWORK_OPTIONS, NetworkOptions, TrainingOptions
from mlpkit.cli._presets import PresetName
from mlpkit.cli._run_folder import RunFolder
from mlpkit.data import DatasetName, Splits, avg_pool, load
from mlpkit.errors import ConfigError, TrainingInterrupted
from mlpkit.models import SoftmaxClassifier, unpooled
from mlpkit.nn import MLP
from mlpkit.training import (
    Callback,
    CheckpointConfig,
    CSVLogger,
    EpochRow,
    Evaluation,
    Trainer,
)

__all__ = ["Train"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Train a network on a data set, evaluate it, and save everything in a new run folder."""

    network: Annotated[NetworkOptions, tyro.conf.arg(name="")]
    training: Annotated[TrainingOptions, tyro.conf.arg(name="")]
    dataset: Annotated[Positional[DatasetName], tyro.conf.arg(metavar="DATASET")] = "digits"
    """digits (no download), mnist, fashion_mnist, kmnist, qmnist, emnist_letters..."""
    root: Path | None = None
    """Folder with the data files; by default MLPKIT_DATA, then the cache, then a download."""
    preset: PresetName = "default"
    """Set of defaults for the options below."""
    pool: int = 1
    """Average POOL x POOL pixels for training; the saved network takes the original images."""
    config: Path | None = None
    """TOML file with options; the command line overrides it."""
    runs: Path = Path("runs")
    """Folder in which the folder of the run is created."""
    resume: Path | None = None
    """Folder of an interrupted run to resume."""

    def __post_init__(self) -> None:
        check_int("--pool", self.pool, minimum=1)
        check_device_option(self.training.device)
        if self.training.seed >= 2**64:  # torch's generators have 64 bits
            raise ValueError(error_message("--seed", "less than 2**64", self.training.seed))
        if self.network.norm == "batch" and self.training.batch_size == 1:
            raise ValueError(error_message("--batch-size", "at least 2 with --norm batch", 1))

    def run(self) -> None:
        """Train, calibrate, evaluate and save the classifier."""
        splits = load(self.dataset, root=self.root)
        training_splits = splits if self.pool == 1 else _pool(splits, self.pool)
        model = self._build_model(training_splits)
        Trainer(model, self.training)  # raises for an invalid combination before a folder exists
        folder = self._create_folder()
        self._print_summary(model, splits, folder)
        with self._print_resume_command(folder):
            self._fit(model, training_splits, folder)
            self._calibrate(model, training_splits)
            if self.pool > 1:
                model = unpooled(model, self.pool)
            evaluation = self._evaluate(model, splits)
            folder.write_text(folder.evaluation, json.dumps(evaluation.to_dict(), indent=2) + "\n")
            model.save(folder.model)
        self._print_result(evaluation.accuracy, evaluation.num_examples, folder)

    def _fit(self, model: SoftmaxClassifier, splits: Splits, folder: RunFolder) -> None:
        """Train the classifier; write the history and the activation statistics."""
        callbacks: list[Callback] = [EpochLines(self), CSVLogger(folder.history_csv)]
        if self.network.hidden_features:
            inputs = (splits.val or splits.train).inputs
            callbacks.append(LayerHealthLog(model, inputs, folder.layer_health))
        trainer = Trainer(model, self._trainer_config(folder), callbacks=callbacks)
        # "auto": a run that was killed before its first checkpoint starts from the beginning
        resume = None if self.resume is None else "auto"
        try:
            result = trainer.fit(splits.train, splits.val, resume=resume)
        except (TypeError, ValueError):  # options that do not fit the data
            if self.resume is None and trainer.state.step == 0:
                shutil.rmtree(folder.path)
            raise
        result.history.save_json(folder.history_json)

    def _calibrate(self, model: SoftmaxClassifier, splits: Splits) -> None:
        """Fit the temperature to the validation set."""
        if splits.val is not None:
            temperature = model.calibrate(splits.val)
            _print(f"temperature: {temperature:.3f}, fitted to the validation examples")

    def _evaluate(self, model: SoftmaxClassifier, splits: Splits) -> Evaluation:
        """Return the metrics on the test set."""
        return model.evaluate(splits.test, precision=self.training.precision)

    @contextlib.contextmanager
    def _print_resume_command(self, folder: RunFolder) -> Iterator[None]:
        """Print the command that resumes the run if it is interrupted or a file operation fails."""
        try:
            yield
        except (TrainingInterrupted, KeyboardInterrupt, OSError):
            _print("resume with: " + shlex.join(["mlpkit", "train", "--resume", str(folder.path)]))
            raise

    def _build_model(self, splits: Splits) -> SoftmaxClassifier:
        """Build the classifier; its initial weights depend on the seed alone."""
        generator = torch.Generator().manual_seed(self.training.seed)
        config = dataclasses.replace(
            self.network, in_features=self.network.in_features // self.pool**2
        )
        network = MLP.from_config(config, generator=generator)
        return SoftmaxClassifier.with_network(network, splits.train)

    def _create_folder(self) -> RunFolder:
        if self.resume is not None:
            return RunFolder(self.resume)
        text = self.to_toml()
        try:
            text.encode()
        except UnicodeEncodeError as error:  # TOML is UTF-8
            rule = "a path in UTF-8"
            cure = "rename the folder, or set MLPKIT_DATA to it"
            raise ConfigError(error_message("--root", rule, str(self.root), cure)) from error
        folder = RunFolder.create(self.runs, self.dataset)
        try:
            folder.write_text(folder.config, text)
        except BaseException:
            folder.path.rmdir()  # without its options a run can be neither repeated nor resumed
            raise
        return folder

    def to_toml(self) -> str:
        """Return the options as a file for ``--config``, without the paths of this run."""
        values = _serialization.to_dict(self)
        for name in ("config", "resume", "runs"):
            del values[name]
        network = values["network"]
        assert isinstance(network, dict)
        for name in HIDDEN_NETWORK_OPTIONS:
            del network[name]
        return _serialization.plain_to_toml(values)

    def _trainer_config(self, folder: RunFolder) -> TrainingOptions:
        return dataclasses.replace(
            self.training, checkpoints=CheckpointConfig(folder=folder.checkpoints)
        )

    def _print_summary(self, model: SoftmaxClassifier, splits: Splits, folder: RunFolder) -> None:
        sizes = " -> ".join(
            str(size)
            for size in (
                model.network.in_features,
                *self.network.hidden_features,
                self.network.out_features,
            )
        )
        val = 0 if splits.val is None else len(splits.val)
        _print(
            f"{self.dataset}: {len(splits.train):,} training, {val:,} validation and "
            f"{len(splits.test):,} test examples"
        )
        means = "" if self.pool == 1 else f", on means of {self.pool} x {self.pool} pixels"
        _print(f"network: {sizes}, {model.network.num_parameters:,} parameters{means}")
        _print(f"run: {folder.path}")

    def _print_result(self, accuracy: float, num_examples: int, folder: RunFolder) -> None:
        _print(f"test accuracy: {accuracy:.2%} of {num_examples:,} examples")
        _print(f"model: {folder.model}")
        _print(
            "next: "
            + (
                "mlpkit train mnist"
                if self.dataset == "digits"
                else shlex.join(["mlpkit", "predict", "--model", str(folder.model), "IMAGE.png"])
            )
        )


class EpochLines(Callback):
    """Print one line per epoch."""

    def __init__(self, options: Train) -> None:
        self._epochs = options.training.epochs
        # Those of the validation loss are never smoothed, so the losses cannot be compared.
        self._are_smoothed = options.training.label_smoothing > 0.0

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
        """Print the metrics of the epoch."""
        parts = [
            f"epoch {row.epoch + 1:>{len(str(self._epochs))}}/{self._epochs}",
            f"train loss {row.train_loss:.4f}" + " (smoothed labels)" * self._are_smoothed,
        ]
        if row.val_loss is not None:
            parts.append(f"val loss {row.val_loss:.4f}")
        if row.val_accuracy is not None:
            parts.append(f"val accuracy {row.val_accuracy:.2%}")
        parts.append(f"{row.seconds:.1f} s")
        _print("  ".join(parts))


def _pool(splits: Splits, kernel_size: int) -> Splits:
    """Average-pool the training and validation examples; the test examples are unchanged."""
    height, width = splits.train.inputs.shape[-2:]
    if height % kernel_size or width % kernel_size:
        rule = f"a divisor of both sides of the images ({height} x {width})"
        raise ValueError(error_message("--pool", rule, kernel_size))
    val = None if splits.val is None else avg_pool(splits.val, kernel_size)
    return splits._replace(train=avg_pool(splits.train, kernel_size), val=val)


def _print(line: str) -> None:
    print(line, flush=True)
