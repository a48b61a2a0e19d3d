"""The defaults of `mlpkit train`: the preset for the data set, overridden by a TOML file."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import tyro
from tyro.conf import Positional

from mlpkit import _serialization
from mlpkit._checks import check_bool, check_choice, error_message
from mlpkit.cli._files import ReadSplits, check_dataset, dataset_name, load_files, task_of
from mlpkit.cli._help import HELP_WORDS
from mlpkit.cli._options import (
    HIDDEN_NETWORK_OPTIONS,
    HIDDEN_TRAINING_OPTIONS,
    DataOptions,
    NetworkOptions,
    TrainingOptions,
)
from mlpkit.cli._presets import (
    DEFAULTS_DEPEND_ON,
    DataFacts,
    PresetName,
    preset,
    preset_for,
)
from mlpkit.cli._run_folder import RunFolder, missing_run_cure
from mlpkit.cli._train import Train
from mlpkit.data import Splits
from mlpkit.errors import ConfigError, DataError
from mlpkit.training import OptimizerConfig, TrainerConfig

__all__ = ["train_defaults"]

_Options = TypeVar("_Options", NetworkOptions, TrainingOptions)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _UncheckedNetwork(NetworkOptions):
    def __post_init__(self) -> None:
        """Skip validation; the values are validated later, together with their defaults."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _UncheckedTraining(TrainingOptions):
    def __post_init__(self) -> None:
        """Skip validation; the values are validated later, together with their defaults."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FirstPass:
    """The options of :class:`Train`, parsed for those that determine the defaults of the others."""

    network: Annotated[_UncheckedNetwork, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=lambda: _UncheckedNetwork(in_features=1, hidden_features=(), out_features=1)
    )
    training: Annotated[_UncheckedTraining, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=_UncheckedTraining
    )
    data: Annotated[DataOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DataOptions
    )
    dataset: Positional[str | None] = None
    root: Path | None = None
    verify: bool = True
    preset: PresetName | None = None
    pool: int | None = None
    config: Path | None = None
    runs: Path | None = None
    resume: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConfigFile:
    """The content of a configuration file."""

    dataset: str | None = None
    root: Path | None = None
    verify: bool = True
    preset: PresetName | None = None
    pool: int | None = None
    data: dict[str, object] | None = None
    network: dict[str, object] | None = None
    training: dict[str, object] | None = None

    def __post_init__(self) -> None:
        tables: tuple[tuple[str, object, tuple[str, ...], str], ...] = (
            ("data", self.data, ("path",), "key dataset"),
            ("network", self.network, HIDDEN_NETWORK_OPTIONS, "data set"),
            ("training", self.training, HIDDEN_TRAINING_OPTIONS, "folder of the run"),
        )
        for name, values, hidden, determined_by in tables:
            if values is not None and not isinstance(values, dict):
                cure = f"write [{name}] on a separate line, and the options below it"
                raise ConfigError(error_message(name, "a table of options", values, cure))
            for key in hidden:
                if key in (values or {}):
                    cure = f"remove it; the {determined_by} determines it"
                    raise ConfigError(error_message(f"a key of {name}", "an option", key, cure))
        root: object = self.root
        if root is not None and not isinstance(root, str | Path):
            raise ConfigError(error_message("root", "the path of a folder", root))
        try:
            check_bool("verify", self.verify)
        except TypeError as error:
            raise ConfigError(str(error)) from error


def train_defaults(arguments: Sequence[str]) -> Train:
    """Return the defaults of ``mlpkit train`` for a command line.

    They are those of the preset for the data set, overridden by the TOML file of ``--config`` or
    by the options of the run to resume.

    Args:
        arguments: The arguments after ``train``.

    Raises:
        ConfigError: If the file is missing, is not TOML, or has an unknown key.
    """
    first = _first_pass(arguments)
    if first.resume is not None:
        _check_resume(first, first.resume)
    path = RunFolder(first.resume).config if first.resume is not None else first.config
    file = ConfigFile() if path is None else _read_config(path)
    name = check_choice("preset", first.preset or file.preset or "default", get_args(PresetName))
    dataset = first.dataset or file.dataset or "digits"
    named = dataset_name(dataset)
    base = _serialization.from_dict(DataOptions, file.data or {}, source=str(path))
    if first.resume is None:  # the same options may be given for another file
        base = dataclasses.replace(base, sha256=None)
    read = ReadSplits()
    given = _given(arguments, first.training, file.training or {}, str(path))
    if named is not None:
        chosen = preset(name, named, given)
    else:
        check_dataset(dataset)
        read.splits = _read_files(_merged(arguments, base), dataset, first)
        chosen = preset_for(name, _facts(read.splits), given)
    return Train(
        dataset=dataset,
        preset=name,
        pool=_pool(chosen.pool, file.pool, resuming=first.resume is not None),
        root=None if file.root is None else Path(file.root),
        verify=file.verify,
        data=dataclasses.replace(  # the command line appends to these two
            base,
            target=() if first.data.target else base.target,
            ignore=() if first.data.ignore else base.ignore,
        ),
        network=_override(chosen.network, file.network, str(path)),
        training=_override(chosen.training, file.training, str(path)),
        read=read,
    )


def _given(
    arguments: Sequence[str],
    training: TrainingOptions,
    file_training: Mapping[str, object],
    source: str,
) -> dict[str, object]:
    """Return the given options of the run on which the defaults of others depend.

    Args:
        arguments: The command line.
        training: Its options; those that are not in ``arguments`` have defaults.
        file_training: The options of a file, which the command line overrides.
        source: Name of the file.
    """
    from_file = _override(TrainingOptions(), file_training, source)
    given = {name: getattr(from_file, name) for name in DEFAULTS_DEPEND_ON if name in file_training}
    options = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    for name in DEFAULTS_DEPEND_ON:
        if f"--{name.replace('_', '-')}" in options:
            given[name] = getattr(training, name)
    optimizer = given.get("optimizer")
    if not isinstance(optimizer, OptimizerConfig) or optimizer.name != "lbfgs":
        given.pop("optimizer", None)  # only that of all examples changes the defaults of others
    try:
        TrainerConfig(**given)
    except (TypeError, ValueError):  # a wrong value is reported when all options are parsed
        return {}
    return given


def _read_files(options: DataOptions, path: str, first: _FirstPass) -> Splits:
    """Read a file or folder; the message for a resumed run whose file was moved names the cure."""
    try:
        return load_files(options, path)
    except DataError as error:
        if first.resume is None or first.dataset is not None or Path(path).exists():
            raise
        cure = f"give its new path: mlpkit train PATH --resume {first.resume}"
        raise DataError(f"{error}; {cure}") from error


def _merged(arguments: Sequence[str], base: DataOptions) -> DataOptions:
    """Return the options of files: those of the command line, which override those of a file."""
    found = _first_pass(arguments, dataclasses.replace(base, target=(), ignore=())).data
    return dataclasses.replace(
        found, target=found.target or base.target, ignore=found.ignore or base.ignore
    )


def _facts(splits: Splits) -> DataFacts:
    """Return what a preset depends on."""
    train = splits.train
    task = task_of(train)
    columns = math.prod(train.targets.shape[1:])
    return DataFacts(
        num_examples=len(train),
        input_shape=tuple(train.inputs.shape[1:]),
        out_features=(train.num_classes or 0) if task == "classification" else columns,
        task=task,
    )


def _check_resume(first: _FirstPass, folder: Path) -> None:
    """Refuse a folder without a run, and options that have no effect on a resumed run."""
    if not RunFolder(folder).config.is_file():
        cure = missing_run_cure(folder)
        raise ConfigError(error_message("--resume", "the folder of a run", str(folder), cure))
    for name in ("config", "runs", "preset"):
        value: object = getattr(first, name)
        if value is not None:
            cure = "a run is resumed in its folder, with the options stored there"
            raise ConfigError(
                error_message(f"--{name}", "left out with --resume", str(value), cure)
            )


def _pool(preset_pool: int, file_pool: int | None, *, resuming: bool) -> int:
    """Return the pooling block; a run whose file does not name one was not pooled."""
    if file_pool is not None:
        return file_pool
    return 1 if resuming else preset_pool


def _first_pass(arguments: Sequence[str], data: DataOptions | None = None) -> _FirstPass:
    """Parse the arguments; return the defaults for invalid ones, which `parse` reports."""
    default = _FirstPass(data=data or DataOptions())
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # console_outputs concerns other outputs
            return tyro.cli(
                _FirstPass,
                default=default,
                args=[argument for argument in arguments if argument not in HELP_WORDS],
                add_help=False,
                console_outputs=False,
            )
    except (SystemExit, ConfigError):
        return default


def _read_config(path: Path) -> ConfigFile:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            error_message("the configuration", "a readable TOML file", str(path), str(error))
        ) from error
    return _serialization.from_dict(
        ConfigFile, _serialization.parse_toml(text, source=str(path)), source=str(path)
    )


def _override(base: _Options, values: Mapping[str, object] | None, source: str) -> _Options:
    """Return options with some of their values replaced by those of a file."""
    merged = _merge(_serialization.to_dict(base), values or {})
    return _serialization.from_dict(type(base), merged, source=source)


def _merge(base: Mapping[str, object], values: Mapping[str, object]) -> dict[str, object]:
    """Merge nested tables; a table of another kind (its first field) replaces the base table."""
    merged = dict(base)
    for key, value in values.items():
        base_value = base.get(key)
        if isinstance(value, dict) and isinstance(base_value, dict):
            kind = next(iter(base_value))  # the options of one optimizer do not fit another
            is_same = value.get(kind, base_value[kind]) == base_value[kind]
            merged[key] = _merge(base_value, value) if is_same else value
        else:
            merged[key] = value
    return merged
