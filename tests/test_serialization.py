"""Configurations as dicts, JSON and TOML: round trips, and errors for unknown keys."""

from __future__ import annotations

import dataclasses
import enum
import io
import typing
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import pytest
import torch

from mlpkit import _serialization, data, models, nn, training
from mlpkit.data import Batches, LabeledTensors
from mlpkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    """A nested configuration."""

    kind: str = "cosine"
    steps: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    """A configuration with every kind of field."""

    sizes: tuple[int, ...]
    out: int | None
    inner: Inner = Inner()
    maybe: Inner | None = None
    many: tuple[float | None, ...] = ()
    rate: float = 0.1
    several: str | Inner | tuple[str | Inner, ...] = "none"


CONFIGS = [
    Outer(sizes=(), out=None),
    Outer(sizes=(3, 4), out=10, inner=Inner(kind="step", steps=7), maybe=Inner(steps=1)),
    Outer(sizes=(1,), out=2, many=(0.1, 1e-300, 3.0), rate=1 / 3),
    Outer(sizes=(1,), out=2, several=Inner(steps=2)),
    Outer(sizes=(1,), out=2, several=("step", Inner(), Inner(steps=2))),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_json_round_trip(config: Outer) -> None:
    """JSON gives back an equal configuration; floats keep all their bits."""
    assert _serialization.from_json(Outer, _serialization.to_json(config)) == config


@pytest.mark.parametrize("config", CONFIGS)
def test_toml_round_trip(config: Outer) -> None:
    """TOML has no null: a field that is None is left out and is read as None."""
    assert _serialization.from_toml(Outer, _serialization.to_toml(config)) == config


def test_unknown_keys_are_refused() -> None:
    """The message names the key, the file and the most similar valid key, at any depth."""
    with pytest.raises(
        ConfigError,
        match=r"^a key of Inner in run\.toml must be one of kind, steps, got 'stesp'; "
        r"did you mean 'steps'\?$",
    ):
        _serialization.from_dict(
            Outer, {"sizes": [], "out": 1, "inner": {"stesp": 3}}, source="run.toml"
        )
    with pytest.raises(ConfigError, match=r"got 'zzz'; remove it$"):
        _serialization.from_dict(Outer, {"zzz": 3})


def test_a_missing_key_is_named() -> None:
    """A field without a default that may not be None is required."""
    with pytest.raises(ConfigError, match=r"^Outer\.sizes must be given; add the key$"):
        _serialization.from_dict(Outer, {"out": 3})


def test_invalid_syntax_is_refused() -> None:
    """The message names the file and the position."""
    with pytest.raises(ConfigError, match=r"^a\.json must be valid JSON, got an error: .*line 1"):
        _serialization.from_json(Outer, "{", source="a.json")
    with pytest.raises(ConfigError, match=r"^Outer must be valid TOML, got an error: "):
        _serialization.from_toml(Outer, "=")
    with pytest.raises(ConfigError, match=r"^Outer as JSON must be an object, got \[1\]$"):
        _serialization.from_json(Outer, "[1]")


def test_a_value_that_cannot_be_saved_is_refused() -> None:
    """A module and a function have no JSON value; the message names the field."""

    @dataclass(frozen=True)
    class Odd:
        path: Path
        value: object

    assert _serialization.to_dict(Odd(Path("a/b"), (1, Path("c")))) == {
        "path": "a/b",
        "value": [1, "c"],
    }
    with pytest.raises(ConfigError, match=r"^Odd\.value must be a number, .* got ReLU\(\)$"):
        _serialization.to_dict(Odd(Path(), torch.nn.ReLU()))
    with pytest.raises(ConfigError, match=r"^Odd\.value\[1\] must be "):
        _serialization.to_dict(Odd(Path(), (1, torch.relu)))


class Color(enum.IntEnum):
    """A subclass of int."""

    RED = 3


class Word(str, enum.Enum):  # noqa: UP042 - the older kind of enum is meant
    """A subclass of str whose ``str()`` is not its value."""

    YES = "yes"


class Pair(NamedTuple):
    """A subclass of tuple."""

    first: object
    second: object


def assert_plain(value: object) -> None:
    """Raise unless a value is of exactly the types of Python, at any depth."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            assert_plain(getattr(value, field.name))
    elif isinstance(value, dict):
        assert type(value) is dict
        for key, item in value.items():
            assert_plain(key)
            assert_plain(item)
    elif isinstance(value, tuple | list):
        assert type(value) in (tuple, list)
        for item in value:
            assert_plain(item)
    elif not isinstance(value, Path):
        assert value is None or type(value) in (bool, int, float, str), (type(value), value)


def test_scalars_of_numpy_torch_and_enums_become_plain() -> None:
    """`to_dict` of any dataclass returns exact types, also where nothing checked its fields."""

    @dataclass(frozen=True)
    class Odd:
        values: object

    values = [
        *(np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a")),
        *(torch.tensor(0.5), torch.tensor(3), Color.RED, Word.YES),
    ]
    plain = _serialization.to_dict(Odd(values))
    assert plain == {"values": [0.5, 0.5, 3, True, "a", 0.5, 3, 3, "yes"]}
    assert_plain(plain)


def test_a_saved_state_loads_without_running_code() -> None:
    """Every value that `to_saved` accepts comes back from `torch.load(weights_only=True)`."""
    tensor = torch.arange(3.0)
    state = {
        "best": np.float64(0.25),
        "epoch": np.int64(7),
        "done": np.bool_(True),
        "name": np.str_("a"),
        "zero_axes": np.array(2.0),
        "color": Color.RED,
        "pair": Pair(np.float32(0.5), None),
        "history": [np.float64(1.0), {"x": np.int32(2)}],
        "counts": defaultdict(int, {np.int64(3): 1}),
        "ordered": OrderedDict(a=1),
        "view": MappingProxyType({"a": Word.YES}),
        "weights": tensor,
        "scalar": torch.tensor(2),
    }
    saved = _serialization.to_saved("callback", state)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)
    assert torch.equal(loaded.pop("weights"), tensor)
    assert torch.equal(loaded.pop("scalar"), torch.tensor(2))
    assert loaded == {
        "best": 0.25,
        "epoch": 7,
        "done": True,
        "name": "a",
        "zero_axes": 2.0,
        "color": 3,
        "pair": (0.5, None),
        "history": [1.0, {"x": 2}],
        "counts": {3: 1},
        "ordered": {"a": 1},
        "view": {"a": "yes"},
    }
    assert_plain(loaded)
    assert isinstance(saved, dict)
    assert saved["weights"] is tensor


@pytest.mark.parametrize("value", [np.zeros(3), {1, 2}, object(), 1j, b"bytes", Path("a")])
def test_a_state_that_cannot_be_saved_is_refused_by_name(value: object) -> None:
    """An array is refused too: it would come back as a tensor."""
    rule = r"^Mine\.runs\.1 must be a tensor or a plain value in a checkpoint, got .*; save it as "
    with pytest.raises(TypeError, match=rule):
        _serialization.to_saved("Mine", {"runs": [0, value]})


Convert: TypeAlias = Callable[[object], object]


def numpy_scalar(value: object) -> object:
    """Return a bool, a number or a string as a NumPy scalar."""
    kinds = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
    kind: Convert = kinds[type(value)]
    return kind(value)


def numpy_zero_axes(value: object) -> object:
    """Return a bool or a number as an array with 0 axes."""
    return value if isinstance(value, str) else np.array(value)


def torch_scalar(value: object) -> object:
    """Return a bool or a number as a tensor with 0 axes."""
    kind = torch.float64 if isinstance(value, float) else None
    return value if isinstance(value, str) else torch.tensor(value, dtype=kind)


def converted(value: object, scalar: Convert) -> object:
    """Return an argument with every scalar converted; tuples become lists."""
    if isinstance(value, tuple):
        return [converted(item, scalar) for item in value]
    return scalar(value) if isinstance(value, bool | int | float | str) else value


CONFIGURATIONS: list[tuple[type, dict[str, object]]] = [
    (
        training.TrainerConfig,
        {
            "epochs": 3,
            "batch_size": 8,
            "steps_per_epoch": 7,
            "max_steps": 90,
            "drop_last": True,
            "eval_batch_size": 16,
            "gradient_accumulation_steps": 2,
            "optimizer": training.OptimizerConfig(),
            "schedule": training.Schedule(),
            "momentum_schedule": training.MomentumSchedule(),
            "label_smoothing": 0.1,
            "mixup": 0.2,
            "class_weights": (1.0, 2.0, 0.5),
            "clip_grad_norm": 0.5,
            "averaging": training.AveragingConfig(),
            "precision": "fp32",
            "gradients": "autograd",
            "device": "cpu",
            "seed": 3,
            "cuda_graph": False,
            "deterministic": True,
            "validate_every": 2,
            "train_metrics": True,
            "monitor": training.Monitor("val_error", "min"),
            "restore_best": True,
            "early_stopping": training.EarlyStopping(),
            "checkpoints": training.CheckpointConfig(folder="a"),
            "max_seconds": 60.0,
            "reduce_lr_on_plateau": training.ReduceLROnPlateau(),
            "sync_every": 10,
            "sharding": True,
            "sync_batch_norm": True,
            "progress": False,
        },
    ),
    (
        training.CheckpointConfig,
        {
            "folder": "a",
            "every_epochs": 2,
            "every_steps": 3,
            "keep_best": False,
            "overwrite": True,
        },
    ),
    (training.EarlyStopping, {"patience": 3, "min_delta": 0.5}),
    (training.Monitor, {"name": "val_f1", "mode": "max"}),
    (
        training.OptimizerConfig,
        {
            "name": "muon",
            "lr": 0.1,
            "weight_decay": 0.5,
            "momentum": 0.9,
            "nesterov": True,
            "betas": (0.8, 0.9),
            "eps": 0.25,
            "ns_steps": 3,
            "adamw_lr": 0.5,
            "fused": False,
        },
    ),
    (training.OptimizerConfig, {"name": "rmsprop", "alpha": 0.5, "centered": True}),
    (
        training.OptimizerConfig,
        {
            "name": "lbfgs",
            "max_iter": 5,
            "history_size": 3,
            "tolerance_grad": 0.25,
            "tolerance_change": 0.5,
        },
    ),
    (
        training.ReduceLROnPlateau,
        {
            "factor": 0.5,
            "patience": 3,
            "threshold": 0.25,
            "threshold_mode": "abs",
            "cooldown": 2,
            "min_ratio": 0.125,
        },
    ),
    (
        training.Schedule,
        {
            "kind": "cosine",
            "warmup_steps": 1,
            "hold_steps": 2,
            "decay_steps": 3,
            "final_ratio": 0.5,
        },
    ),
    (
        training.Schedule,
        {"kind": "one_cycle", "initial_ratio": 0.5, "pct_start": 0.25, "anneal_strategy": "cos"},
    ),
    (training.Schedule, {"kind": "step", "step_size": 3, "gamma": 0.5}),
    (
        training.MomentumSchedule,
        {"kind": "linear", "initial": 0.5, "final": 0.75, "ramp_steps": 2},
    ),
    (
        training.MomentumSchedule,
        {
            "kind": "one_cycle",
            "base_momentum": 0.5,
            "max_momentum": 0.75,
            "pct_start": 0.5,
            "anneal_strategy": "linear",
        },
    ),
    (training.AveragingConfig, {"decay": 0.5, "start_step": 3, "every": 2}),
    (training.CrossEntropy, {"label_smoothing": 0.5}),
    (
        training.VirtualAdversarial,
        {"epsilon": 0.5, "alpha": 0.25, "xi": 0.5, "power_iterations": 2, "label_smoothing": 0.5},
    ),
    (
        data.RandomAffine,
        {
            "degrees": 15.0,
            "translate": (0.5, 0.25),
            "scale": (0.5, 1.5),
            "shear": 15.0,
            "isotropic": True,
        },
    ),
    (data.RandomElastic, {"alpha": 34.0, "sigma": 4.0}),
    (data.RandomErasing, {"p": 0.5, "scale": (0.1, 0.5), "ratio": (0.5, 2.0), "value": 0.5}),
    (
        data.FileSource,
        {
            "path": "table.csv",
            "target": ("price",),
            "task": "regression",
            "ignore": ("id",),
            "image_size": (8, 4),
            "color": True,
            "val_fraction": 0.25,
            "test_fraction": 0.25,
            "split_seed": 3,
            "sha256": "0" * 64,
        },
    ),
    (data.TableTarget, {"names": ("sort",), "task": "classification", "classes": ("a", "b")}),
    (data.TableTarget, {"names": ("price",), "task": "regression", "dtype": "float64"}),
    (training.BinaryCrossEntropy, {"pos_weight": (0.5, 2.0)}),
    (training.GaussianNLL, {"min_variance": 0.5}),
    (training.Huber, {"delta": 0.5}),
    (training.ScaledTargets, {"objective": training.MeanSquaredError(), "scale": (0.5, 2.0)}),
    (nn.ActivationConfig, {"name": "maxout", "num_pieces": 3}),
    (nn.ActivationConfig, {"name": "prelu", "init": 0.5, "per_unit": True}),
    (nn.ActivationConfig, {"name": "gelu", "approximate": "tanh"}),
    (nn.ActivationConfig, {"name": "rrelu", "lower": 0.25, "upper": 0.5}),
    (nn.ActivationConfig, {"name": "hardtanh", "min_val": -0.5, "max_val": 0.5}),
    (nn.ActivationConfig, {"name": "softplus", "beta": 0.5, "threshold": 2.0}),
    (nn.ActivationConfig, {"name": "threshold", "threshold": 0.5, "value": 2.0}),
    (nn.ActivationConfig, {"name": "softshrink", "lambd": 0.5}),
    (nn.ActivationConfig, {"name": "elu", "alpha": 0.5}),
    (nn.ActivationConfig, {"name": "leaky_relu", "negative_slope": 0.5}),
    (
        nn.MLPConfig,
        {
            "in_features": 4,
            "hidden_features": (8, 8),
            "out_features": 3,
            "activation": ("relu", "tanh"),
            "output_activation": "tanh",
            "norm": "batch",
            "dropout": (0.5, 0.25),
            "input_dropout": 0.5,
            "bias": False,
            "residual": True,
            "init": "torch",
            "max_norm": 2.0,
            "flatten": True,
        },
    ),
]
CONFIGURATIONS.append(
    (nn.MLPOptions, {k: v for k, v in CONFIGURATIONS[-1][1].items() if "features" not in k})
)
CONFIGURATIONS.append(
    (
        nn.TabularMLPConfig,
        {
            "num_categories": (0, 3, 40),
            "mlp": nn.MLPConfig(in_features=19, hidden_features=(8,), out_features=2),
            "numbers": "periodic",
            "num_pieces": 4,
            "max_one_hot": 2,
            "embedding_dim": 3,
            "scaled_rates": False,
        },
    )
)


def test_every_option_of_every_configuration_is_tested() -> None:
    """The list has each public frozen dataclass that checks its fields, with each field."""
    results = {training.EpochRow}  # a result, not a configuration
    configurations = {
        found
        for package in (data, models, nn, training)
        for found in vars(package).values()
        if dataclasses.is_dataclass(found) and hasattr(found, "__post_init__")
    }
    fields = {cls: {field.name for field in dataclasses.fields(cls)} for cls in configurations}
    given: dict[type, set[str]] = {}
    for cls, arguments in CONFIGURATIONS:
        given.setdefault(cls, set()).update(arguments)
    assert given == {
        cls: names
        for cls, names in fields.items()
        # FilledConfig is TrainerConfig, filled in; the columns of an encoder are objects.
        if cls not in {*results, data.Compose, data.TableEncoder, training.FilledConfig}
    }


@pytest.mark.parametrize("scalar", [numpy_scalar, numpy_zero_axes, torch_scalar])
@pytest.mark.parametrize(
    ("cls", "arguments"),
    CONFIGURATIONS,
    ids=[f"{cls.__name__}-{number}" for number, (cls, _) in enumerate(CONFIGURATIONS)],
)
def test_a_configuration_stores_plain_values(
    cls: type, arguments: dict[str, object], scalar: Convert
) -> None:
    """NumPy and torch scalars give the configuration of the plain values, and so do JSON, TOML."""
    expected = cls(**arguments)
    found = cls(**{name: converted(value, scalar) for name, value in arguments.items()})
    assert found == expected
    assert repr(found) == repr(expected)
    assert_plain(found)
    assert _serialization.to_json(found) == _serialization.to_json(expected)
    assert _serialization.from_json(cls, _serialization.to_json(found)) == expected
    assert _serialization.from_toml(cls, _serialization.to_toml(found)) == expected


@pytest.mark.parametrize("cls", sorted({cls for cls, _ in CONFIGURATIONS}, key=str))
def test_none_makes_the_round_trip_where_the_default_is_another_value(cls: type) -> None:
    """TOML has no null, so such a field is written; no text is a value of it."""
    arguments = next(values for one, values in CONFIGURATIONS if one is cls)
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kinds = typing.get_args(hints[field.name])
        if type(None) not in kinds or field.default in (None, dataclasses.MISSING):
            continue
        assert str not in kinds, field.name
        config = cls(**{**arguments, field.name: None})
        assert getattr(config, field.name) is None
        assert _serialization.from_toml(cls, _serialization.to_toml(config)) == config


@pytest.mark.parametrize("array", [np.array, torch.tensor])
@pytest.mark.parametrize(
    ("cls", "name", "values"),
    [
        (training.TrainerConfig, "class_weights", (1, 2, 5)),
        (training.TrainerConfig, "class_weights", (0.5, 2.0)),
        (training.OptimizerConfig, "betas", (0.5, 0.75)),
        (data.RandomAffine, "translate", (0.5, 0.25)),
        (data.RandomErasing, "ratio", (0.5, 2.0)),
    ],
)
def test_an_array_is_a_sequence_of_numbers(
    cls: type, name: str, values: tuple[float, ...], array: Convert
) -> None:
    """For instance the class weights of `np.bincount`."""
    found = cls(**{name: array(values)})
    assert found == cls(**{name: values})
    assert_plain(found)


def test_a_torch_device_is_stored_as_its_name() -> None:
    """It compares equal to the name, and JSON can hold it."""
    config = training.TrainerConfig(device=torch.device("cuda", 1))  # type: ignore[arg-type]
    assert (type(config.device), config.device) == (str, "cuda:1")
    with pytest.raises(TypeError, match=r"^device must be .* its name, .*, got 0$"):
        training.TrainerConfig(device=0)  # type: ignore[arg-type]


def test_other_objects_with_options_store_plain_values() -> None:
    """Their repr is in the fingerprint of a run."""
    alpha, size = np.float64(0.5), np.int64(4)
    assert type(training.Mixup(alpha).alpha) is float
    assert repr(training.Mixup(alpha)) == repr(training.Mixup(0.5))
    teacher = torch.zeros(2, 3)
    given = training.Distillation(teacher, temperature=alpha, alpha=alpha, label_smoothing=alpha)
    plain = training.Distillation(teacher, temperature=0.5, alpha=0.5, label_smoothing=0.5)
    assert repr(given) == repr(plain)
    examples = LabeledTensors(torch.zeros(8, 2), torch.zeros(8, dtype=torch.int64))
    batches = Batches(examples, size, seed=np.int64(3), shuffle=np.bool_(True))  # type: ignore[arg-type]
    assert batches.fingerprint == Batches(examples, 4, seed=3, shuffle=True).fingerprint
    assert [type(batches.batch_size), type(batches.seed), type(batches.shuffle)] == [int, int, bool]


def test_nested_values_have_dotted_names() -> None:
    """An empty table has no values; a list is one value."""
    nested: dict[str, _serialization.JSONValue] = {
        "a": 1,
        "b": {"c": [2], "d": {"e": None}},
        "f": {},
    }
    assert _serialization.flattened(nested) == {"a": 1, "b.c": [2], "b.d.e": None}
