"""A configuration is checked where it is made, and survives JSON and TOML."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.training.scenario import differences, everything, train

from mlpkit._devices import _AUTOCAST_DTYPES, find_device
from mlpkit.errors import ConfigError
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    EarlyStopping,
    EpochRow,
    MomentumSchedule,
    MonitorName,
    OptimizerConfig,
    Precision,
    Schedule,
    Trainer,
    TrainerConfig,
)
from mlpkit.training._monitor import MONITOR_DIRECTIONS
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.optim import OPTIMIZERS


@pytest.mark.parametrize("config", [TrainerConfig(), everything(Path("some") / "folder")])
def test_it_survives_json_and_toml(config: TrainerConfig) -> None:
    assert TrainerConfig.from_json(config.to_json()) == config
    assert TrainerConfig.from_toml(config.to_toml()) == config


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="got 'epoch'; did you mean 'epochs'"):
        TrainerConfig.from_json('{"epoch": 3}')
    with pytest.raises(ConfigError, match=r"a key of OptimizerConfig .* got 'learning_rate'"):
        TrainerConfig.from_toml("[optimizer]\nlearning_rate = 0.1\n")


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("epochs", 0, ValueError, "epochs must be a positive integer, got 0"),
        ("batch_size", 2.5, TypeError, r"batch_size must be a positive integer, got 2\.5"),
        (
            "gradient_accumulation_steps",
            True,
            TypeError,
            "gradient_accumulation_steps must be a positive integer, got True",
        ),
        ("seed", -1, ValueError, "seed must be a non-negative integer, got -1"),
        ("label_smoothing", 1.5, ValueError, r"label_smoothing must be .* at most 1, got 1\.5"),
        ("mixup", 0.0, ValueError, r"mixup must be .* greater than 0, got 0\.0"),
        ("class_weights", 1.0, TypeError, r"class_weights must be 'balanced', or one .* got 1"),
        ("class_weights", "12", ValueError, r"class_weights must be 'balanced', or one .* '12'"),
        ("class_weights", {1: 2.0}, TypeError, r"class_weights must be a mapping from class names"),
        ("class_weights", {"a": -1.0}, ValueError, r"class_weights\['a'\] must be .* got -1\.0"),
        ("class_weights", {"a": 0.0}, ValueError, r"class_weights must be .* at least one above 0"),
        ("class_weights", [True], TypeError, r"class_weights\[0\] must be a finite .* got True"),
        ("class_weights", (0.0, 0.0), ValueError, r"class_weights must be .* at least one above 0"),
        ("class_weights", (1.0, -1.0), ValueError, r"class_weights\[1\] must be .* got -1\.0"),
        ("clip_grad_norm", 0.0, ValueError, r"clip_grad_norm must be .* greater than 0, got 0\.0"),
        ("max_seconds", float("nan"), ValueError, "max_seconds must be a finite number .* got nan"),
        ("precision", "fp8", ValueError, "precision must be one of .* got 'fp8'"),
        ("monitor", "train_los", ValueError, r"monitor must be .* did you mean 'train_loss'\?"),
        ("monitor", "val f1", ValueError, r"monitor must be one of .*, got 'val f1'"),
        ("monitor", 3, TypeError, "monitor must be one of .*, got 3"),
        ("device", "gpu7", ValueError, "device must be .* got 'gpu7'"),
        ("deterministic", 1, TypeError, "deterministic must be True or False, got 1"),
        ("progress", "yes", TypeError, "progress must be True, False, None or 'lines', got 'yes'"),
        ("optimizer", "sgd", TypeError, "optimizer must be OptimizerConfig or None, got 'sgd'"),
        ("checkpoints", "folder", TypeError, "checkpoints must be CheckpointConfig or None"),
    ],
)
def test_a_wrong_value_is_refused(
    field: str, value: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(TrainerConfig(), **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("precision", "fp16", "'fp32' or 'bf16'"),
        ("clip_grad_norm", 1.0, "None"),
        ("momentum_schedule", MomentumSchedule(), "None"),
        ("steps_per_epoch", 3, "None"),
        ("drop_last", True, "False"),
        ("cuda_graph", True, "'adam', 'adamw' or 'sgd'"),
    ],
)
def test_what_does_not_fit_lbfgs_is_refused(field: str, value: object, rule: str) -> None:
    config = TrainerConfig(optimizer=OptimizerConfig(name="lbfgs"), precision="bf16")
    name = "optimizer.name" if field == "cuda_graph" else field
    with pytest.raises(ValueError, match=f"{name} must be {rule} for .*, got"):
        replace(config, **{field: value})  # type: ignore[arg-type]


def test_the_table_of_optimizers_says_which_settings_each_supports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row more is enough for another optimizer; the reference names those without a setting."""
    documented = " ".join((inspect.getdoc(TrainerConfig) or "").split())
    for setting in ("cuda_graph", "sharding"):
        described = documented.partition(f" {setting}: ")[2]
        sentence = described.partition("Not supported with")[2].partition(".")[0]
        for name, kind in OPTIMIZERS.items():
            assert (f" {name}," in sentence) == (setting not in kind.supports), (setting, name)
    new = dataclasses.replace(OPTIMIZERS["rmsprop"], supports=("sharding",))
    monkeypatch.setitem(OPTIMIZERS, "new", new)  # type: ignore[misc]  # another name
    optimizer = OptimizerConfig(name="new")  # type: ignore[arg-type]  # likewise
    assert TrainerConfig(sharding=True, optimizer=optimizer).sharding
    with pytest.raises(ValueError, match=r"optimizer\.name must be 'adam', 'adamw' or 'sgd' for c"):
        TrainerConfig(cuda_graph=True, optimizer=optimizer)


def test_the_small_ones_check_too() -> None:
    with pytest.raises(ValueError, match=r"early_stopping\.patience must be a positive integer"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match=r"checkpoints\.every_steps must be a positive integer"):
        CheckpointConfig(folder=Path("a"), every_steps=0)
    with pytest.raises(TypeError, match=r"checkpoints\.overwrite must be True or False"):
        CheckpointConfig(folder=Path("a"), overwrite=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"checkpoints\.folder must be a path, got 3"):
        CheckpointConfig(folder=3)  # type: ignore[arg-type]


def test_tables_and_literals_agree() -> None:
    assert set(MONITOR_DIRECTIONS) == set(get_args(MonitorName))
    assert set(MONITOR_DIRECTIONS.values()) == {"max", "min"}
    assert set(_AUTOCAST_DTYPES) == set(get_args(Precision))


def test_every_field_is_documented() -> None:
    """The command line takes its help from there."""
    for cls in (TrainerConfig, CheckpointConfig, EarlyStopping, OptimizerConfig):
        documentation = inspect.getdoc(cls)  # dedented, as Python 3.13 stores it anyway
        assert documentation is not None
        for field in dataclasses.fields(cls):
            assert f"\n    {field.name}: " in documentation, (cls, field.name)


def test_auto_is_the_accelerator_where_there_is_one() -> None:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert find_device("auto") == (accelerator or torch.device("cpu"))


class StopAfterEpoch(Callback):
    """Ends the run after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        if row.epoch == self.epoch:
            trainer.stop()


def numpy_everything(folder: Path) -> TrainerConfig:
    """Return `everything` with its numbers as NumPy and torch scalars and arrays."""
    plain = everything(folder)
    assert plain.epochs is not None
    assert plain.optimizer is not None
    changes: dict[str, object] = {
        "epochs": np.int64(plain.epochs),
        "batch_size": torch.tensor(plain.batch_size),
        "gradient_accumulation_steps": np.uint8(plain.gradient_accumulation_steps),
        "label_smoothing": np.float64(plain.label_smoothing),
        "class_weights": torch.tensor(plain.class_weights),
        "clip_grad_norm": torch.tensor(plain.clip_grad_norm),
        "device": torch.device("cpu"),
        "seed": np.int64(plain.seed),
        "optimizer": OptimizerConfig(
            lr=np.float64(plain.optimizer.lr),
            weight_decay=torch.tensor(0.1, dtype=torch.float64),  # type: ignore[arg-type]
            betas=np.array([0.9, 0.999]),  # type: ignore[arg-type]
        ),
        "schedule": Schedule(kind="one_cycle", pct_start=np.float64(0.3)),
        "momentum_schedule": MomentumSchedule(kind="one_cycle", max_momentum=np.float64(0.95)),
        "averaging": AveragingConfig(decay=np.float64(0.9), every=np.int64(1)),  # type: ignore[arg-type]
        "early_stopping": EarlyStopping(patience=np.int64(1000)),  # type: ignore[arg-type]
        "progress": np.bool_(False),
    }
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_run_with_numpy_scalars_saves_and_resumes(tmp_path: Path) -> None:
    """Its checkpoints are those of plain numbers, and either configuration resumes from them."""
    plain = replace(everything(tmp_path), device="cpu")
    assert numpy_everything(tmp_path) == plain
    assert repr(numpy_everything(tmp_path)) == repr(plain)
    train(replace(everything(tmp_path / "plain"), device="cpu"))
    train(numpy_everything(tmp_path / "numpy"), callbacks=[StopAfterEpoch(1)])
    state = read_checkpoint(tmp_path / "numpy" / "last.pt")["state"]
    assert isinstance(state, dict)
    assert state["epoch"] == 2
    train(everything(tmp_path / "numpy"), resume="auto", callbacks=[StopAfterEpoch(2)])
    train(numpy_everything(tmp_path / "numpy"), resume="auto")
    reference, resumed = (
        read_checkpoint(tmp_path / name / "last.pt") for name in ("plain", "numpy")
    )
    assert differences(reference, resumed) == []


def test_named_class_weights_are_immutable_and_can_be_hashed() -> None:
    given = {"a": 1.0, "b": 2.0}
    config = TrainerConfig(class_weights=given)
    given["a"] = 3.0
    assert config.class_weights == {"a": 1.0, "b": 2.0}
    assert repr(config.class_weights) == "{'a': 1.0, 'b': 2.0}"
    other = TrainerConfig(class_weights={"b": 2.0, "a": 1.0})
    assert config == other
    assert len({config, other, TrainerConfig(class_weights=(1.0, 2.0))}) == 2
    assert not hasattr(config.class_weights, "__setitem__")
    for again in (
        pickle.loads(pickle.dumps(config)),
        copy.deepcopy(config),
        TrainerConfig.from_json(config.to_json()),
        TrainerConfig.from_toml(config.to_toml()),
    ):
        assert again == config
        assert hash(again) == hash(config)
