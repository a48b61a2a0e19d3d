"""Activations by name, configuration, instance, class and factory, and all errors."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import math
import pickle
from collections.abc import Callable
from typing import cast, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations

from mlpkit import _serialization
from mlpkit.errors import ConfigError
from mlpkit.nn import (
    GEGLU,
    GLU,
    MLP,
    Activation,
    ActivationConfig,
    ActivationName,
    Maxout,
    PReLU,
    ReGLU,
    SwiGLU,
    activation_config,
    build_activation,
    expansion,
)

NAMES: tuple[ActivationName, ...] = get_args(ActivationName)
OWN = {
    "geglu": GEGLU,
    "glu": GLU,
    "maxout": Maxout,
    "prelu": PReLU,
    "reglu": ReGLU,
    "swiglu": SwiGLU,
}

# Modules of torch.nn.modules.activation without a name here, with the reason.
NOT_NAMED = {
    "MultiheadAttention": "attends over a sequence and takes three inputs",
    "Softmin": "normalizes over an axis, so it is not element-wise",
    "Softmax": "normalizes over an axis, so it is not element-wise",
    "Softmax2d": "normalizes over the channels of images",
    "LogSoftmax": "normalizes over an axis, so it is not element-wise",
}
# Modules whose name stands for a class of mlpkit, which acts on the last axis.
REPLACED = {"GLU": "glu", "PReLU": "prelu"}


def config_of(name: ActivationName) -> ActivationConfig:
    """The configuration of a name with its required options."""
    if name == "threshold":
        return ActivationConfig(name, threshold=0.1, value=-2.0)
    return ActivationConfig(name)


# The definition of each element-wise activation with its default options, for one number.
ORACLES: dict[ActivationName, Callable[[float], float]] = {
    "celu": lambda x: max(0.0, x) + min(0.0, math.expm1(x)),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "hardshrink": lambda x: x if abs(x) > 0.5 else 0.0,
    "hardsigmoid": lambda x: min(1.0, max(0.0, x / 6 + 0.5)),
    "hardswish": lambda x: x * min(1.0, max(0.0, x / 6 + 0.5)),
    "hardtanh": lambda x: min(1.0, max(-1.0, x)),
    "identity": lambda x: x,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "logsigmoid": lambda x: -math.log1p(math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "relu": lambda x: max(0.0, x),
    "relu6": lambda x: min(6.0, max(0.0, x)),
    "rrelu": lambda x: x if x > 0 else x * (1 / 8 + 1 / 3) / 2,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softshrink": lambda x: math.copysign(max(0.0, abs(x) - 0.5), x),
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh": math.tanh,
    "tanhshrink": lambda x: x - math.tanh(x),
    "threshold": lambda x: x if x > 0.1 else -2.0,
}


def options_of(name: ActivationName) -> dict[str, object]:
    """The options that apply to a name, with their values."""
    values = dataclasses.asdict(config_of(name))
    return {
        option: value for option, value in values.items() if option != "name" and value is not None
    }


def test_every_name_has_a_class_and_the_names_are_sorted() -> None:
    assert list(NAMES) == sorted(NAMES)
    classes = {type(build_activation(config_of(name), 4)) for name in NAMES}
    assert len(classes) == len(NAMES)


def test_every_activation_of_torch_has_a_name_or_a_reason() -> None:
    """If torch adds a class, this test fails until it has a name or a reason."""
    classes = {type(build_activation(config_of(name), 4)) for name in NAMES}
    named = {cls.__name__ for cls in classes}
    for name, cls in inspect.getmembers(torch_activations, inspect.isclass):
        if cls.__module__ == torch_activations.__name__ and issubclass(cls, nn.Module):
            assert name in named or name in NOT_NAMED, name
            assert not (name in named and name in NOT_NAMED), name
            if name in REPLACED:
                assert cls not in classes


def test_every_field_is_an_option_of_a_name() -> None:
    fields = {field.name for field in dataclasses.fields(ActivationConfig)} - {"name"}
    assert fields == {option for name in NAMES for option in options_of(name)}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in NAMES for option in options_of(name)]
)
def test_every_option_is_checked(name: ActivationName, option: str) -> None:
    untyped: Callable[..., ActivationConfig] = ActivationConfig
    with pytest.raises(TypeError, match=rf"^ActivationConfig\.{option} must be .*, got \[\]"):
        untyped(name, **{**options_of(name), option: []})


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_an_element_wise_activation_is_what_its_name_says(name: ActivationName) -> None:
    values = [-7.0, -3.5, -1.0, -0.5, -0.2, 0.0, 0.05, 0.3, 0.5, 1.0, 2.9, 3.1, 7.5]
    module = build_activation(config_of(name), len(values), dtype=torch.float64).eval()
    x = torch.tensor(values, dtype=torch.float64).expand(2, 3, -1)
    expected = torch.tensor([ORACLES[name](value) for value in values], dtype=torch.float64)
    torch.testing.assert_close(module(x), expected.expand(2, 3, -1), rtol=1e-12, atol=1e-15)


def test_the_oracles_and_the_others_are_all_names() -> None:
    assert set(ORACLES) | (set(OWN) - {"prelu"}) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_width_contract_holds(name: ActivationName) -> None:
    """From 1 to 4 axes: width * expansion features go in, width features come out."""
    module = build_activation(config_of(name), 6)
    for leading in [(), (3,), (2, 3), (2, 1, 3)]:
        x = torch.randn(*leading, 6 * expansion(module))
        assert module(x).shape == (*leading, 6)


@pytest.mark.parametrize("name", NAMES)
def test_no_activation_changes_its_input(name: ActivationName) -> None:
    """An in-place operation would overwrite values that a skip connection needs."""
    module = build_activation(config_of(name), 6)
    x = torch.randn(4, 6 * expansion(module))
    before = x.clone()
    module(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_comes_back_from_its_module(name: ActivationName) -> None:
    config = config_of(name)
    module = build_activation(config, 3)
    assert activation_config(module) == config
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert activation_config(other) == config


@pytest.mark.parametrize(
    "config",
    [
        ActivationConfig("maxout", num_pieces=5),
        ActivationConfig("leaky_relu", negative_slope=0.2),
        ActivationConfig("prelu", init=0.1, per_unit=True),
        ActivationConfig("elu", alpha=0.5),
        ActivationConfig("celu", alpha=2),
        ActivationConfig("gelu", approximate="tanh"),
        ActivationConfig("rrelu", lower=0.1, upper=0.1),
        ActivationConfig("hardtanh", min_val=-2, max_val=0.5),
        ActivationConfig("hardshrink", lambd=0),
        ActivationConfig("softshrink", lambd=0.25),
        ActivationConfig("softplus", beta=2.0, threshold=30.0),
        ActivationConfig("threshold", threshold=0.0, value=1.0),
    ],
    ids=repr,
)
def test_every_option_reaches_the_module_and_comes_back(config: ActivationConfig) -> None:
    module = build_activation(config, 3)
    assert activation_config(module) == config
    assert _serialization.from_json(ActivationConfig, _serialization.to_json(config)) == config
    assert _serialization.from_toml(ActivationConfig, _serialization.to_toml(config)) == config
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config
    assert hash(copy.deepcopy(config)) == hash(config)


def test_an_explicit_default_changes_nothing() -> None:
    assert ActivationConfig("maxout") == ActivationConfig("maxout", num_pieces=2)
    plain = json.loads(_serialization.to_json(ActivationConfig("prelu")))
    assert {key: value for key, value in plain.items() if value is not None} == {
        "name": "prelu",
        "init": 0.25,
        "per_unit": False,
    }


def test_the_defaults_are_those_of_the_modules() -> None:
    for name in NAMES:
        if name in OWN or name == "threshold":
            continue
        default = type(build_activation(name, 4))()
        for option, value in options_of(name).items():
            assert getattr(default, option) == value, (name, option)
    assert ActivationConfig("prelu").init == PReLU().init
    assert ActivationConfig("maxout").num_pieces == Maxout().num_pieces


def test_a_prelu_has_one_slope_or_one_for_each_unit() -> None:
    shared = build_activation("prelu", 7)
    each = build_activation(ActivationConfig("prelu", per_unit=True), 7)
    assert isinstance(shared, PReLU)
    assert isinstance(each, PReLU)
    assert (shared.num_parameters, each.num_parameters) == (1, 7)


def test_random_relu_is_random_in_training_only() -> None:
    module = build_activation("rrelu", 3)
    x = -torch.ones(100, 3)
    assert module(x).unique().numel() > 1
    assert module.eval()(x).unique().numel() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_pieces": 3},
            "ActivationConfig.num_pieces must be None for 'relu', got 3; it is an ",
        ),
        ({"alpha": 1.0}, "got 1.0; it is an option of 'celu' and 'elu'"),
        ({"threshold": 1.0}, "it is an option of 'softplus' and 'threshold'"),
    ],
)
def test_an_option_that_does_not_apply_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _serialization.from_dict(ActivationConfig, {"name": "relu", **options})


@pytest.mark.parametrize(
    ("name", "option", "value", "error", "rule"),
    [
        ("maxout", "num_pieces", 0, ValueError, "a positive integer, got 0"),
        ("maxout", "num_pieces", True, TypeError, "a positive integer, got True"),
        ("maxout", "num_pieces", 2.0, TypeError, "a positive integer, got 2.0"),
        ("leaky_relu", "negative_slope", "x", TypeError, "a finite number, got 'x'"),
        ("prelu", "init", float("inf"), ValueError, "a finite number, got inf"),
        ("prelu", "per_unit", 1, TypeError, "True or False, got 1"),
        ("elu", "alpha", 0.0, ValueError, "a finite number greater than 0, got 0.0"),
        ("gelu", "approximate", "tan", ValueError, "one of 'none', 'tanh', got 'tan'; did you"),
        ("softshrink", "lambd", -1, ValueError, "a finite number at least 0, got -1"),
        ("softplus", "beta", 0, ValueError, "a finite number greater than 0, got 0"),
        ("rrelu", "lower", 0.5, ValueError, "a finite number at most 0.333333, got 0.5"),
        ("hardtanh", "min_val", 1.0, ValueError, "a finite number less than 1, got 1.0"),
        ("threshold", "value", None, TypeError, "given for 'threshold', got None"),
    ],
)
def test_an_option_out_of_range_is_refused(
    name: str, option: str, value: object, error: type[Exception], rule: str
) -> None:
    values = {"name": name, "threshold": 0.0} if name == "threshold" else {"name": name}
    with pytest.raises(error, match=f"ActivationConfig.{option} must be {rule}"):
        _serialization.from_dict(ActivationConfig, {**values, option: value})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("reluu", "relu"),
        ("ReLU", "relu"),
        ("GELU", "gelu"),
        ("leakyrelu", "leaky_relu"),
        ("SwiGlu", "swiglu"),
        ("max_out", "maxout"),
        ("swish", "silu"),
        ("linear", "identity"),
        ("none", "identity"),
        ("logistic", "sigmoid"),
        ("leaky", "leaky_relu"),
        ("lrelu", "leaky_relu"),
        ("hard_sigmoid", "hardsigmoid"),
        ("hard_swish", "hardswish"),
        ("hard_tanh", "hardtanh"),
        ("log_sigmoid", "logsigmoid"),
    ],
)
def test_the_error_for_a_misspelled_name_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ValueError, match=f"name must be one of .* got {wrong!r}; .* {right!r}"):
        _serialization.from_dict(ActivationConfig, {"name": wrong})


def test_a_wrong_name_is_reported_under_the_name_of_the_argument() -> None:
    wrong: ActivationName = json.loads('"reluu"')
    with pytest.raises(ValueError, match=r"^activation\[1\] must be one of .* did you mean 'relu'"):
        build_activation(wrong, 3, argument="activation[1]")


# --- instances


def test_an_instance_is_copied_with_its_state() -> None:
    instance = PReLU(1, init=0.1)
    with torch.no_grad():
        instance.weight.fill_(0.7)
    first, second = build_activation(instance, 3), build_activation(instance, 4)
    assert isinstance(first, PReLU)
    assert isinstance(second, PReLU)
    assert len({id(instance), id(first), id(second)}) == 3
    assert first.weight.data_ptr() != second.weight.data_ptr() != instance.weight.data_ptr()
    assert first.weight.item() == pytest.approx(0.7)


def test_an_instance_of_torch_prelu_becomes_one_on_the_last_axis() -> None:
    theirs = nn.PReLU(3)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([0.0, 0.5, 1.0]))
    theirs.weight.requires_grad_(False)
    for module in (build_activation(theirs, 3), build_activation(lambda _: theirs, 3)):
        assert isinstance(module, PReLU)
        assert module.weight.tolist() == [0.0, 0.5, 1.0]
        assert not module.weight.requires_grad
        assert module(-torch.ones(1, 3, 3))[0].tolist() == [[0.0, -0.5, -1.0]] * 3


def test_an_instance_of_torch_glu_becomes_one_with_the_width_contract() -> None:
    module = build_activation(nn.GLU(), 3)
    assert isinstance(module, GLU)
    x = torch.randn(2, 6)
    torch.testing.assert_close(module(x), nn.GLU()(x))
    with pytest.raises(ValueError, match="dim of activation must be -1, got 1"):
        build_activation(nn.GLU(dim=1), 3)


def test_nothing_works_in_place_even_inside_a_container() -> None:
    instance = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5, inplace=True))
    x = -torch.ones(2, 3)
    build_activation(instance, 3)(x)
    assert x.tolist() == [[-1.0] * 3] * 2
    assert [part.inplace for part in instance if isinstance(part, nn.ReLU)] == [True]


@pytest.mark.parametrize("instance", [PReLU(3), nn.PReLU(3)], ids=["own", "torch"])
def test_slopes_for_another_width_are_refused(instance: nn.Module) -> None:
    rule = "num_parameters of activation must be 1 or the width of its layer, 4, got 3"
    with pytest.raises(ValueError, match=rule):
        build_activation(instance, 4)


class Scaled(nn.Module):
    """A custom activation with a scale for each unit and a count of its calls."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 2.0))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        return x * self.scale


def test_a_custom_module_is_probed_on_a_copy() -> None:
    instance = Scaled(3)
    module = build_activation(instance, 3)
    assert module.get_buffer("calls").item() == instance.get_buffer("calls").item() == 0
    assert module(torch.ones(1, 3)).tolist() == [[2.0] * 3]


def test_a_module_that_breaks_the_width_contract_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"maps \(\*, 4\) to \(\*, 4\), got Scaled.* it raised Run"
    ):
        build_activation(Scaled(3), 4)
    with pytest.raises(ValueError, match=r"got Linear.* it maps \(2, 4\) to \(2, 5\)"):
        build_activation(nn.Linear(4, 5), 4)
    with pytest.raises(ValueError, match=r"got Sequential.* it maps \(2, 4\) to \(2, 2\)"):
        build_activation(nn.Sequential(Maxout(2)), 4)
    with pytest.raises(TypeError, match=r"got LSTM.* it returned a tuple"):
        build_activation(nn.LSTM(4, 4), 4)


@pytest.mark.parametrize(
    "activation",
    [ActivationConfig("prelu"), PReLU(3), nn.PReLU(3), Scaled(3), lambda width: Scaled(width)],
    ids=["config", "own", "torch", "custom", "factory"],
)
def test_device_and_dtype_reach_the_parameters(activation: Activation) -> None:
    module = build_activation(activation, 3, dtype=torch.float64)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}


def test_an_activation_is_built_on_the_meta_device_too() -> None:
    assert next(build_activation("prelu", 3, device="meta").parameters()).is_meta
    with torch.device("meta"):
        assert next(build_activation("prelu", 3).parameters()).is_meta
        assert next(build_activation(lambda width: Scaled(width), 3).parameters()).is_meta


# --- factories, classes, and other objects


def test_a_factory_is_called_with_the_width_and_its_result_is_not_copied() -> None:
    """So MLP detects a factory that returns the same module twice."""
    asked: list[int] = []
    built: list[nn.Module] = []

    def factory(width: int) -> nn.Module:
        asked.append(width)
        built.append(PReLU(width))
        return built[-1]

    modules = [build_activation(factory, width) for width in (3, 5)]
    assert asked == [3, 5]
    assert [first is second for first, second in zip(modules, built, strict=True)] == [True, True]


# Classes of torch that cannot be built without arguments.
NEED_ARGUMENTS = ("MultiheadAttention", "Threshold")
CLASSES = [
    cls
    for name, cls in inspect.getmembers(torch_activations, inspect.isclass)
    if cls.__module__ == torch_activations.__name__
    and issubclass(cls, nn.Module)
    and name not in NOT_NAMED
    and name not in NEED_ARGUMENTS
]


@pytest.mark.parametrize("cls", [*CLASSES, nn.Identity], ids=lambda cls: cls.__name__)
def test_a_class_of_torch_equals_its_default_instance(cls: type[nn.Module]) -> None:
    """In training and in eval mode, with the same random numbers."""
    width = 6
    instance = cls(num_parameters=width) if cls is nn.PReLU else cls()
    module = build_activation(cls, width)
    assert activation_config(module) == activation_config(instance)
    x = 3 * torch.randn(4, width * expansion(module))
    for mode in (True, False):
        torch.manual_seed(0)
        expected = instance.train(mode)(x)
        torch.manual_seed(0)
        assert torch.equal(module.train(mode)(x), expected)


@pytest.mark.parametrize("cls", [GEGLU, GLU, Maxout, ReGLU, SwiGLU], ids=lambda cls: cls.__name__)
def test_a_class_of_mlpkit_equals_its_default_instance(cls: type[nn.Module]) -> None:
    module = build_activation(cls, 6)
    assert type(module) is cls
    x = torch.randn(4, 12)
    assert torch.equal(module(x), cls()(x))


@pytest.mark.parametrize("cls", [PReLU, nn.PReLU], ids=["mlpkit", "torch"])
def test_the_class_prelu_has_a_slope_for_each_unit(cls: type[nn.Module]) -> None:
    """Its constructor has the parameter num_parameters, which gets the width."""
    module = build_activation(cls, 6)
    assert isinstance(module, PReLU)
    assert module.weight.tolist() == [0.25] * 6
    layers = MLP(3, (5, 4), 2, activation=cls).layers
    assert [layer.activation.get_parameter("weight").numel() for layer in layers] == [5, 4]


def test_a_class_equals_its_name() -> None:
    """In a network: ReLU has the same repr and the same output."""
    named, by_class = (
        MLP(3, (5, 4), 2, activation=activation, generator=torch.Generator().manual_seed(0))
        for activation in ("relu", nn.ReLU)
    )
    assert repr(by_class) == repr(named)
    x = torch.randn(4, 3)
    assert torch.equal(by_class(x), named(x))
    assert by_class.config == named.config


def test_a_class_is_never_given_the_width_by_position() -> None:
    """ELU would take it as alpha, Maxout as its number of pieces."""
    assert activation_config(build_activation(nn.ELU, 7)).alpha == 1.0
    assert activation_config(build_activation(Maxout, 7)).num_pieces == 2


@pytest.mark.parametrize("name", NEED_ARGUMENTS)
def test_a_class_that_needs_arguments_is_refused(name: str) -> None:
    message = (
        rf"^activation must be a name, .* got <class .*{name}'>; {name}\(\) raised TypeError: "
        r".* missing .*; pass an instance or a factory$"
    )
    with pytest.raises(TypeError, match=message):
        build_activation(getattr(nn, name), 4)


@pytest.mark.parametrize("name", sorted(set(NOT_NAMED) - {"MultiheadAttention", "Softmax2d"}))
def test_a_class_that_normalizes_over_an_axis_equals_its_default_instance(name: str) -> None:
    """The class and the instance both give torch's warning about the implicit axis."""
    cls: type[nn.Module] = getattr(nn, name)
    x = torch.randn(3, 4)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        module = build_activation(cls, 4)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert torch.equal(module(x), cls()(x))


def test_a_custom_class_that_needs_the_width_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"; Scaled\(\) raised TypeError: .*; pass an instance or a"
    ):
        build_activation(Scaled, 4)


def test_a_class_that_is_not_a_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^activation must be a name, .* got <class 'int'>$"):
        build_activation(as_factory(int), 4)


FUNCTIONS: list[tuple[object, str]] = [
    (torch.tanh, "tanh"),
    (torch.relu, "relu"),
    (torch.sigmoid, "sigmoid"),
    (F.gelu, "gelu"),
    (F.elu, "elu"),
    (F.leaky_relu, "leaky_relu"),
]


@pytest.mark.parametrize(("function", "name"), FUNCTIONS, ids=[name for _, name in FUNCTIONS])
def test_a_function_of_torch_is_refused_with_its_name(
    function: Callable[[int], nn.Module], name: str
) -> None:
    with pytest.raises(TypeError, match=f"^activation must be .* pass the name {name!r}$"):
        build_activation(function, 4)


def test_a_function_of_tensors_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.relu(x)

    with pytest.raises(TypeError, match="called with the width 4 it raised TypeError: relu"):
        build_activation(as_factory(function), 4)
    with pytest.raises(TypeError, match=r"^activation must be .*; pass a module instance$"):
        build_activation(as_factory(torch.sin), 4)


def as_factory(value: object) -> Callable[[int], nn.Module]:
    """Pass any object as a factory, for callers without a type checker."""
    return cast("Callable[[int], nn.Module]", value)


@pytest.mark.parametrize("value", [3, None, 1.5, ["relu"]], ids=repr)
def test_an_object_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(
        TypeError, match=r"^activation must be a name, an ActivationConfig, .* got "
    ):
        build_activation(as_factory(value), 4)


@pytest.mark.parametrize(
    ("result", "shown"), [(8, "8"), (None, "None"), (nn.ReLU, "<class"), (torch.tanh, "<built-in")]
)
def test_a_factory_that_does_not_return_a_module_is_refused(result: object, shown: str) -> None:
    factory = as_factory(lambda _: result)
    rule = f"activation called with the width 4 must be a torch.nn.Module instance, got {shown}"
    with pytest.raises(TypeError, match=rule):
        build_activation(factory, 4)


def test_a_factory_that_returns_the_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match="the width of its layer, 4, got 5"):
        build_activation(lambda width: PReLU(width + 1), 4)
    with pytest.raises(ValueError, match=r"it raised RuntimeError: .* its parameters must fit"):
        build_activation(lambda width: Scaled(width + 1), 4)


def test_a_factory_that_raises_is_reported_with_its_error() -> None:
    def factory(width: int) -> nn.Module:
        raise RuntimeError(f"no plan for {width}")

    with pytest.raises(TypeError, match="it raised RuntimeError: no plan for 4") as caught:
        build_activation(factory, 4)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(TypeError, match=r"it raised TypeError: .*multiple values"):
        build_activation(functools.partial(Maxout, num_pieces=3), 4)


@pytest.mark.parametrize("width", [0, -1])
def test_a_width_below_one_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width must be a positive integer, got {width}"):
        build_activation("relu", width)


# --- expansion and activation_config


def test_expansion_is_one_unless_the_module_has_the_attribute() -> None:
    class Tripled(nn.Module):
        expansion = 3

    assert expansion(nn.ReLU()) == 1
    assert expansion(Tripled()) == 3


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError), ("2", TypeError)]
)
def test_an_expansion_that_is_not_a_positive_integer_is_refused(
    value: object, error: type[Exception]
) -> None:
    class Odd(nn.Module):
        expansion = value

    with pytest.raises(error, match=f"expansion of Odd must be a positive integer, got {value!r}"):
        expansion(Odd())


def test_a_module_without_a_name_has_no_configuration() -> None:
    with pytest.raises(
        ConfigError, match=r"activation must be one of .* got Scaled.*; build the MLP"
    ):
        activation_config(Scaled(3))


def test_a_subclass_of_a_known_class_has_no_name() -> None:
    class Doubled(nn.ReLU):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 2 * super().forward(input)

    with pytest.raises(ConfigError, match="got Doubled"):
        activation_config(Doubled())
    assert build_activation(Doubled(), 1)(torch.ones(1, 1)).item() == 2.0


def test_the_configuration_of_torch_prelu_is_that_of_prelu() -> None:
    expected = ActivationConfig("prelu", init=0.1, per_unit=True)
    assert activation_config(nn.PReLU(3, init=0.1)) == expected
