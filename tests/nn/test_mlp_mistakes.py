"""Every invalid argument raises an error that names the argument, the rule and the value."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Protocol, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlpkit.nn import MLP, MLPConfig, PReLU

Arguments = dict[str, object]


class Build(Protocol):
    """Calls MLP with arguments of any type."""

    def __call__(self, **arguments: object) -> MLP: ...


@pytest.fixture
def build() -> Build:
    """MLP(4, (8, 8), 2), with any argument replaced."""
    untyped: Callable[..., MLP] = MLP

    def call(**arguments: object) -> MLP:
        return untyped(
            **{"in_features": 4, "hidden_features": (8, 8), "out_features": 2, **arguments}
        )

    return call


WIDTHS: list[tuple[Arguments, type[Exception], str]] = [
    ({"in_features": 0}, ValueError, "in_features must be a positive integer, got 0"),
    ({"in_features": -3}, ValueError, "in_features must be a positive integer, got -3"),
    ({"in_features": True}, TypeError, "in_features must be a positive integer, got True"),
    ({"in_features": 4.0}, TypeError, "in_features must be a positive integer, got 4.0"),
    ({"in_features": None}, TypeError, "in_features must be a positive integer, got None"),
    (
        {"hidden_features": 8},
        TypeError,
        "hidden_features must be a sequence of positive integers, got 8; "
        "write (8,) for one hidden layer",
    ),
    (
        {"hidden_features": "88"},
        TypeError,
        "hidden_features must be a sequence of positive integers, got '88'",
    ),
    (
        {"hidden_features": None},
        TypeError,
        "hidden_features must be a sequence of positive integers, got None",
    ),
    (
        {"hidden_features": (8, 0)},
        ValueError,
        "hidden_features[1] must be a positive integer, got 0",
    ),
    (
        {"hidden_features": [True]},
        TypeError,
        "hidden_features[0] must be a positive integer, got True",
    ),
    (
        {"hidden_features": [8.5]},
        TypeError,
        "hidden_features[0] must be a positive integer, got 8.5",
    ),
    (
        {"out_features": 0},
        ValueError,
        "out_features must be a positive integer, got 0; None for a backbone without head",
    ),
    (
        {"out_features": False},
        TypeError,
        "out_features must be a positive integer, got False; None for a backbone without head",
    ),
]

OPTIONS: list[tuple[Arguments, type[Exception], str]] = [
    (
        {"dropout": 1},
        ValueError,
        "dropout must be a finite number at least 0 and less than 1, got 1; "
        "it is the probability of zeroing, and 1 would zero everything",
    ),
    (
        {"dropout": -0.1},
        ValueError,
        "dropout must be a finite number at least 0 and less than 1, got -0.1",
    ),
    (
        {"dropout": True},
        TypeError,
        "dropout must be a finite number at least 0 and less than 1, got True",
    ),
    (
        {"dropout": "0.5"},
        TypeError,
        "dropout must be a finite number at least 0 and less than 1, got '0.5'",
    ),
    (
        {"dropout": None},
        TypeError,
        "dropout must be a finite number at least 0 and less than 1, got None",
    ),
    (
        {"dropout": [0.1, 1.0]},
        ValueError,
        "dropout[1] must be a finite number at least 0 and less than 1, got 1.0",
    ),
    (
        {"dropout": [0.1]},
        ValueError,
        "dropout must be one value or a sequence of 2, one for each hidden layer, got [0.1]",
    ),
    (
        {"dropout": [0.1, 0.2, 0.3]},
        ValueError,
        "dropout must be one value or a sequence of 2, one for each hidden layer, "
        "got [0.1, 0.2, 0.3]",
    ),
    (
        {"hidden_features": (8,), "dropout": []},
        ValueError,
        "dropout must be one value or a sequence of 1, one for each hidden layer, got []",
    ),
    (
        {"dropout": [0.1, 0.2], "out_features": None},
        ValueError,
        "dropout[1] must be 0 if out_features is None, got 0.2; "
        "a backbone has no dropout on its output; add it to the module that follows",
    ),
    (
        {"input_dropout": 1.0},
        ValueError,
        "input_dropout must be a finite number at least 0 and less than 1, got 1.0",
    ),
    (
        {"input_dropout": [0.1, 0.2]},
        TypeError,
        "input_dropout must be a finite number at least 0 and less than 1, got [0.1, 0.2]",
    ),
    (
        {"norm": "bacth"},
        ValueError,
        "norm must be one of 'batch', 'layer', 'rms', got 'bacth'; did you mean 'batch'?",
    ),
    (
        {"norm": nn.BatchNorm1d},
        TypeError,
        "norm must be one of 'batch', 'layer', 'rms', got <class",
    ),
    ({"init": "he"}, ValueError, "init must be one of 'auto', 'torch', got 'he'"),
    ({"bias": 1}, TypeError, "bias must be True or False, got 1"),
    ({"residual": "yes"}, TypeError, "residual must be True or False, got 'yes'"),
    (
        {"residual": True, "hidden_features": (8, 4)},
        ValueError,
        "hidden_features must be of equal widths if residual is True, got (8, 4); "
        "make them equal, or pass residual=False",
    ),
    ({"flatten": 1}, TypeError, "flatten must be True or False, got 1"),
    (
        {"max_norm": 0},
        ValueError,
        "max_norm must be a finite number greater than 0, got 0; None for no limit",
    ),
    (
        {"max_norm": float("nan")},
        ValueError,
        "max_norm must be a finite number greater than 0, got nan; None for no limit",
    ),
    (
        {"dtype": torch.int64},
        TypeError,
        "dtype must be a floating torch.dtype or None, got torch.int",
    ),
    (
        {"dtype": "float32"},
        TypeError,
        "dtype must be a floating torch.dtype or None, got 'float32'",
    ),
    (
        {"generator": 0},
        TypeError,
        "generator must be a torch.Generator or None, got 0; "
        "torch.Generator().manual_seed(0) makes one",
    ),
]

ACTIVATIONS: list[tuple[Arguments, type[Exception], str]] = [
    ({"activation": nn.Threshold}, TypeError, "Threshold() raised TypeError: "),
    ({"activation": ["relu", nn.Threshold]}, TypeError, "activation[1] must be a name, an "),
    ({"activation": int}, TypeError, "got <class 'int'>"),
    ({"activation": torch.relu}, TypeError, "pass the name 'relu'"),
    ({"activation": F.gelu}, TypeError, "pass the name 'gelu'"),
    ({"activation": "rleu"}, ValueError, "got 'rleu'; did you mean 'relu'?"),
    ({"activation": ["relu", "tahn"]}, ValueError, "got 'tahn'; did you mean 'tanh'?"),
    ({"activation": None}, TypeError, "activation must be a name, an ActivationConfig, a module"),
    ({"activation": 3}, TypeError, "got 3"),
    ({"activation": 3, "hidden_features": ()}, TypeError, "got 3"),
    ({"activation": torch.relu, "hidden_features": ()}, TypeError, "pass the name 'relu'"),
    ({"activation": "rleu", "hidden_features": ()}, ValueError, "did you mean 'relu'?"),
    (
        {"activation": ["relu", "relu", "relu"]},
        ValueError,
        "activation must be one value or a sequence of 2, one for each hidden layer, "
        "got ['relu', 'relu', 'relu']",
    ),
    ({"activation": lambda _: None}, TypeError, "must be a torch.nn.Module instance, got None"),
    ({"activation": PReLU(5)}, ValueError, "activation must be "),
    ({"output_activation": nn.Threshold}, TypeError, "output_activation must be a name, an "),
    ({"output_activation": "sigmiod"}, ValueError, "did you mean 'sigmoid'?"),
    (
        {"output_activation": "softmax"},
        ValueError,
        "output_activation must be None for a classifier, got 'softmax'; "
        "the softmax is part of the loss, so the network returns logits",
    ),
    (
        {"output_activation": "sigmoid", "out_features": None},
        ValueError,
        "output_activation must be None if out_features is None, got 'sigmoid'; a backbone",
    ),
    (
        {"output_activation": nn.Sigmoid(), "out_features": None},
        ValueError,
        "output_activation must be None if out_features is None, got Sigmoid(); a backbone",
    ),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), [*WIDTHS, *OPTIONS, *ACTIVATIONS])
def test_a_bad_argument_is_refused_where_the_network_is_built(
    build: Build, arguments: Arguments, kind: type[Exception], message: str
) -> None:
    """By the constructor, as a TypeError or a ValueError."""
    with pytest.raises(kind, match=re.escape(message)) as caught:
        build(**arguments)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (
            torch.zeros(3, 5),
            ValueError,
            "x must be a tensor with 4 features in its last axis, got (3, 5)",
        ),
        (
            torch.zeros(3, 1, 2, 2),
            ValueError,
            "x must be a tensor with 4 features in its last axis, got (3, 1, 2, 2); "
            "pass flatten=True to MLP",
        ),
        (
            torch.zeros(()),
            ValueError,
            "x must be a tensor with 4 features in its last axis, got ()",
        ),
        (
            torch.zeros(3, 4, dtype=torch.uint8),
            TypeError,
            "x must be a floating tensor, got torch.uint8; "
            "convert it with x.float(), pixels with x.float() / 255",
        ),
        (
            torch.zeros(3, 4, dtype=torch.int64),
            TypeError,
            "x must be a floating tensor, got torch.int",
        ),
        (
            torch.zeros(3, 4, dtype=torch.bool),
            TypeError,
            "x must be a floating tensor, got torch.bool",
        ),
        (
            np.zeros((1, 4)),
            TypeError,
            "x must be a floating tensor, got array([[0., 0., 0., 0.]]); "
            "torch.as_tensor(x, dtype=torch.float32) makes one",
        ),
    ],
)
@pytest.mark.parametrize("method", ["forward", "features"])
def test_a_bad_input_is_refused(
    x: object, kind: type[Exception], message: str, method: str
) -> None:
    """Before it reaches a matrix product, whose message would be less clear."""
    run: Callable[[object], object] = getattr(MLP(4, (8,), 2), method)
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        run(x)


def test_a_bad_input_of_a_flattening_network_is_refused() -> None:
    """The message refers to all axes but the first, and shows the shape of the input."""
    message = "x must be a tensor with 4 features in all its axes but the first, got (3, 1, 5, 2)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MLP(4, (8,), 2, flatten=True)(torch.zeros(3, 1, 5, 2))


@pytest.mark.parametrize(
    ("decay", "kind"), [(-0.1, ValueError), (float("inf"), ValueError), (True, TypeError)]
)
def test_a_bad_weight_decay_is_refused(decay: float, kind: type[Exception]) -> None:
    """Before an optimizer gets it."""
    message = f"^weight_decay must be a finite number at least 0, got {decay}$"
    with pytest.raises(kind, match=message):
        MLP(4, (8,), 2).param_groups(decay)


def test_reset_parameters_refuses_a_seed() -> None:
    """A seed is not a generator."""
    reset = cast("Callable[[object], None]", MLP(4, (8,), 2).reset_parameters)
    with pytest.raises(TypeError, match=r"^generator must be a torch\.Generator or None, got 7; "):
        reset(7)


def test_an_unknown_argument_raises_the_error_of_python(build: Build) -> None:
    """There is no **kwargs that would accept it."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'dropuot'"):
        build(dropuot=0.5)


def test_mlp_and_its_config_have_the_same_arguments_and_defaults() -> None:
    """Except device, dtype and generator."""
    arguments = dict(inspect.signature(MLP).parameters)
    for name in ("device", "dtype", "generator"):
        del arguments[name]
    assert list(arguments) == [field.name for field in fields(MLPConfig)]
    configured = inspect.signature(MLPConfig).parameters
    for name, parameter in arguments.items():
        assert parameter.default == configured[name].default, name
        assert (parameter.kind is parameter.KEYWORD_ONLY) == (
            name not in ("in_features", "hidden_features", "out_features")
        )
