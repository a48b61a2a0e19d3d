"""MLPConfig: everything that decides what an MLP is, in values that a file can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self, TypeAlias, get_args

from mlpkit import _serialization
from mlpkit._checks import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_probability,
    error_message,
)
from mlpkit.nn.activations import ActivationConfig, ActivationName, _checked_name

__all__ = ["InitName", "MLPConfig", "NormName"]

NormName = Literal["batch", "layer", "rms"]
InitName = Literal["auto", "torch"]

NamedActivation: TypeAlias = ActivationName | ActivationConfig


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MLPConfig:
    """What an :class:`MLP` is, in values that a file can hold.

    It has the arguments of :class:`MLP` with the same meaning, except those that say where and how
    the weights are made (``device``, ``dtype``, ``generator``), and it holds no module: an
    activation is a name or an :class:`ActivationConfig`. Sequences are stored as tuples.
    Build the network with :meth:`MLP.from_config`.

    Args:
        in_features: Features in the last axis of the input, at least 1.
        hidden_features: What leaves each hidden layer; empty for a linear model.
        out_features: Features of the output; None for a backbone without head.
        activation: One for all hidden layers, or one for each.
        output_activation: Applied to the output of the head; None for logits.
        norm: Normalization before each activation; None for none.
        dropout: Probability in [0, 1) of zeroing what leaves a hidden layer; one for all, or one
            for each.
        input_dropout: Probability in [0, 1) of zeroing an input of the network.
        bias: Whether every linear layer has a bias.
        residual: Whether hidden layers from the second on add their input to their output.
        init: How weights start.
        max_norm: Largest Euclidean norm of the weights into one unit, above 0; None for no limit.
        flatten: Whether all axes of the input but the first are flattened.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range or does not fit the others.

    Example:
        >>> from mlpkit.nn import MLPConfig
        >>> config = MLPConfig(in_features=784, hidden_features=(256, 128), out_features=10)
        >>> MLPConfig.from_json(config.to_json()) == config
        True
    """

    in_features: int
    hidden_features: tuple[int, ...]
    out_features: int | None
    activation: NamedActivation | tuple[NamedActivation, ...] = "relu"
    output_activation: NamedActivation | None = None
    norm: NormName | None = None
    dropout: float | tuple[float, ...] = 0.0
    input_dropout: float = 0.0
    bias: bool = True
    residual: bool = False
    init: InitName = "auto"
    max_norm: float | None = None
    flatten: bool = False

    def __post_init__(self) -> None:
        hidden = widths("hidden_features", self.hidden_features)
        depth = len(hidden)
        checked: dict[str, object] = {
            "in_features": check_int("in_features", self.in_features, minimum=1),
            "hidden_features": hidden,
            "out_features": _out_features(self.out_features),
            "activation": _activations(self.activation, depth),
            "output_activation": _output_activation(self.output_activation, self.out_features),
            "norm": None
            if self.norm is None
            else check_choice("norm", self.norm, get_args(NormName)),
            "dropout": _dropout(self.dropout, depth, has_head=self.out_features is not None),
            "input_dropout": _probability("input_dropout", self.input_dropout),
            "bias": check_bool("bias", self.bias),
            "residual": _residual(self.residual, hidden),
            "init": check_choice("init", self.init, get_args(InitName)),
            "max_norm": _max_norm(self.max_norm),
            "flatten": check_bool("flatten", self.flatten),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> str:
        """Return the configuration as indented JSON."""
        return _serialization.to_json(self)

    def to_toml(self) -> str:
        """Return the configuration as TOML, which has no null: what is None is left out."""
        return _serialization.to_toml(self)

    @classmethod
    def from_json(cls, text: str, *, source: str = "") -> Self:
        """Build a configuration from JSON.

        Args:
            text: The JSON text, an object.
            source: Where it comes from, for the message; empty where that goes without saying.

        Raises:
            ConfigError: If it is not JSON, a key is unknown, or a field is missing.
            TypeError: If a value has the wrong type.
            ValueError: If a value is out of range or does not fit the others.
        """
        return _serialization.from_json(cls, text, source=source)

    @classmethod
    def from_toml(cls, text: str, *, source: str = "") -> Self:
        """Build a configuration from TOML.

        Args:
            text: The TOML text; a missing ``out_features`` is None, a backbone.
            source: Where it comes from, for the message; empty where that goes without saying.

        Raises:
            ConfigError: If it is not TOML, a key is unknown, or a field is missing.
            TypeError: If a value has the wrong type.
            ValueError: If a value is out of range or does not fit the others.
        """
        return _serialization.from_toml(cls, text, source=source)


def widths(argument: str, value: object) -> tuple[int, ...]:
    """Return the widths as a tuple of ints, whatever sequence the caller has them in."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        cure = f"write ({value},) for one hidden layer" if type(value) is int else None
        rule = "a sequence of positive integers"
        raise TypeError(error_message(argument, rule, value, cure))
    return tuple(
        check_int(f"{argument}[{index}]", item, minimum=1) for index, item in enumerate(value)
    )


def check_length(argument: str, items: Sequence[object], depth: int) -> None:
    """Raise unless there is one item for each of ``depth`` hidden layers."""
    if len(items) != depth:
        rule = f"one value, or a sequence of {depth}, one for each hidden layer"
        raise ValueError(error_message(argument, rule, list(items)))


def check_has_output(output_activation: object, out_features: int | None) -> None:
    """Raise if there is an output activation and no output layer for it."""
    if output_activation is not None and out_features is None:
        cure = "a backbone has no output layer; give the last hidden layer its own activation"
        rule = "None where out_features is None"
        raise ValueError(error_message("output_activation", rule, output_activation, cure))


def _out_features(value: object) -> int | None:
    if value is None:
        return None
    return check_int("out_features", value, minimum=1, cure="None for a backbone without head")


def _activations(value: object, depth: int) -> NamedActivation | tuple[NamedActivation, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        check_length("activation", value, depth)
        return tuple(_named(f"activation[{index}]", item) for index, item in enumerate(value))
    return _named("activation", value)


def _named(argument: str, value: object) -> NamedActivation:
    if isinstance(value, ActivationConfig):
        return value
    if isinstance(value, str):
        return _checked_name(argument, value)
    rule = "the name of an activation or an ActivationConfig"
    cure = "a configuration holds no module; pass modules and factories to MLP itself"
    raise TypeError(error_message(argument, rule, value, cure))


def _output_activation(value: object, out_features: int | None) -> NamedActivation | None:
    check_has_output(value, out_features)
    if value is None:
        return None
    if isinstance(value, str) and value.lower().replace("_", "") in ("softmax", "logsoftmax"):
        cure = "the softmax is inside the loss, so the network returns logits"
        raise ValueError(error_message("output_activation", "None for a classifier", value, cure))
    return _named("output_activation", value)


def _max_norm(value: object) -> float | None:
    if value is None:
        return None
    return check_float("max_norm", value, above=0.0, cure="None for no limit")


def _probability(argument: str, value: object) -> float:
    cure = "it is the probability of zeroing, and at 1 nothing would be left"
    return check_probability(argument, value, cure=cure if value == 1 else None)


def _dropout(value: object, depth: int, *, has_head: bool) -> float | tuple[float, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return _probability("dropout", value)
    check_length("dropout", value, depth)
    checked = tuple(_probability(f"dropout[{index}]", item) for index, item in enumerate(value))
    if checked and checked[-1] != 0.0 and not has_head:
        rule = "0 where out_features is None"
        cure = "dropout never follows the output; put it on the input of what comes next"
        raise ValueError(error_message(f"dropout[{depth - 1}]", rule, checked[-1], cure))
    return checked


def _residual(value: object, hidden: tuple[int, ...]) -> bool:
    residual = check_bool("residual", value)
    if residual and len(set(hidden)) > 1:
        rule = "of equal widths where residual is True"
        cure = "make them equal, or pass residual=False"
        raise ValueError(error_message("hidden_features", rule, hidden, cure))
    return residual
