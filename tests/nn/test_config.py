"""MLPConfig: conversion to and from JSON and TOML, and its checks."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mlpkit.errors import ConfigError
from mlpkit.nn import MLP, ActivationConfig, ActivationName, InitName, MLPConfig, NormName

FULL = MLPConfig(
    in_features=784,
    hidden_features=(240, 240),
    out_features=10,
    activation=("relu", ActivationConfig("maxout", num_pieces=5)),
    output_activation=ActivationConfig("prelu", init=0.1, per_unit=True),
    norm="rms",
    dropout=(0.5, 0.25),
    input_dropout=0.2,
    bias=False,
    residual=True,
    init="torch",
    max_norm=1.9365,
    flatten=True,
)
CONFIGS = [
    FULL,
    MLPConfig(in_features=1, hidden_features=(), out_features=1),
    MLPConfig(in_features=6, hidden_features=(4, 3), out_features=None),
    MLPConfig(
        in_features=6,
        hidden_features=(4,),
        out_features=1,
        activation=ActivationConfig("leaky_relu", negative_slope=0.2),
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_json_and_toml_round_trip(config: MLPConfig) -> None:
    """The configuration is equal after each round trip, and so is that of the network it builds."""
    assert MLPConfig.from_json(config.to_json()) == config
    assert MLPConfig.from_toml(config.to_toml()) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert MLP.from_config(config).config == config


NAMED = st.one_of(
    st.sampled_from([name for name in get_args(ActivationName) if name != "threshold"]),
    st.builds(ActivationConfig, st.just("maxout"), num_pieces=st.integers(1, 9)),
    st.builds(ActivationConfig, st.just("elu"), alpha=st.floats(0.01, 9)),
    st.builds(ActivationConfig, st.just("prelu"), init=st.floats(-2, 2), per_unit=st.booleans()),
)
PROBABILITIES = st.floats(0, 1, exclude_max=True)


@st.composite
def configs(draw: st.DrawFn) -> MLPConfig:
    """Any valid configuration."""
    residual = draw(st.booleans())
    hidden = draw(st.lists(st.integers(1, 2**40), max_size=4))
    if residual:
        hidden = hidden[:1] * len(hidden)
    depth = len(hidden)
    out_features = draw(st.none() | st.integers(1, 2**40))
    each = st.lists(PROBABILITIES, min_size=depth, max_size=depth).map(tuple)
    return MLPConfig(
        in_features=draw(st.integers(1, 2**40)),
        hidden_features=tuple(hidden),
        out_features=out_features,
        activation=draw(NAMED | st.lists(NAMED, min_size=depth, max_size=depth).map(tuple)),
        output_activation=None if out_features is None else draw(st.none() | NAMED),
        norm=draw(st.none() | st.sampled_from(get_args(NormName))),
        dropout=draw(PROBABILITIES if out_features is None else PROBABILITIES | each),
        input_dropout=draw(PROBABILITIES),
        bias=draw(st.booleans()),
        residual=residual,
        init=draw(st.sampled_from(get_args(InitName))),
        max_norm=draw(st.none() | st.floats(1e-300, 1e300)),
        flatten=draw(st.booleans()),
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(configs())
def test_any_configuration_round_trips(config: MLPConfig) -> None:
    """Every float keeps all its bits."""
    assert MLPConfig.from_json(config.to_json()) == config
    assert MLPConfig.from_toml(config.to_toml()) == config


def test_the_json_values() -> None:
    """The keys are flat; tuples are lists, and None is null."""
    values = json.loads(MLPConfig(in_features=6, hidden_features=(4, 3), out_features=1).to_json())
    assert values == {
        "in_features": 6,
        "hidden_features": [4, 3],
        "out_features": 1,
        "activation": "relu",
        "output_activation": None,
        "norm": None,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "bias": True,
        "residual": False,
        "init": "auto",
        "max_norm": None,
        "flatten": False,
    }


def test_a_file_may_omit_defaults() -> None:
    """In TOML a missing out_features is None; an integer is accepted for a float."""
    text = """
    in_features = 6
    hidden_features = [4, 3]
    dropout = 0
    activation = ["relu", { name = "maxout", num_pieces = 3 }]
    """
    assert MLPConfig.from_toml(text) == MLPConfig(
        in_features=6,
        hidden_features=(4, 3),
        out_features=None,
        activation=("relu", ActivationConfig("maxout", num_pieces=3)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"dropuot": 0.5}', r"got 'dropuot'; did you mean 'dropout'\?$"),
        ('{"hidden_sizes": [3]}', r"got 'hidden_sizes'; did you mean 'hidden_features'\?$"),
        (
            '{"hidden_features": []}',
            r"^MLPConfig.in_features must be given in net.json; add the key",
        ),
        (
            '{"in_features": 6, "hidden_features": [], "activation": {"nmae": "relu"}}',
            r"^a key of ActivationConfig in net.json must be one of .*, got 'nmae'; "
            r"did you mean 'name'\?$",
        ),
        ("[]", r"^MLPConfig as JSON must be an object, got \[\]$"),
        ("{", r"^net.json must be valid JSON, got an error: "),
    ],
)
def test_an_invalid_file_is_refused(text: str, message: str) -> None:
    """The message names the key, the file and the most similar valid key."""
    with pytest.raises(ConfigError, match=message):
        MLPConfig.from_json(text, source="net.json")


def test_an_invalid_value_in_a_file_is_refused() -> None:
    """The message is that of the constructor."""
    with pytest.raises(
        ValueError, match=r"^hidden_features\[0\] must be a positive integer, got 0$"
    ):
        MLPConfig.from_json('{"in_features": 6, "hidden_features": [0], "out_features": 1}')
    with pytest.raises(TypeError, match=r"^bias must be True or False, got 1$"):
        MLPConfig.from_toml("in_features = 6\nhidden_features = []\nbias = 1")


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), [nn.ReLU(), "relu"], nn.ReLU, lambda _: nn.ReLU()]
)
def test_a_configuration_holds_no_module(activation: object) -> None:
    """Modules, classes and factories are accepted by MLP only."""
    untyped: Callable[..., MLPConfig] = MLPConfig
    message = (
        r"^activation(\[0\])? must be the name of an activation or an ActivationConfig, got .*; "
        "a configuration holds no module; pass modules and factories to MLP$"
    )
    with pytest.raises(TypeError, match=message):
        untyped(in_features=6, hidden_features=(4, 3), out_features=1, activation=activation)


def test_a_configuration_is_frozen_and_holds_copies() -> None:
    """Lists become tuples, and numbers get the type of the field."""
    untyped: Callable[..., MLPConfig] = MLPConfig
    hidden, dropout = [4, 3], [0, 0.5]
    config = untyped(in_features=6, hidden_features=hidden, out_features=1, dropout=dropout)
    hidden.append(5)
    dropout.append(0.5)
    assert config.hidden_features == (4, 3)
    assert config.dropout == (0.0, 0.5)
    assert hash(config) == hash(dataclasses.replace(config))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.in_features = 7  # type: ignore[misc]


def test_every_norm_name_has_a_norm() -> None:
    """The table of norms has the names in NormName."""
    norms: tuple[NormName, ...] = get_args(NormName)
    kinds = {name: type(MLP(6, (3,), 1, norm=name).layers[0].norm).__name__ for name in norms}
    assert kinds == {"batch": "BatchNorm", "layer": "LayerNorm", "rms": "RMSNorm"}


def test_widths_may_be_an_array() -> None:
    for widths in (np.array([5, 3]), torch.tensor([5, 3])):
        config = MLPConfig(in_features=4, hidden_features=widths, out_features=2)  # type: ignore[arg-type]  # not in the signature
        assert config.hidden_features == (5, 3)
        assert {type(width) for width in config.hidden_features} == {int}


def test_a_slope_for_each_unit_of_a_layer_of_one_unit_is_in_the_configuration() -> None:
    slopes = ActivationConfig("prelu", per_unit=True)
    config = MLPConfig(
        in_features=4,
        hidden_features=(8, 1),
        out_features=1,
        activation=slopes,
        output_activation=slopes,
    )
    assert MLP.from_config(config).config == config
