"""The options of `mlpkit train`: preset, then file, then command line."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from mlpkit.cli._commands import parse
from mlpkit.cli._presets import preset
from mlpkit.cli._train import Train
from mlpkit.cli._train_defaults import _FirstPass, train_defaults
from mlpkit.data import info
from mlpkit.errors import ConfigError
from mlpkit.training import (
    EarlyStopping,
    Monitor,
    OptimizerConfig,
    ReduceLROnPlateau,
    Schedule,
    TrainerConfig,
    fill_defaults,
)


def parse_train(*words: str) -> Train:
    """Return the parsed command line."""
    command = parse(["train", *words])
    assert isinstance(command, Train)
    return command


def test_the_first_pass_has_every_option_of_train() -> None:
    """An option that only one of the two had would be parsed incorrectly."""
    names = [{field.name for field in dataclasses.fields(kind)} for kind in (Train, _FirstPass)]
    assert names[0] - {"read"} == names[1]  # no option: what was read for the defaults


def test_the_data_set_determines_the_defaults() -> None:
    """Digits have 64 inputs, MNIST 784, at any position of the name in the command line."""
    assert parse_train().network.in_features == 64
    assert parse_train("mnist").network.in_features == 784
    assert parse_train("--epochs", "3", "mnist").network.in_features == 784
    assert parse_train("--epochs", "3", "mnist").training.epochs == 3
    fast = parse_train("mnist", "--preset", "fast")
    assert fast.training == preset("fast", "mnist").training
    assert (fast.pool, parse_train("--preset", "fast").pool, parse_train("mnist").pool) == (2, 1, 1)
    assert parse_train("mnist", "--preset", "fast", "--pool", "1").pool == 1


def test_options_are_those_of_the_configurations() -> None:
    """Nested configurations are strings, and sequences are several arguments."""
    train = parse_train(
        "mnist",
        "--hidden-features",
        "30",
        "20",
        "--activation",
        "maxout:num_pieces=3",
        "prelu",
        "--dropout",
        "0.2",
        "0.3",
        "--optimizer",
        "sgd:lr=0.1",
        "--seed",
        "7",
        "--no-bias",
        "--norm",
        "batch",
    )
    assert train.network.hidden_features == (30, 20)
    assert train.network.dropout == (0.2, 0.3)
    assert train.network.norm == "batch"
    assert train.network.bias is False
    assert train.training.optimizer == OptimizerConfig(name="sgd", lr=0.1)
    assert train.training.seed == 7


def test_a_file_takes_precedence_over_the_preset(tmp_path: Path) -> None:
    """The file overrides the preset, and the command line overrides the file."""
    path = tmp_path / "run.toml"
    path.write_text(
        'dataset = "mnist"\n[network]\nhidden_features = [9, 8, 7]\n'
        "[training]\nepochs = 4\nbatch_size = 32\n[training.optimizer]\nlr = 0.5\n"
    )
    train = parse_train("--config", str(path), "--epochs", "6", "--dropout", "0.1", "0.2", "0.3")
    default = preset("default", "mnist")
    assert train.dataset == "mnist"
    assert train.network.hidden_features == (9, 8, 7)
    assert train.network.dropout == (0.1, 0.2, 0.3)
    assert train.training.epochs == 6
    assert train.training.batch_size == 32
    assert train.training.optimizer == dataclasses.replace(default.training.optimizer, lr=0.5)
    assert train.training.schedule == default.training.schedule


def test_a_file_can_change_the_kind_of_optimizer(tmp_path: Path) -> None:
    """Options of the preset's optimizer do not apply to another one."""
    path = tmp_path / "run.toml"
    path.write_text('[training.optimizer]\nname = "sgd"\nlr = 0.1\n')
    assert train_defaults(["--config", str(path)]).training.optimizer == OptimizerConfig(
        name="sgd", lr=0.1
    )


def test_the_file_of_a_run_has_its_options(tmp_path: Path) -> None:
    """The options of a run, read from its file, are equal."""
    train = parse_train(
        "mnist",
        "--hidden-features",
        "5",
        "--activation",
        "maxout:num_pieces=3",
        "--early-stopping",
        "3",
        "--averaging",
        "0.99",
        "--schedule",
        "cosine:warmup_steps=9",
    )
    path = tmp_path / "config.toml"
    path.write_text(train.to_toml())
    again = parse_train("--config", str(path))
    assert dataclasses.replace(again, config=None) == train


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3", r"a key of ConfigFile in .*run\.toml must be one of .*, got 'epochs'"),
        ("[training]\nepoch = 3", r"got 'epoch'; did you mean 'epochs'\?"),
        ("[network]\nin_features = 5", r"got 'in_features'; remove it; the data set determines"),
        ("[training", r"run\.toml must be valid TOML"),
        ('dataset = "mnsit"', r"dataset must be one of .* got 'mnsit'; did you mean"),
        ("network = 3", r"network must be a table of options, got 3; write \[network\] on"),
        ('training = "x"', r"training must be a table of options, got 'x'; write \[training\]"),
        ("root = 3", r"root must be the path of a folder, got 3"),
    ],
)
def test_an_invalid_file_raises(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file or the key."""
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises((ConfigError, ValueError), match=message):
        train_defaults(["--config", str(path)])


def test_a_missing_file_raises() -> None:
    """The error names the file."""
    with pytest.raises(ConfigError, match=r"the configuration must be a readable TOML.*nowhere\.t"):
        train_defaults(["--config", "nowhere.toml"])


@pytest.mark.parametrize("option", ["--config", "--runs", "--preset"])
def test_options_without_effect_on_a_resumed_run_are_refused(tmp_path: Path, option: str) -> None:
    """The run has its options, and its place, in its folder."""
    (tmp_path / "config.toml").write_text("")
    value = "default" if option == "--preset" else str(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match=f"^{option} must be left out with --resume, got "):
        train_defaults(["--resume", str(tmp_path), option, value])


def test_the_options_of_files_override_those_of_a_configuration(tmp_path: Path) -> None:
    """A repeated option replaces that of the file, and the rows determine the defaults."""
    rows = "".join(f"{n % 9},{n / 7:.3f},{n % 2}\n" for n in range(100))
    (tmp_path / "t.csv").write_text("x,y,z\n" + rows)
    path = tmp_path / "run.toml"
    path.write_text(
        f'dataset = "{tmp_path / "t.csv"}"\n[data]\ntarget = ["y"]\nignore = ["x"]\n'
        "test_fraction = 0.2\n[network]\nhidden_features = [5]\n"
    )
    train = parse_train("--config", str(path))
    assert train.data.target == ("y",)
    assert train.data.ignore == ("x",)
    assert (train.network.in_features, train.network.out_features) == (1, 1)
    assert train.read.splits is not None
    assert len(train.read.splits.test) == 20
    words = ("--config", str(path), "--target", "z", "--ignore", "y", "--split-seed", "4")
    other = parse_train(*words)
    assert other.data.target == ("z",)
    assert other.data.ignore == ("y",)
    assert (other.data.split_seed, other.data.test_fraction) == (4, 0.2)
    assert (other.network.hidden_features, other.network.out_features) == ((5,), 2)
    path.write_text(other.to_toml())
    assert parse_train("--config", str(path)).data == other.data


def test_a_relative_root_is_stored_as_an_absolute_path(tmp_path: Path) -> None:
    """`mlpkit report` finds the files from another folder."""
    values = tomllib.loads(parse_train("mnist", "--root", "files").to_toml())
    assert values["root"] == str(Path("files").absolute())


def test_a_wrong_table_of_files_raises(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('dataset = "x.csv"\n[data]\ntagret = ["y"]\n')
    with pytest.raises(ConfigError, match="did you mean 'target'"):
        train_defaults(["--config", str(path)])
    path.write_text('dataset = "x.csv"\n[data]\npath = "y"\n')
    with pytest.raises(ConfigError, match="remove it; the key dataset determines it"):
        train_defaults(["--config", str(path)])


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("--early-stopping 2", {"early_stopping": EarlyStopping(patience=2)}),
        ("--max-seconds=3", {"max_seconds": 3.0}),
        ("--mixup 0.2", {"mixup": 0.2}),
        ("--batch-size 16", {"batch_size": 16}),
        ("--batch_size 128", {"batch_size": 128}),
        ("--gradient-accumulation-steps 4", {"gradient_accumulation_steps": 4}),
        ("--schedule constant", {"schedule": Schedule()}),
    ],
)
def test_defaults_are_those_of_a_trainer_with_the_given_options(
    arguments: str, given: dict[str, object]
) -> None:
    """The one table fills them in, after the options of the command line are known."""
    found = parse_train("digits", *arguments.split()).training
    facts = info("digits")
    filled = fill_defaults(
        TrainerConfig(**given),  # type: ignore[arg-type]  # options of different types
        task="classification",
        num_examples=facts.num_train - facts.val_size,
    )
    for name in ("epochs", "schedule", "optimizer", "label_smoothing"):
        assert getattr(found, name) == getattr(filled, name), name


def test_the_file_of_a_run_has_its_monitor_and_its_flags(tmp_path: Path) -> None:
    """A direction, a choice of the data and flags are read back; a flag can be turned off again."""
    words = ("--monitor", "grad_norm:max", "--no-verify", "--progress", "lines", "--residual")
    train = parse_train("mnist", *words, "--drop-last", "--hidden-features", "5", "5")
    assert train.training.monitor == Monitor("grad_norm", "max")
    assert (train.training.progress, train.training.drop_last) == ("lines", True)
    assert (train.verify, train.network.residual) == (False, True)
    path = tmp_path / "config.toml"
    path.write_text(train.to_toml())
    again = parse_train("--config", str(path))
    assert dataclasses.replace(again, config=None) == train
    other = parse_train("--config", str(path), "--verify", "--no-residual", "--no-drop-last")
    assert (other.verify, other.network.residual) == (True, False)
    assert other.training.drop_last is False
    path.write_text("verify = 3")
    with pytest.raises(ConfigError, match="verify must be True or False, got 3"):
        train_defaults(["--config", str(path)])


def test_the_length_of_the_run_determines_other_defaults() -> None:
    """The warmup fits a short run, max_steps the epochs, and L-BFGS takes all examples."""
    short = parse_train("--early-stopping", "3", "--epochs", "1").training
    assert 0 < short.schedule.warmup_steps <= 2
    whole = parse_train("--optimizer", "lbfgs").training
    assert (whole.batch_size, whole.optimizer.lr) == (1257, 1.0)
    for name in ("fast", "accurate"):
        of_preset = parse_train("--optimizer", "lbfgs", "--preset", name).training
        assert (of_preset.batch_size, of_preset.schedule) == (1257, whole.schedule), name
    assert parse_train("--max-steps", "7").training.epochs == 1
    assert parse_train("--max-steps", "70", "--preset", "fast").training.epochs == 4  # of 20 steps
    plateau = parse_train("--reduce-lr-on-plateau", "0.5:patience=2").training
    assert plateau.reduce_lr_on_plateau == ReduceLROnPlateau(factor=0.5, patience=2)
    assert plateau.schedule.kind == "constant"
