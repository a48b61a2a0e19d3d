"""MLPConfig: the complete description of an MLP, as values that JSON and TOML can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Self, TypeAlias

from mlpkit import _serialization
from mlpkit._checks import check_int, check_tuple, error_message
from mlpkit.nn._options import MLPOptions, check_options_fit, keywords
from mlpkit.nn.activations import Activation, ActivationConfig, ActivationName

__all__ = ["MLPConfig", "config_of"]

NamedActivation: TypeAlias = ActivationName | ActivationConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Widths:
    """The first fields of MLPConfig: a dataclass puts the fields of its last base class first."""

    __slots__ = ()  # MLPConfig has the slots: of two bases only one may have any

    in_features: int
    hidden_features: tuple[int, ...]
    out_features: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MLPConfig(MLPOptions, _Widths):
    """The widths and options of an :class:`MLP`, as values that JSON and TOML can hold.

    The widths are those of :class:`MLP`, and the options are those of :class:`MLPOptions`, except
    that an activation is a name or an :class:`ActivationConfig`: a configuration holds no module.
    Sequences are stored as tuples. :meth:`MLP.from_config` builds the network.

    Args:
        in_features: Size of the last axis of the input, at least 1.
        hidden_features: Output width of each hidden layer, at least 1; empty for a linear model.
        out_features: Number of outputs, at least 1; None for a backbone, which has no head.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range or does not fit the others.

    Example:
        >>> from mlpkit.nn import MLPConfig
        >>> config = MLPConfig(in_features=784, hidden_features=(256, 128), out_features=10)
        >>> MLPConfig.from_json(config.to_json()) == config
        True
    """

    activation: NamedActivation | tuple[NamedActivation, ...] = "relu"
    output_activation: NamedActivation | None = None

    def __post_init__(self) -> None:
        _check_named("activation", self.activation)
        if self.output_activation is not None:
            _check_named("output_activation", self.output_activation)
        # super() without arguments fails in a dataclass with slots before Python 3.14
        MLPOptions.__post_init__(self)
        widths = _checked_widths(self.in_features, self.hidden_features, self.out_features)
        for field, value in zip(dataclasses.fields(_Widths), widths, strict=True):
            object.__setattr__(self, field.name, value)
        check_options_fit(self, self.hidden_features, self.out_features)

    def to_json(self) -> str:
        """Return the configuration as indented JSON."""
        return _serialization.to_json(self)

    def to_toml(self) -> str:
        """Return the configuration as TOML; a field that is None is left out, TOML has no null."""
        return _serialization.to_toml(self)

    @classmethod
    def from_json(cls, text: str, *, source: str = "") -> Self:
        """Build a configuration from JSON.

        Args:
            text: A JSON object; a field that is left out has its default.
            source: Name of the file, for error messages; empty for none.

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
            text: A TOML document; a field that is left out has its default, and ``out_features``
                is None if it is left out.
            source: Name of the file, for error messages; empty for none.

        Raises:
            ConfigError: If it is not TOML, a key is unknown, or a field is missing.
            TypeError: If a value has the wrong type.
            ValueError: If a value is out of range or does not fit the others.
        """
        return _serialization.from_toml(cls, text, source=source)


def config_of(
    in_features: object, hidden_features: object, out_features: object, options: MLPOptions
) -> MLPConfig:
    """Return the configuration of a network; "relu" stands for an activation without a name."""
    inputs, hidden, outputs = _checked_widths(in_features, hidden_features, out_features)
    check_options_fit(options, hidden, outputs)
    activation, output = options.activation, options.output_activation
    stored = keywords(options)
    stored["activation"] = (
        tuple(map(_stand_in, activation))
        if isinstance(activation, tuple)
        else _stand_in(activation)
    )
    stored["output_activation"] = None if output is None else _stand_in(output)
    return MLPConfig(in_features=inputs, hidden_features=hidden, out_features=outputs, **stored)


def _stand_in(activation: Activation) -> NamedActivation:
    """Return the activation itself if a configuration can hold it, else "relu"."""
    return activation if isinstance(activation, str | ActivationConfig) else "relu"


def _checked_widths(
    in_features: object, hidden_features: object, out_features: object
) -> tuple[int, tuple[int, ...], int | None]:
    """Return the widths as ints, in the order of the fields of :class:`_Widths`."""
    inputs = check_int("in_features", in_features, minimum=1)
    rule = "a sequence of positive integers"
    if type(hidden_features) is int:
        cure = f"write ({hidden_features},) for one hidden layer"
        raise TypeError(error_message("hidden_features", rule, hidden_features, cure))
    check_width = partial(check_int, minimum=1)
    hidden = check_tuple("hidden_features", hidden_features, check_width, rule=rule)
    cure = "None for a backbone without head"
    outputs = (
        None
        if out_features is None
        else check_int("out_features", out_features, minimum=1, cure=cure)
    )
    return inputs, hidden, outputs


def _check_named(argument: str, value: object) -> None:
    """Raise unless every activation is one that a configuration can hold."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            _check_named(f"{argument}[{index}]", item)
    elif not isinstance(value, str | ActivationConfig):
        rule = "the name of an activation or an ActivationConfig"
        cure = "a configuration holds no module; pass modules and factories to MLP"
        raise TypeError(error_message(argument, rule, value, cure))
