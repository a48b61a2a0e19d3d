"""Activations by name or by class: their options, their widths, a new module for each layer."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from mlpkit._checks import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    error_message,
    store_checked,
)
from mlpkit._serialization import from_dict
from mlpkit.errors import ConfigError
from mlpkit.nn.activations._gated import GEGLU, GLU, ReGLU, SwiGLU
from mlpkit.nn.activations._maxout import Maxout
from mlpkit.nn.activations._prelu import PReLU

__all__ = [
    "Activation",
    "ActivationConfig",
    "ActivationName",
    "activation_config",
    "build_activation",
    "check_activation",
    "expansion",
    "is_known",
]

ActivationName = Literal[
    "celu",
    "elu",
    "geglu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "identity",
    "leaky_relu",
    "logsigmoid",
    "maxout",
    "mish",
    "prelu",
    "reglu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "swiglu",
    "tanh",
    "tanhshrink",
    "threshold",
]

_Option: TypeAlias = "bool | int | float | str | None"


@dataclasses.dataclass(frozen=True)
class _Known:
    """The class that a name stands for, and its options with their defaults (None: required)."""

    module: type[nn.Module]
    options: Mapping[str, _Option] = dataclasses.field(default_factory=dict)


# Every option has the name of the constructor's parameter, except PReLU's per_unit.
_KNOWN: dict[ActivationName, _Known] = {
    "celu": _Known(nn.CELU, {"alpha": 1.0}),
    "elu": _Known(nn.ELU, {"alpha": 1.0}),
    "geglu": _Known(GEGLU),
    "gelu": _Known(nn.GELU, {"approximate": "none"}),
    "glu": _Known(GLU),
    "hardshrink": _Known(nn.Hardshrink, {"lambd": 0.5}),
    "hardsigmoid": _Known(nn.Hardsigmoid),
    "hardswish": _Known(nn.Hardswish),
    "hardtanh": _Known(nn.Hardtanh, {"min_val": -1.0, "max_val": 1.0}),
    "identity": _Known(nn.Identity),
    "leaky_relu": _Known(nn.LeakyReLU, {"negative_slope": 0.01}),
    "logsigmoid": _Known(nn.LogSigmoid),
    "maxout": _Known(Maxout, {"num_pieces": 2}),
    "mish": _Known(nn.Mish),
    "prelu": _Known(PReLU, {"init": 0.25, "per_unit": False}),
    "reglu": _Known(ReGLU),
    "relu": _Known(nn.ReLU),
    "relu6": _Known(nn.ReLU6),
    "rrelu": _Known(nn.RReLU, {"lower": 1 / 8, "upper": 1 / 3}),
    "selu": _Known(nn.SELU),
    "sigmoid": _Known(nn.Sigmoid),
    "silu": _Known(nn.SiLU),
    "softplus": _Known(nn.Softplus, {"beta": 1.0, "threshold": 20.0}),
    "softshrink": _Known(nn.Softshrink, {"lambd": 0.5}),
    "softsign": _Known(nn.Softsign),
    "swiglu": _Known(SwiGLU),
    "tanh": _Known(nn.Tanh),
    "tanhshrink": _Known(nn.Tanhshrink),
    "threshold": _Known(nn.Threshold, {"threshold": None, "value": None}),
}

_NAMES: tuple[ActivationName, ...] = tuple(_KNOWN)
_NAME_OF: dict[type[nn.Module], ActivationName] = {
    known.module: name for name, known in _KNOWN.items()
}
# Names in other libraries, to suggest ours in an error message.
_OTHER_WORDS: dict[str, ActivationName] = {
    "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish",
    "hard_tanh": "hardtanh",
    "leaky": "leaky_relu",
    "linear": "identity",
    "log_sigmoid": "logsigmoid",
    "logistic": "sigmoid",
    "lrelu": "leaky_relu",
    "none": "identity",
    "swish": "silu",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ActivationConfig:
    """An activation by name, with its options.

    An option that is None takes the default of that activation. An option that the activation does
    not have must be None. Once constructed, every option that applies has a value and all others
    are None, so two configurations are equal if and only if they build the same activation.

    Args:
        name: Name of the activation.
        num_pieces: ``maxout``: number of linear pieces per unit, at least 1; 2 by default.
        negative_slope: ``leaky_relu``: slope for negative inputs; 0.01 by default.
        init: ``prelu``: initial slope for negative inputs; 0.25 by default.
        per_unit: ``prelu``: whether each unit has a separate slope; False by default.
        alpha: ``elu``, ``celu``: scale of the negative part, above 0; 1 by default.
        approximate: ``gelu``: ``"none"`` (exact, the default) or ``"tanh"``.
        lower: ``rrelu``: lower bound of the random slope; 1/8 by default.
        upper: ``rrelu``: upper bound of the random slope; 1/3 by default.
        min_val: ``hardtanh``: smallest output; -1 by default.
        max_val: ``hardtanh``: largest output; 1 by default.
        lambd: ``hardshrink``, ``softshrink``: inputs in [-lambd, lambd] give 0; 0.5 by default.
        beta: ``softplus``: the parameter beta, above 0; 1 by default.
        threshold: ``softplus``: the output is linear where ``beta * x`` exceeds it; 20 by default.
            ``threshold``: inputs up to it are replaced by ``value``; required.
        value: ``threshold``: the replacement; required.

    Raises:
        TypeError: If an option has the wrong type or a required one is missing.
        ValueError: If the name is unknown, or an option is out of range or does not apply.

    Example:
        >>> from mlpkit.nn import ActivationConfig
        >>> ActivationConfig("leaky_relu")
        ActivationConfig('leaky_relu', negative_slope=0.01)
    """

    name: ActivationName = dataclasses.field(kw_only=False)
    num_pieces: int | None = None
    negative_slope: float | None = None
    init: float | None = None
    per_unit: bool | None = None
    alpha: float | None = None
    approximate: Literal["none", "tanh"] | None = None
    lower: float | None = None
    upper: float | None = None
    min_val: float | None = None
    max_val: float | None = None
    lambd: float | None = None
    beta: float | None = None
    threshold: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        store_checked(self, {"name": _checked_name}, prefix="ActivationConfig.")
        options = _KNOWN[self.name].options
        for field in dataclasses.fields(self)[1:]:
            given: _Option = getattr(self, field.name)
            argument = f"ActivationConfig.{field.name}"
            if field.name not in options:
                if given is not None:
                    owners = [repr(name) for name in _NAMES if field.name in _KNOWN[name].options]
                    cure = f"it is an option of {' and '.join(owners)}"
                    raise ValueError(
                        error_message(argument, f"None for {self.name!r}", given, cure)
                    )
                continue
            chosen = options[field.name] if given is None else given
            if chosen is None:
                raise TypeError(error_message(argument, f"given for {self.name!r}", None))
            object.__setattr__(self, field.name, _CHECKS[field.name](argument, chosen))
        if "lower" in options:
            check_float("ActivationConfig.lower", self.lower, maximum=self.upper)
        if "min_val" in options:
            check_float("ActivationConfig.min_val", self.min_val, below=self.max_val)

    def __repr__(self) -> str:
        options = [f"{name}={getattr(self, name)!r}" for name in _KNOWN[self.name].options]
        return f"ActivationConfig({', '.join([repr(self.name), *options])})"


_CHECKS: dict[str, Callable[[str, object], _Option]] = {
    "num_pieces": lambda argument, value: check_int(argument, value, minimum=1),
    "negative_slope": check_float,
    "init": check_float,
    "per_unit": check_bool,
    "alpha": lambda argument, value: check_float(argument, value, above=0.0),
    "approximate": lambda argument, value: check_choice(argument, value, ("none", "tanh")),
    "lower": check_float,
    "upper": check_float,
    "min_val": check_float,
    "max_val": check_float,
    "lambd": lambda argument, value: check_float(argument, value, minimum=0.0),
    "beta": lambda argument, value: check_float(argument, value, above=0.0),
    "threshold": check_float,
    "value": check_float,
}

Activation: TypeAlias = (
    ActivationName | ActivationConfig | nn.Module | type[nn.Module] | Callable[[int], nn.Module]
)

_RULE = "a name, an ActivationConfig, a module instance or class, or a factory of the width"


def _checked_name(argument: str, name: object) -> ActivationName:
    """Return ``name`` if it is known, else raise an error that suggests the nearest name."""
    if isinstance(name, str) and name.lower() in _OTHER_WORDS:
        rule = f"one of {', '.join(repr(known) for known in _NAMES)}"
        meant = _OTHER_WORDS[name.lower()]
        raise ValueError(error_message(argument, rule, name, f"did you mean {meant!r}?"))
    return check_choice(argument, name, _NAMES)


def check_activation(argument: str, value: object) -> Activation:
    """Return ``value`` if it can be an activation, as far as that is known without a width.

    Raises:
        TypeError: If it is a function of tensors or of a type that is never an activation.
        ValueError: If it is an unknown name.
    """
    if isinstance(value, str):
        return _checked_name(argument, value)
    if isinstance(value, ActivationConfig | nn.Module):
        return value
    if not callable(value) or (isinstance(value, type) and not issubclass(value, nn.Module)):
        raise TypeError(error_message(argument, _RULE, value))
    function = getattr(value, "__name__", "")
    if value is getattr(torch, function, None) or value is getattr(F, function, None):
        name = _OTHER_WORDS.get(function) or next((n for n in _NAMES if n == function), None)
        cure = "pass a module instance" if name is None else f"pass the name {name!r}"
        raise TypeError(error_message(argument, _RULE, value, cure))
    return value


def expansion(module: nn.Module) -> int:
    """Return the number of input features of an activation per output feature.

    It is the integer attribute ``expansion`` of the module, and 1 if the module has none. The
    linear layer before the activation has ``width * expansion`` outputs.

    Args:
        module: An activation, which maps ``(*, width * expansion)`` to ``(*, width)``.

    Raises:
        TypeError: If ``module`` is not a module or its ``expansion`` not an integer.
        ValueError: If its ``expansion`` is less than 1.

    Example:
        >>> from mlpkit.nn import Maxout, expansion
        >>> expansion(Maxout(num_pieces=5))
        5
    """
    if not isinstance(module, nn.Module):
        raise TypeError(error_message("module", "a torch.nn.Module", module))
    value: object = getattr(module, "expansion", 1)
    return check_int(f"expansion of {type(module).__name__}", value, minimum=1)


def build_activation(
    activation: Activation,
    width: int,
    *,
    argument: str = "activation",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return a new activation module for one layer.

    - A name or an :class:`ActivationConfig` is built.
    - A module instance is deep-copied.
    - A module class is built with the defaults of its constructor, and with ``num_parameters``
      equal to the width if the constructor has that parameter. So ``nn.ReLU`` builds the same
      module as ``"relu"``, and ``nn.PReLU`` has a slope for each unit, while ``"prelu"`` has one
      slope for the layer. A class whose constructor requires an argument, such as
      :class:`torch.nn.Threshold` or :class:`torch.nn.MultiheadAttention`, raises a TypeError.
    - A factory is called with the width, and the module that it returns is not copied.

    In the result no module works in place. :class:`torch.nn.PReLU` and :class:`torch.nn.GLU` are
    replaced by :class:`PReLU` and :class:`GLU`, which act on the last axis.

    Args:
        activation: A name, a configuration, a module instance, a module class, or a factory: a
            callable that takes the width and returns a module.
        width: Number of output features, at least 1.
        argument: Name of the argument in error messages.
        device: Device of the parameters; None leaves them where they are.
        dtype: Floating dtype of the parameters; None leaves it unchanged.

    Raises:
        TypeError: If ``activation`` is a class that cannot be built without arguments, a function
            of tensors, or anything else that is not an activation.
        ValueError: If the name is unknown, or the module does not map ``(*, width * expansion)``
            to ``(*, width)``.

    Example:
        >>> from torch import nn
        >>> from mlpkit.nn import build_activation
        >>> build_activation("maxout", 240)
        Maxout(num_pieces=2)
        >>> build_activation(nn.ELU, 240)
        ELU(alpha=1.0)
    """
    width = check_int("width", width, minimum=1)
    activation = check_activation(argument, activation)
    if isinstance(activation, str):
        activation = ActivationConfig(activation)
    if isinstance(activation, ActivationConfig):
        module = _from_config(activation, width)
    else:
        if isinstance(activation, nn.Module):
            given = copy.deepcopy(activation)
        elif isinstance(activation, type):
            given = _from_class(activation, width, argument)
        else:
            given = _from_factory(activation, width, argument)
        module = _checked_module(given, width, argument)
    for part in module.modules():
        # A ReLU that works in place overwrites values that a skip connection still needs.
        if getattr(part, "inplace", False) is True:
            vars(part)["inplace"] = False
    return module.to(device=device, dtype=dtype)


def _from_config(config: ActivationConfig, width: int) -> nn.Module:
    known = _KNOWN[config.name]
    options: dict[str, _Option] = {name: getattr(config, name) for name in known.options}
    if "per_unit" in options:
        options["num_parameters"] = width if options.pop("per_unit") else 1
    return known.module(**options)


def _from_class(cls: type[nn.Module], width: int, argument: str) -> nn.Module:
    """Build a module with the defaults of its constructor, and one parameter for each unit."""
    has_width = "num_parameters" in inspect.signature(cls).parameters
    try:
        return cls(num_parameters=width) if has_width else cls()
    except Exception as error:
        call = f"{cls.__name__}({f'num_parameters={width}' if has_width else ''})"
        cure = f"{call} raised {type(error).__name__}: {error}; pass an instance or a factory"
        raise TypeError(error_message(argument, _RULE, cls, cure)) from error


def _from_factory(factory: Callable[[int], nn.Module], width: int, argument: str) -> nn.Module:
    """Call a factory, and raise if it fails or does not return a module."""
    try:
        module: object = factory(width)
    except Exception as error:
        cure = f"called with the width {width} it raised {type(error).__name__}: {error}"
        raise TypeError(error_message(argument, _RULE, factory, cure)) from error
    if isinstance(module, nn.Module):
        return module
    called = f"{argument} called with the width {width}"
    raise TypeError(error_message(called, "a torch.nn.Module instance", module))


def is_known(module: nn.Module) -> bool:
    """Return whether the class of ``module``, or the class that replaces it, has a name."""
    return _replacement(type(module)) in _NAME_OF


def _replacement(cls: type) -> type:
    """Return mlpkit's class for a class of torch that does not act on the last axis."""
    return {nn.PReLU: PReLU, nn.GLU: GLU}.get(cls, cls)


def _checked_module(module: nn.Module, width: int, argument: str) -> nn.Module:
    """Return a module that maps (*, width * expansion) to (*, width), or raise."""
    if type(module) is nn.PReLU:
        module = _last_axis_prelu(module)
    elif type(module) is nn.GLU:
        if module.dim != -1:
            cure = "the features of an MLP are on the last axis"
            raise ValueError(error_message(f"dim of {argument}", "-1", module.dim, cure))
        module = GLU().train(module.training)
    if isinstance(module, PReLU) and module.num_parameters not in (1, width):
        rule = f"1 or the width of its layer, {width}"
        cure = "pass the class PReLU to have one slope for each unit"
        raise ValueError(
            error_message(f"num_parameters of {argument}", rule, module.num_parameters, cure)
        )
    if not is_known(module):
        _probe(module, width, argument)
    return module


def _last_axis_prelu(module: nn.PReLU) -> PReLU:
    """Return a PReLU with the parameter and the mode of torch's."""
    weight = module.weight
    prelu = PReLU(module.num_parameters, module.init, weight.device, weight.dtype)
    prelu.weight = weight
    return prelu.train(module.training)


def _probe(module: nn.Module, width: int, argument: str) -> None:
    """Run a copy of an unknown module once, and raise if its output has the wrong shape."""
    features = width * expansion(module)
    like = next(itertools.chain(module.parameters(), module.buffers()), torch.empty(0))
    dtype = like.dtype if like.is_floating_point() else None
    rule = f"a module that maps (*, {features}) to (*, {width})"
    cure = "its parameters must fit the width, and its attribute expansion (1 if absent) must be "
    cure += "the number of input features per output feature"
    try:
        with torch.no_grad():  # a copy in eval mode, so the state of the module does not change
            probe = torch.zeros(2, features, device=like.device, dtype=dtype)
            output: object = copy.deepcopy(module).eval()(probe)
    except Exception as error:
        reason = f"it raised {type(error).__name__}: {error}"
        raise ValueError(error_message(argument, rule, module, f"{reason}; {cure}")) from error
    if not isinstance(output, torch.Tensor):
        reason = f"it returned a {type(output).__name__}"
        raise TypeError(error_message(argument, rule, module, reason))
    if output.shape != (2, width):
        shape = f"it maps (2, {features}) to {tuple(output.shape)}"
        raise ValueError(error_message(argument, rule, module, f"{shape}; {cure}"))


def activation_config(module: nn.Module) -> ActivationConfig:
    """Return the configuration that builds an activation like ``module``.

    Learned slopes are weights and not part of the configuration, which has the initial slope.

    Args:
        module: An activation whose class has a name.

    Raises:
        ConfigError: If the class has no name.

    Example:
        >>> from mlpkit.nn import Maxout, activation_config
        >>> activation_config(Maxout(num_pieces=5)).name
        'maxout'
    """
    name = _NAME_OF.get(_replacement(type(module)))
    if name is None:
        rule = f"one of the activations that have a name ({', '.join(_NAMES)}) to be saved"
        cure = "build the MLP from code and save its state_dict"
        raise ConfigError(error_message("activation", rule, module, cure))
    options: dict[str, _Option] = {
        option: getattr(module, option) for option in _KNOWN[name].options if option != "per_unit"
    }
    if isinstance(module, PReLU | nn.PReLU):
        options["per_unit"] = module.num_parameters > 1
    return from_dict(ActivationConfig, {"name": name, **options})
