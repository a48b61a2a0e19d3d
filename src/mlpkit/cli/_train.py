"""`mlpkit train`: train, calibrate, evaluate and save a model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import torch
import tyro
from tyro.conf import Positional

from mlpkit import _serialization
from mlpkit._checks import check_choice, check_int, error_message
from mlpkit._serialization import JSONValue
from mlpkit.cli._compute_options import check_device_option
from mlpkit.cli._files import ReadSplits, dataset_name, load_files, task_of
from mlpkit.cli._launch import launch_name, restart_count
from mlpkit.cli._layer_health import LayerHealthLog
from mlpkit.cli._model import Model
from mlpkit.cli._options import (
    HIDDEN_NETWORK_OPTIONS,
    DataOptions,
    NetworkOptions,
    TrainingOptions,
)
from mlpkit.cli._presets import PresetName
from mlpkit.cli._run_folder import RunFolder
from mlpkit.data import DatasetName, Splits, avg_pool, load
from mlpkit.errors import ConfigError, TrainingInterrupted
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier, unpooled
from mlpkit.nn import MLP
from mlpkit.training import (
    Callback,
    CheckpointConfig,
    CSVLogger,
    EpochRow,
    Evaluation,
    Monitor,
    MonitorName,
    Trainer,
)
from mlpkit.training.metrics import epoch_line

__all__ = ["Train"]

_UNDIRECTED = "grad_norm"  # a column of every history whose best value is neither


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Train a network on a data set, a CSV file or a folder of images; save all in a run folder."""

    network: Annotated[NetworkOptions, tyro.conf.arg(name="")]
    training: Annotated[TrainingOptions, tyro.conf.arg(name="")]
    dataset: Annotated[Positional[str], tyro.conf.arg(metavar="DATASET")] = "digits"
    """digits, mnist..., FILE.csv, or a folder of image folders."""
    data: Annotated[DataOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DataOptions
    )
    root: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Data folder, by default MLPKIT_DATA or the cache."""
    verify: bool = True
    """Accept files that are not the published ones."""
    preset: PresetName = "default"
    """Set of defaults."""
    pool: int = 1
    """Average N x N pixels."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """File with options; the command line overrides it."""
    runs: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder for the folders of runs."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Folder of an interrupted run to resume."""
    read: Annotated[ReadSplits, tyro.conf.Fixed, tyro.conf.Suppress] = dataclasses.field(
        default_factory=ReadSplits, repr=False, compare=False
    )
    """The examples of a file or folder, if they were read for the defaults."""

    def __post_init__(self) -> None:
        check_int("--pool", self.pool, minimum=1)
        check_device_option(self.training.device)
        _check_monitor(self.training.monitor)
        if self.network.norm == "batch" and self.training.batch_size == 1:
            raise ValueError(error_message("--batch-size", "at least 2 with --norm batch", 1))
        if self._name is not None and self.data.given():
            option = "--" + self.data.given()[0].replace("_", "-")
            rule = f"given with a CSV file or a folder, not with the data set {self.dataset}"
            value = getattr(self.data, self.data.given()[0])
            value = value[0] if isinstance(value, tuple) and option != "--image-size" else value
            raise ValueError(error_message(option, rule, value, f"./{self.dataset} is a path"))
        if self._name is None and (self.root is not None or not self.verify):
            option, value = "--root", str(self.root)
            if self.root is None:
                option, value = "--no-verify", self.dataset
            rule = "given with a data set, not with the path of a file or folder"
            raise ValueError(error_message(option, rule, value))

    @property
    def _name(self) -> DatasetName | None:
        """The name of the data set; None for a path."""
        return dataset_name(self.dataset)

    @property
    def _title(self) -> str:
        """The name of the data set, or that of the file or folder."""
        return self.dataset if self._name is not None else Path(self.dataset).resolve().name

    def _load(self) -> Splits:
        """Return the examples."""
        if self._name is not None:
            return load(self._name, root=self.root, verify=self.verify)
        return self.read.splits or load_files(self.data, self.dataset)

    def run(self) -> None:
        """Train, calibrate, evaluate and save the model."""
        splits = self._load()
        training_splits = splits if self.pool == 1 else _pool(splits, self.pool)
        model = self._build_model(training_splits)
        # Raises for an invalid combination before a folder exists; joins the processes of torchrun.
        trainer = Trainer(model, self.training)
        is_first = trainer.rank == 0
        folder = self._folder_of_all(trainer)
        with contextlib.nullcontext() if is_first else contextlib.redirect_stdout(None):
            self._train_and_save(model, splits, training_splits, folder, is_first=is_first)

    def _train_and_save(
        self,
        model: Model,
        splits: Splits,
        training_splits: Splits,
        folder: RunFolder,
        *,
        is_first: bool,
    ) -> None:
        """Train, calibrate and evaluate the model; the first process saves it."""
        self._print_summary(model, splits, folder)
        with self._print_resume_command(folder):
            self._fit(model, training_splits, folder)
            self._calibrate(model, training_splits)
            if self.pool > 1 and isinstance(model, SoftmaxClassifier):
                model = self._unpool(model)
            evaluation = self._evaluate(model, splits)
            if is_first:
                text = json.dumps(evaluation.to_dict(), indent=2) + "\n"
                folder.write_text(folder.evaluation, text)
                model.save(folder.model)
        self._print_result(evaluation, folder)

    def _fit(self, model: Model, splits: Splits, folder: RunFolder) -> None:
        """Train the model; write the history and the activation statistics."""
        callbacks: list[Callback] = [CSVLogger(folder.history_csv)]
        if self.training.progress is not False:
            callbacks.insert(0, EpochLines(self))
        if self.network.hidden_features:
            inputs = (splits.val or splits.train).inputs
            callbacks.append(LayerHealthLog(model, inputs, folder.layer_health))
        trainer = Trainer(model, self._trainer_config(folder), callbacks=callbacks)
        is_new = self.resume is None and restart_count() == 0
        # "auto": a run that was killed before its first checkpoint starts from the beginning
        resume = None if is_new else "auto"
        try:
            result = trainer.fit(splits.train, splits.val, resume=resume)
        except (TypeError, ValueError):  # options that do not fit the data
            if is_new and trainer.state.step == 0 and trainer.rank == 0:
                shutil.rmtree(folder.path)
            raise
        if trainer.rank == 0:
            result.history.save_json(folder.history_json)

    def _calibrate(self, model: Model, splits: Splits) -> None:
        """Fit the temperature of a classifier, and the thresholds of labels, to the validation."""
        if splits.val is None or isinstance(model, Regressor):
            return
        if isinstance(model, MultilabelClassifier):
            model.calibrate(splits.val)
            model.fit_thresholds(splits.val)
            _print("temperatures and thresholds: fitted to the validation examples")
            return
        temperature = model.calibrate(splits.val)
        _print(f"temperature: {temperature:.3f}, fitted to the validation examples")

    def _unpool(self, model: SoftmaxClassifier) -> SoftmaxClassifier:
        """Return the classifier of whole images, and print why it has more parameters."""
        full = unpooled(model, self.pool)
        _print(
            f"for whole images: {self._sizes(full)}, {full.network.num_parameters:,} parameters; "
            f"each weight of the first layer is repeated for {self.pool} x {self.pool} pixels"
        )
        return full

    def _evaluate(self, model: Model, splits: Splits) -> Evaluation:
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

    def _build_model(self, splits: Splits) -> Model:
        """Build the model; its initial weights depend on the seed alone."""
        generator = torch.Generator().manual_seed(self.training.seed)
        config = dataclasses.replace(
            self.network, in_features=self.network.in_features // self.pool**2
        )
        network = MLP.from_config(config, generator=generator)
        task = task_of(splits.train)
        if task == "classification":
            return SoftmaxClassifier.with_network(network, splits.train)
        if task == "multilabel":
            return MultilabelClassifier.with_network(network, splits.train)
        return Regressor.with_network(network, splits.train)

    def _folder_of_all(self, trainer: Trainer) -> RunFolder:
        """Return the folder of the run, which the first process creates or finds."""
        if trainer.world_size == 1:
            return self._folder()
        paths = [self._folder().path if trainer.rank == 0 else None]
        torch.distributed.broadcast_object_list(paths)
        assert paths[0] is not None, "the first process sends it"
        return RunFolder(paths[0])

    def _folder(self) -> RunFolder:
        """Return the folder of the resumed run, or of an earlier attempt, or else a new one."""
        if self.resume is not None:
            return RunFolder(self.resume)
        text, launch = self.to_toml(), launch_name()
        folder = None
        if launch is not None and restart_count() > 0:
            folder = RunFolder.find(self.runs, launch=launch, config=text)
        if folder is not None:
            return folder
        folder = self._create_folder(text)
        if launch is not None:
            folder.write_text(folder.launch, launch)
        return folder

    def _create_folder(self, text: str) -> RunFolder:
        try:
            text.encode()
        except UnicodeEncodeError as error:  # TOML is UTF-8
            rule = "a path in UTF-8"
            if self._name is None:
                raise ConfigError(
                    error_message("DATASET", rule, self.dataset, "rename it")
                ) from error
            cure = "rename the folder, or set MLPKIT_DATA to it"
            raise ConfigError(error_message("--root", rule, str(self.root), cure)) from error
        folder = RunFolder.create(self.runs, self._title.removesuffix(".csv"))
        try:
            folder.write_text(folder.config, text)
        except BaseException:
            folder.path.rmdir()  # without its options a run can be neither repeated nor resumed
            raise
        return folder

    def to_toml(self) -> str:
        """Return the options as a file for ``--config``, without the paths of this run."""
        is_named = self._name is not None
        network = _serialization.to_toml_dict(self.network)
        for name in HIDDEN_NETWORK_OPTIONS:
            network.pop(name, None)
        values: dict[str, JSONValue] = {
            "dataset": self.dataset if is_named else str(Path(self.dataset).resolve()),
            "root": None if self.root is None else str(self.root.absolute()),
            "verify": self.verify if is_named else None,
            "preset": self.preset,
            "pool": self.pool,
            "data": None if is_named else self._data_values(),
            "network": network,
            "training": _serialization.to_toml_dict(self.training),
        }
        return _serialization.plain_to_toml(values)

    def _data_values(self) -> dict[str, JSONValue]:
        """Return the options of a file or folder, with the digest of the file."""
        digest = self.data.source(Path(self.dataset)).digest()
        return _serialization.to_toml_dict(dataclasses.replace(self.data, sha256=digest))

    def _trainer_config(self, folder: RunFolder) -> TrainingOptions:
        progress = self.training.progress
        return dataclasses.replace(
            self.training,
            checkpoints=CheckpointConfig(folder=folder.checkpoints),
            progress=False if progress == "lines" else progress,  # EpochLines prints them
        )

    def _print_summary(self, model: Model, splits: Splits, folder: RunFolder) -> None:
        val = 0 if splits.val is None else len(splits.val)
        _print(
            f"{self._title}: {len(splits.train):,} training, {val:,} validation and "
            f"{len(splits.test):,} test examples"
        )
        if self._name is None:
            _print(f"target: {_target_text(splits)}")
        means = "" if self.pool == 1 else f", on means of {self.pool} x {self.pool} pixels"
        _print(f"network: {self._sizes(model)}, {model.network.num_parameters:,} parameters{means}")
        _print(f"run: {folder.path}")

    def _sizes(self, model: Model) -> str:
        """Return the widths of the layers of a model."""
        widths = (*self.network.hidden_features, self.network.out_features)
        return " -> ".join(str(width) for width in (model.network.in_features, *widths))

    def _print_result(self, evaluation: Evaluation, folder: RunFolder) -> None:
        count = f"{evaluation.num_examples:,} examples"
        if evaluation.task == "regression":
            _print(f"test RMSE: {evaluation.rmse:.4g}, R2: {evaluation.r2:.4f}, on {count}")
        else:
            _print(f"test accuracy: {evaluation.accuracy:.2%} of {count}")
        _print(f"model: {folder.model}")
        if self.dataset == "digits":
            _print("next: " + shlex.join(["mlpkit", "report", str(folder.path)]))
        else:
            is_table = self._name is None and not Path(self.dataset).is_dir()
            path = folder.model if self._name is not None else folder.path
            words = ["mlpkit", "predict", "--model", str(path)]
            _print("next: " + shlex.join([*words, "FILE.csv" if is_table else "IMAGE.png"]))


class EpochLines(Callback):
    """Print one line per epoch."""

    on_every_rank = False

    def __init__(self, options: Train) -> None:
        self._epochs = options.training.epochs
        self._label_smoothing = options.training.label_smoothing
        # A bar on the same terminal has no line end: it is erased, and drawn again below.
        has_bar = options.training.progress in (None, True)
        streams = (sys.stdout, sys.stderr)
        is_shared = all(stream is not None and stream.isatty() for stream in streams)
        self._start = "\r\x1b[K" if has_bar and is_shared else ""

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
        """Print the metrics of the epoch."""
        line = epoch_line(row, self._epochs, label_smoothing=self._label_smoothing)
        _print(self._start + line)


def _check_monitor(monitor: str | Monitor) -> None:
    """Raise unless a run of a command, which has no custom metrics, has the column."""
    name = monitor if isinstance(monitor, str) else monitor.name
    check_choice("--monitor", name, (*get_args(MonitorName), _UNDIRECTED))
    if monitor == _UNDIRECTED:
        rule = f"{name}:min or {name}:max, since the column has no direction"
        raise ValueError(error_message("--monitor", rule, name))


def _target_text(splits: Splits) -> str:
    """Return what the examples of a file or folder are predicted as."""
    train = splits.train
    target = None if train.encoder is None else train.encoder.target
    if target is None or target.task == "classification":
        name = "" if target is None else f"{target.names[0]}, "
        listed = ", ".join((train.classes or ())[:10])
        more = ", ..." if (train.num_classes or 0) > 10 else ""
        return f"{name}{train.num_classes} classes ({listed}{more})"
    what = "labels" if target.task == "multilabel" else "numbers"
    return f"{', '.join(target.names)} ({what})"


def _pool(splits: Splits, kernel_size: int) -> Splits:
    """Average-pool the training and validation examples; the test examples are unchanged."""
    if splits.train.inputs.ndim < 3:
        raise ValueError(error_message("--pool", "1 for a table", kernel_size, "leave it out"))
    height, width = splits.train.inputs.shape[-2:]
    if height % kernel_size or width % kernel_size:
        rule = f"a divisor of both sides of the images ({height} x {width})"
        raise ValueError(error_message("--pool", rule, kernel_size))
    val = None if splits.val is None else avg_pool(splits.val, kernel_size)
    return splits._replace(train=avg_pool(splits.train, kernel_size), val=val)


def _print(line: str) -> None:
    print(line, flush=True)
