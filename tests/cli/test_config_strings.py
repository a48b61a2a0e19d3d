"""Configurations as strings: parsing, formatting and round trips."""

from __future__ import annotations

import pytest
from tyro.constructors import PrimitiveConstructorSpec

from mlpkit.cli._config_strings import (
    CLASS_WEIGHTS,
    MONITOR,
    PROGRESS,
    format_config,
    parse_class_weights,
    parse_config,
)
from mlpkit.errors import ConfigError
from mlpkit.nn import ActivationConfig
from mlpkit.training import (
    AveragingConfig,
    ClassWeights,
    EarlyStopping,
    Monitor,
    OptimizerConfig,
    Schedule,
)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("relu", ActivationConfig("relu")),
        ("maxout:num_pieces=5", ActivationConfig("maxout", num_pieces=5)),
        ("prelu:init=0.1,per_unit=true", ActivationConfig("prelu", init=0.1, per_unit=True)),
        ("adamw", OptimizerConfig()),
        ("sgd:lr=0.1,nesterov=true", OptimizerConfig(name="sgd", lr=0.1, nesterov=True)),
        ("adamw:betas=0.7/0.9", OptimizerConfig(betas=(0.7, 0.9))),
        ("step:step_size=10,gamma=0.5", Schedule(kind="step", step_size=10, gamma=0.5)),
        ("3:min_delta=0.01", EarlyStopping(patience=3, min_delta=0.01)),
        ("none:start_step=5", AveragingConfig(decay=None, start_step=5)),
    ],
)
def test_strings_and_configurations(
    text: str,
    config: ActivationConfig | OptimizerConfig | Schedule | EarlyStopping | AveragingConfig,
) -> None:
    """A string is parsed to its configuration, which is formatted to an equivalent string."""
    assert parse_config(type(config), text) == config
    assert parse_config(type(config), format_config(config)) == config


def test_defaults_are_omitted() -> None:
    """The string is the shortest one for the configuration."""
    config = OptimizerConfig(lr=0.5, betas=(0.9, 0.99))
    assert format_config(OptimizerConfig()) == "adamw"
    assert format_config(config) == "adamw:lr=0.5,betas=0.9/0.99"
    assert format_config(ActivationConfig("maxout", num_pieces=2)) == "maxout"


def test_invalid_strings_raise() -> None:
    """The error for a misspelled name suggests the closest one; a missing = is named."""
    with pytest.raises(ConfigError, match=r"got 'num_pieses'; did you mean 'num_pieces'\?"):
        parse_config(ActivationConfig, "maxout:num_pieses=5")
    with pytest.raises(ValueError, match=r"OPTION must be followed by =VALUE, got 'fast'"):
        parse_config(OptimizerConfig, "sgd:fast")
    with pytest.raises(ValueError, match=r"got 'rleu'; did you mean 'relu'\?"):
        parse_config(ActivationConfig, "rleu")


@pytest.mark.parametrize(
    ("strings", "weights"),
    [
        (["none"], None),
        (["balanced"], "balanced"),
        (["1", "2.5"], (1.0, 2.5)),
        (["0=1", "1=2", "a=b=3"], {"0": 1.0, "1": 2.0, "a=b": 3.0}),
    ],
)
def test_class_weights_are_numbers_or_pairs(
    strings: list[str], weights: ClassWeights | None
) -> None:
    """Names of classes that are numbers, such as those of digits, are no weights."""
    assert parse_class_weights(strings) == weights
    assert parse_class_weights(CLASS_WEIGHTS.str_from_instance(weights)) == weights


def test_class_weights_that_are_no_numbers_are_refused() -> None:
    for strings in (["cat"], ["cat=x"], ["1", "cat=2"]):
        with pytest.raises(ValueError, match="could not convert string to float"):
            parse_class_weights(strings)


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        (MONITOR, "val_loss", "val_loss"),
        (MONITOR, "val_f1:max", Monitor("val_f1", "max")),
        (PROGRESS, "auto", None),
        (PROGRESS, "bar", True),
        (PROGRESS, "lines", "lines"),
        (PROGRESS, "off", False),
    ],
)
def test_single_words_and_their_values(
    spec: PrimitiveConstructorSpec[object], text: str, value: object
) -> None:
    assert spec.instance_from_str([text]) == value
    assert spec.str_from_instance(value) == [text]
    assert spec.is_instance(value)
