"""MLPOptions: checked values, and one list of options for everything that builds an MLP."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from mlpkit.nn import MLP, ActivationConfig, MLPConfig, MLPOptions, PReLU

ALL = MLPOptions(
    activation=(nn.ReLU, PReLU(), lambda width: PReLU(width)),
    output_activation=ActivationConfig("elu", alpha=0.5),
    norm="layer",
    dropout=(0.1, 0.2, 0.3),
    input_dropout=0.4,
    bias=False,
    residual=True,
    init="torch",
    max_norm=2.0,
    flatten=True,
)


def test_the_options_are_the_keyword_arguments_of_mlp_and_the_fields_of_its_config() -> None:
    """With the same names, order and defaults; MLP also has device, dtype and generator."""
    options = {field.name: field.default for field in dataclasses.fields(MLPOptions)}
    arguments = {
        name: parameter.default
        for name, parameter in inspect.signature(MLP).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert list(arguments.items()) == [
        *options.items(),
        ("device", None),
        ("dtype", None),
        ("generator", None),
    ]
    configured = {field.name: field.default for field in dataclasses.fields(MLPConfig)}
    assert list(configured) == ["in_features", "hidden_features", "out_features", *options]
    assert list(configured.values())[3:] == list(options.values())


def test_every_option_is_documented_once() -> None:
    """In MLPOptions, to which the docstrings of MLP and MLPConfig refer."""
    for field in dataclasses.fields(MLPOptions):
        entry = rf"^ +{field.name}: "  # Python 3.13 removes the indentation
        assert re.search(entry, MLPOptions.__doc__ or "", re.MULTILINE), field.name
        for cls in (MLP, MLPConfig):
            assert not re.search(entry, cls.__doc__ or "", re.MULTILINE), field.name


def test_a_network_from_options_equals_one_from_keyword_arguments() -> None:
    """The same modules, and the same weights from the same seed."""
    keywords = {field.name: getattr(ALL, field.name) for field in dataclasses.fields(ALL)}
    by_keywords = MLP(6, (5, 5, 5), 2, generator=torch.Generator().manual_seed(0), **keywords)
    by_options = MLP.from_options(6, (5, 5, 5), 2, ALL, generator=torch.Generator().manual_seed(0))
    assert repr(by_options) == repr(by_keywords)
    assert by_options.config == by_keywords.config
    for key, value in by_keywords.state_dict().items():
        assert torch.equal(by_options.state_dict()[key], value)


def test_a_configuration_is_an_options_object() -> None:
    """Its options build a network of other widths."""
    config = MLPConfig(in_features=6, hidden_features=(4,), out_features=1, norm="rms")
    assert isinstance(config, MLPOptions)
    model = MLP.from_options(3, (2, 2), None, config)
    assert model.config == dataclasses.replace(
        config, in_features=3, hidden_features=(2, 2), out_features=None
    )


def test_values_are_stored_as_they_were_checked() -> None:
    """Sequences become tuples, numbers of NumPy become Python's."""
    untyped: Callable[..., MLPOptions] = MLPOptions
    given = [0, np.float32(0.5)]
    options = untyped(
        dropout=given, activation=["relu", nn.Tanh], input_dropout=np.float64(0.25), max_norm=3
    )
    given.append(0)
    assert options.dropout == (0.0, 0.5)
    assert options.activation == ("relu", nn.Tanh)
    assert type(options.input_dropout) is float
    assert type(options.max_norm) is float
    assert isinstance(options.dropout, tuple)
    assert {type(value) for value in options.dropout} == {float}


def test_options_are_frozen_hashable_and_without_a_dict() -> None:
    options = MLPOptions(activation=("relu", "tanh"), dropout=(0.1, 0.2))
    assert hash(options) == hash(dataclasses.replace(options))
    assert not hasattr(options, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.norm = "layer"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dropout": 1.5}, ValueError, "dropout must be a finite number at least 0 and less than"),
        ({"dropout": [0.1, "x"]}, TypeError, "dropout[1] must be a finite number"),
        ({"norm": "bacth"}, ValueError, "norm must be one of 'batch', 'layer', 'rms', got"),
        ({"init": None}, TypeError, "init must be one of 'auto', 'torch', got None"),
        ({"max_norm": 0}, ValueError, "max_norm must be a finite number greater than 0, got 0"),
        ({"bias": 1}, TypeError, "bias must be True or False, got 1"),
        ({"flatten": None}, TypeError, "flatten must be True or False, got None"),
        ({"activation": "rleu"}, ValueError, "activation must be one of "),
        ({"activation": ["relu", 3]}, TypeError, "activation[1] must be a name, an Activation"),
        ({"activation": torch.relu}, TypeError, "activation must be a name, an ActivationConfig"),
        ({"output_activation": "softmax"}, ValueError, "output_activation must be None for a"),
        ({"output_activation": 3}, TypeError, "output_activation must be a name, an Activation"),
    ],
)
def test_a_bad_value_is_refused_before_a_network_is_built(
    options: dict[str, object], kind: type[Exception], message: str
) -> None:
    untyped: Callable[..., MLPOptions] = MLPOptions
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        untyped(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (MLPOptions(activation=("relu",)), "activation must be one value or a sequence of 2"),
        (MLPOptions(dropout=(0.1, 0.1, 0.1)), "dropout must be one value or a sequence of 2"),
        (MLPOptions(residual=True), "hidden_features must be of equal widths if residual is True"),
        (MLPOptions(output_activation="tanh"), "output_activation must be None if out_features"),
        (MLPOptions(dropout=(0.1, 0.1)), "dropout[1] must be 0 if out_features is None"),
    ],
)
def test_options_that_do_not_fit_the_widths_are_refused(options: MLPOptions, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        MLP.from_options(6, (5, 4), None, options)


def test_another_object_is_refused() -> None:
    build = cast("Callable[..., MLP]", MLP.from_options)
    with pytest.raises(TypeError, match=r"^options must be an MLPOptions, got 'tanh'; MLPOptions"):
        build(6, (5,), 1, "tanh")


@pytest.mark.parametrize(
    "dropout",
    [np.array([0.1, 0.25]), torch.tensor([0.1, 0.25], dtype=torch.float64), [0.1, 0.25]],
    ids=["array", "tensor", "list"],
)
def test_dropout_of_each_layer_as_an_array(dropout: Any) -> None:
    """It is stored as Python floats, so the configuration has a JSON form."""
    model = MLP(4, (3, 3), 2, dropout=dropout)
    assert model.config.dropout == (0.1, 0.25)
    assert MLPConfig.from_json(model.config.to_json()) == model.config


@pytest.mark.parametrize(
    "value", [np.array([[0.1]]), np.array([]), torch.ones(2, 2), torch.tensor(0.5, device="meta")]
)
@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
def test_arrays_that_are_no_probabilities_are_refused(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        MLP(4, (3, 3), 2, **options)
