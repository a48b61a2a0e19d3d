"""`mlpkit train`: from a data set to a trained, tested and saved classifier."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tyro.conf import Positional

from mlpkit import _serialization
from mlpkit._checks import check_int, error_message
from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._evaluate import evaluate
from mlpkit.cli._layer_health import LayerHealthLog
from mlpkit.cli._options import HIDDEN_NETWORK_OPTIONS, NetworkOptions, TrainingOptions
from mlpkit.cli._presets import PresetName
from mlpkit.cli._run_folder import RunFolder
from mlpkit.data import DatasetName, Splits, avg_pool, load
from mlpkit.errors import TrainingInterrupted
from mlpkit.models import SoftmaxClassifier
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
    """Train a network on a data set, test it, and keep it in a folder of its own."""

    network: Annotated[NetworkOptions, tyro.conf.arg(name="")]
    training: Annotated[TrainingOptions, tyro.conf.arg(name="")]
    dataset: Annotated[Positional[DatasetName], tyro.conf.arg(metavar="DATASET")] = "digits"
    """digits (no download), mnist, fashion_mnist, kmnist, qmnist, emnist_letters..."""
    root: Path | None = None
    """Folder with the data files; without it MLPKIT_DATA, then the cache, then a download."""
    preset: PresetName = "default"
    """Where the defaults of the options below come from."""
    pool: int = 1
    """Train on pictures whose blocks of POOL x POOL pixels are averaged; the saved network takes
    whole ones."""
    config: Path | None = None
    """TOML file with options; the command line wins over it."""
    runs: Path = Path("runs")
    """Folder in which the run gets its own."""
    resume: Path | None = None
    """Folder of an interrupted run to go on with."""

    def __post_init__(self) -> None:
        check_int("pool", self.pool, minimum=1)

    def run(self) -> None:
        """Train, calibrate, test and save."""
        splits = load(self.dataset, root=self.root)
        seen = splits if self.pool == 1 else _pooled(splits, self.pool)
        model = self._model(seen)
        Trainer(model, self.training)  # refuses what it cannot train before a folder is made
        folder = self._folder()
        self._announce(model, splits, folder)
        with self._resumable(folder):
            self._fit(model, seen, folder)
            self._calibrate(model, seen)
            if self.pool > 1:
                model = model.unpooled(self.pool)
            evaluation = self._judge(model, splits)
            folder.write_text(folder.evaluation, json.dumps(evaluation.to_dict(), indent=2) + "\n")
            model.save(folder.model)
        self._conclude(evaluation.accuracy, evaluation.num_examples, folder)

    def _fit(self, model: SoftmaxClassifier, splits: Splits, folder: RunFolder) -> None:
        """Train, and keep the history and what the layers did."""
        callbacks: list[Callback] = [EpochLines(self), CSVLogger(folder.history_csv)]
        if self.network.hidden_features:
            inputs = (splits.val or splits.train).inputs
            callbacks.append(LayerHealthLog(model, inputs, folder.layer_health))
        trainer = Trainer(model, self._training(folder), callbacks=callbacks)
        resume = None if self.resume is None else "auto"  # anew, if it was killed before the first
        trainer.fit(splits.train, splits.val, resume=resume).history.to_json(folder.history_json)

    def _calibrate(self, model: SoftmaxClassifier, splits: Splits) -> None:
        """Make the probabilities honest with the validation set."""
        if splits.val is not None:
            temperature = model.calibrate(splits.val)
            _say(f"temperature: {temperature:.3f}, fitted to the validation examples")

    def _judge(self, model: SoftmaxClassifier, splits: Splits) -> Evaluation:
        """Measure the test set."""
        machine = ComputeOptions(device=self.training.device, precision=self.training.precision)
        with machine.autocast():
            return evaluate(model, splits.test)

    @contextlib.contextmanager
    def _resumable(self, folder: RunFolder) -> Iterator[None]:
        """Say how to go on after what is no fault of the run."""
        try:
            yield
        except (TrainingInterrupted, KeyboardInterrupt, OSError):
            _say("go on with: " + shlex.join(["mlpkit", "train", "--resume", str(folder.path)]))
            raise

    def _model(self, splits: Splits) -> SoftmaxClassifier:
        """Build the classifier; its first weights come from the seed alone."""
        generator = torch.Generator().manual_seed(self.training.seed)
        config = dataclasses.replace(
            self.network, in_features=self.network.in_features // self.pool**2
        )
        network = MLP.from_config(config, generator=generator)
        return SoftmaxClassifier.with_network(network, splits.train)

    def _folder(self) -> RunFolder:
        if self.resume is not None:
            return RunFolder(self.resume)
        folder = RunFolder.create(self.runs, self.dataset)
        try:
            folder.write_text(folder.config, self.to_toml())
        except BaseException:
            folder.path.rmdir()  # a run without options could neither be repeated nor resumed
            raise
        return folder

    def to_toml(self) -> str:
        """Return the options as ``--config`` reads them, without the paths of this one run."""
        values = _serialization.to_dict(self)
        for name in ("config", "resume", "runs"):
            del values[name]
        network = values["network"]
        assert isinstance(network, dict)
        for name in HIDDEN_NETWORK_OPTIONS:
            del network[name]
        return _serialization.plain_to_toml(values)

    def _training(self, folder: RunFolder) -> TrainingOptions:
        return dataclasses.replace(
            self.training, checkpoints=CheckpointConfig(folder=folder.checkpoints)
        )

    def _announce(self, model: SoftmaxClassifier, splits: Splits, folder: RunFolder) -> None:
        sizes = " -> ".join(
            str(size)
            for size in (
                model.network.in_features,
                *self.network.hidden_features,
                self.network.out_features,
            )
        )
        val = 0 if splits.val is None else len(splits.val)
        _say(
            f"{self.dataset}: {len(splits.train):,} training, {val:,} validation and "
            f"{len(splits.test):,} test examples"
        )
        means = "" if self.pool == 1 else f", on means of {self.pool} x {self.pool} pixels"
        _say(f"network: {sizes}, {model.network.num_parameters:,} parameters{means}")
        _say(f"run: {folder.path}")

    def _conclude(self, accuracy: float, num_examples: int, folder: RunFolder) -> None:
        _say(f"test accuracy: {accuracy:.2%} of {num_examples:,} examples")
        _say(f"model: {folder.model}")
        _say(
            "next: "
            + (
                "mlpkit train mnist"
                if self.dataset == "digits"
                else shlex.join(["mlpkit", "predict", "--model", str(folder.model), "PICTURE.png"])
            )
        )


class EpochLines(Callback):
    """A line for each epoch."""

    def __init__(self, options: Train) -> None:
        self._epochs = options.training.epochs

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
        """Print the figures of the epoch."""
        words = [
            f"epoch {row.epoch + 1:>{len(str(self._epochs))}}/{self._epochs}",
            f"train loss {row.train_loss:.4f}",
        ]
        if row.val_loss is not None:
            words.append(f"val loss {row.val_loss:.4f}")
        if row.val_accuracy is not None:
            words.append(f"val accuracy {row.val_accuracy:.2%}")
        words.append(f"{row.seconds:.1f} s")
        _say("  ".join(words))


def _pooled(splits: Splits, kernel_size: int) -> Splits:
    """Return the examples that are trained on, averaged; those of the test stay whole."""
    height, width = splits.train.inputs.shape[-2:]
    if height % kernel_size or width % kernel_size:
        rule = f"a divisor of both sides of the pictures ({height} x {width})"
        raise ValueError(error_message("pool", rule, kernel_size))
    val = None if splits.val is None else avg_pool(splits.val, kernel_size)
    return splits._replace(train=avg_pool(splits.train, kernel_size), val=val)


def _say(line: str) -> None:
    print(line, flush=True)
