"""The defaults of `mlpkit train`: a preset for the data set, under a TOML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import tyro
from tyro.conf import Positional

from mlpkit import _serialization
from mlpkit._checks import check_choice, error_message
from mlpkit.cli._options import HIDDEN_NETWORK_OPTIONS, NetworkOptions, TrainingOptions
from mlpkit.cli._presets import PresetName, preset
from mlpkit.cli._run_folder import RunFolder
from mlpkit.cli._train import Train
from mlpkit.data import DatasetName
from mlpkit.errors import ConfigError

__all__ = ["train_defaults"]

_Options = TypeVar("_Options", NetworkOptions, TrainingOptions)

_HELP = ("-h", "--help", "-H", "--help-verbose")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _UncheckedNetwork(NetworkOptions):
    def __post_init__(self) -> None:
        """Check nothing: the values are judged together with the defaults that they choose."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _UncheckedTraining(TrainingOptions):
    def __post_init__(self) -> None:
        """Check nothing: the values are judged together with the defaults that they choose."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FirstReading:
    """The options of :class:`Train`, read only for those that decide the defaults of the others."""

    network: Annotated[_UncheckedNetwork, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=lambda: _UncheckedNetwork(in_features=1, hidden_features=(), out_features=1)
    )
    training: Annotated[_UncheckedTraining, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=_UncheckedTraining
    )
    dataset: Positional[DatasetName | None] = None
    root: Path | None = None
    preset: PresetName | None = None
    pool: int | None = None
    config: Path | None = None
    runs: Path | None = None
    resume: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConfigFile:
    """What a TOML file may say."""

    dataset: DatasetName | None = None
    root: Path | None = None
    preset: PresetName | None = None
    pool: int | None = None
    network: dict[str, object] | None = None
    training: dict[str, object] | None = None

    def __post_init__(self) -> None:
        tables: tuple[tuple[str, object], ...] = (
            ("network", self.network),
            ("training", self.training),
        )
        for name, values in tables:
            if values is not None and not isinstance(values, dict):
                cure = f"write [{name}] on a line of its own, and the options below it"
                raise ConfigError(error_message(name, "a table of options", values, cure))
        for hidden in HIDDEN_NETWORK_OPTIONS:
            if hidden in (self.network or {}):
                cure = "remove it; the data set decides it"
                raise ConfigError(error_message("a key of network", "an option", hidden, cure))
        root: object = self.root
        if root is not None and not isinstance(root, str | Path):
            raise ConfigError(error_message("root", "the path of a folder", root))


def train_defaults(arguments: Sequence[str]) -> Train:
    """Return what ``mlpkit train`` does without further options.

    A preset fitted to the data set; over it the TOML file of ``--config``, or the one that the run
    to be resumed has written.

    Args:
        arguments: The words after ``train``.

    Raises:
        ConfigError: If the file is missing, is not TOML, or has an unknown key.
    """
    first = _first_reading(arguments)
    path = RunFolder(first.resume).config if first.resume is not None else first.config
    file = ConfigFile() if path is None else _read(path)
    dataset = check_choice(
        "dataset", first.dataset or file.dataset or "digits", get_args(DatasetName)
    )
    name = check_choice("preset", first.preset or file.preset or "default", get_args(PresetName))
    chosen = preset(name, dataset)
    return Train(
        dataset=dataset,
        preset=name,
        pool=_pool(chosen.pool, file.pool, resuming=first.resume is not None),
        root=None if file.root is None else Path(file.root),
        network=_overlaid(chosen.network, file.network, str(path)),
        training=_overlaid(chosen.training, file.training, str(path)),
    )


def _pool(of_preset: int, of_file: int | None, *, resuming: bool) -> int:
    """Return the block to average; a run whose file does not name one had none."""
    if of_file is not None:
        return of_file
    return 1 if resuming else of_preset


def _first_reading(arguments: Sequence[str]) -> _FirstReading:
    """Read what can be read; the full reading says what is wrong with the rest."""
    words = [word for word in arguments if word not in _HELP]
    try:
        return tyro.cli(
            _FirstReading,
            args=words,
            add_help=False,
            console_outputs=False,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except SystemExit:
        return _FirstReading()


def _read(path: Path) -> ConfigFile:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            error_message(
                "the configuration", "a TOML file that can be read", str(path), str(error)
            )
        ) from error
    return _serialization.from_dict(
        ConfigFile, _serialization.parse_toml(text, source=str(path)), source=str(path)
    )


def _overlaid(base: _Options, values: Mapping[str, object] | None, source: str) -> _Options:
    """Return options with some of their values replaced by those of a file."""
    merged = _merged(_serialization.to_dict(base), values or {})
    return _serialization.from_dict(type(base), merged, source=source)


def _merged(base: Mapping[str, object], values: Mapping[str, object]) -> dict[str, object]:
    """Return nested tables merged, but never the options of one kind into another kind."""
    merged = dict(base)
    for key, value in values.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            kind = next(iter(below))  # the first field says what the others mean
            same = value.get(kind, below[kind]) == below[kind]
            merged[key] = _merged(below, value) if same else value
        else:
            merged[key] = value
    return merged
