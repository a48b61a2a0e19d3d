"""Nested configurations as command-line arguments such as ``sgd:lr=0.1,nesterov=true``.

The value of the first field comes before the colon. Other fields follow as ``NAME=VALUE``,
separated by commas. A pair of numbers is written with a slash (``betas=0.9/0.99``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from mlpkit import _serialization
from mlpkit._checks import check_choice, error_message
from mlpkit.errors import ConfigError
from mlpkit.training import ClassWeights, Monitor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Config = TypeVar("_Config", bound="DataclassInstance")

NONE = "none"
# None, True and False, outside of quotes
_PYTHON_VALUE = re.compile(r"""(?:'[^']*'|"[^"]*")|\b(None|True|False)\b""")


def parse_config(cls: type[_Config], text: str) -> _Config:
    """Parse a configuration.

    The messages of the errors have the words of the command line.

    Raises:
        ConfigError: If an option is unknown; the message suggests the closest known option.
        ValueError: If a value has the wrong type or is out of range.
    """
    try:
        return _parse_config(cls, text)
    except (TypeError, ValueError) as error:
        kind = ConfigError if isinstance(error, ConfigError) else ValueError
        raise kind(_as_strings(cls, str(error))) from error


def _parse_config(cls: type[_Config], text: str) -> _Config:
    head, _, options = text.partition(":")
    values: dict[str, object] = {dataclasses.fields(cls)[0].name: _parse_value(head)}
    for option in options.split(",") if options else ():
        name, equals, value = option.partition("=")
        if not equals:
            raise ValueError(error_message("OPTION", "followed by =VALUE", option))
        values[name.strip().replace("-", "_")] = _parse_value(value)
    return _serialization.from_dict(cls, values)


def _as_strings(cls: type[DataclassInstance], message: str) -> str:
    """Return an error message of a configuration in the words of NAME:OPTION=VALUE."""
    first = dataclasses.fields(cls)[0].name.upper()
    head = "NAME" if first == "KIND" else first
    message = message.replace(f"a key of {cls.__name__} must", "OPTION must")
    message = re.sub(r"^\w+\.(?=\w+ must )", "", message)  # the name of the class or of the field
    message = re.sub(rf"^{first}(?= must )", head, message, flags=re.IGNORECASE)
    return _PYTHON_VALUE.sub(lambda match: match[1].lower() if match[1] else match[0], message)


def _parse_value(text: str) -> object:
    """Return the text as None, a bool, a number or a tuple of these, else unchanged."""
    if text in ("true", "false"):
        return text == "true"
    if text == NONE:
        return None
    if "/" in text:
        return tuple(_parse_value(part) for part in text.split("/"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def format_config(config: DataclassInstance) -> str:
    """Return the shortest string that parses to a configuration, without its defaults."""
    first, *others = dataclasses.fields(config)
    head = _format_value(getattr(config, first.name))
    options = {field.name: getattr(config, field.name) for field in others}
    needed = {name: value for name, value in options.items() if value is not None}
    for name in list(needed):
        shorter = {key: value for key, value in needed.items() if key != name}
        if _parses_to(config, head, shorter):
            needed = shorter
    return _join(head, needed)


def _parses_to(config: DataclassInstance, head: str, options: dict[str, object]) -> bool:
    try:
        return parse_config(type(config), _join(head, options)) == config
    except (TypeError, ValueError):  # an option without a default is missing
        return False


def _join(head: str, options: dict[str, object]) -> str:
    listed = ",".join(f"{name}={_format_value(value)}" for name, value in options.items())
    return f"{head}:{listed}" if listed else head


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(_format_value(item) for item in value)
    return NONE if value is None else str(value)


def config_spec(cls: type[_Config], metavar: str) -> PrimitiveConstructorSpec[_Config]:
    """Return tyro's specification of an argument that is one configuration."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda strings: parse_config(cls, strings[0]),
        is_instance=lambda value: isinstance(value, cls),
        str_from_instance=lambda config: [format_config(config)],
    )


def parse_class_weights(strings: Sequence[str]) -> ClassWeights | None:
    """Return class weights: ``balanced``, ``none``, a number per class, or ``CLASS=NUMBER`` each.

    Raises:
        ValueError: If a weight is no number.
    """
    if len(strings) == 1 and strings[0].lower() == NONE:
        return None
    if list(strings) == ["balanced"]:
        return "balanced"
    if strings and all("=" in text for text in strings):
        pairs = (text.rpartition("=") for text in strings)
        return {name: float(weight) for name, _, weight in pairs}
    return tuple(float(text) for text in strings)


def _format_class_weights(weights: ClassWeights | None) -> list[str]:
    if weights is None:
        return [NONE]
    if isinstance(weights, str):
        return [weights]
    if isinstance(weights, Mapping):
        return [f"{name}={weight}" for name, weight in weights.items()]
    return [str(weight) for weight in weights]


CLASS_WEIGHTS: PrimitiveConstructorSpec[ClassWeights | None] = PrimitiveConstructorSpec(
    nargs="*",
    metavar="balanced|NUMBER...|CLASS=NUMBER...",
    instance_from_str=parse_class_weights,
    is_instance=lambda value: value is None or isinstance(value, str | tuple | Mapping),
    str_from_instance=_format_class_weights,
)


def _parse_monitor(strings: Sequence[str]) -> str | Monitor:
    name, colon, mode = strings[0].partition(":")
    return _serialization.from_dict(Monitor, {"name": name, "mode": mode}) if colon else name


def _format_monitor(monitor: str | Monitor) -> list[str]:
    return [monitor if isinstance(monitor, str) else f"{monitor.name}:{monitor.mode}"]


#: A column of the history, or NAME:min or NAME:max with its direction.
MONITOR: PrimitiveConstructorSpec[str | Monitor] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="NAME[:min|max]",
    instance_from_str=_parse_monitor,
    is_instance=lambda value: isinstance(value, str | Monitor),
    str_from_instance=_format_monitor,
)

_PROGRESS: Mapping[str, bool | Literal["lines"] | None] = {
    "auto": None,
    "bar": True,
    "lines": "lines",
    "off": False,
}


def _parse_progress(strings: Sequence[str]) -> bool | Literal["lines"] | None:
    return _PROGRESS[check_choice("progress", strings[0], tuple(_PROGRESS))]


PROGRESS: PrimitiveConstructorSpec[bool | Literal["lines"] | None] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="|".join(_PROGRESS),
    instance_from_str=_parse_progress,
    is_instance=lambda value: value in _PROGRESS.values(),
    str_from_instance=lambda value: [key for key, one in _PROGRESS.items() if one is value],
    choices=tuple(_PROGRESS),
)


def optional_config_spec(
    cls: type[_Config], metavar: str
) -> PrimitiveConstructorSpec[_Config | None]:
    """Return tyro's specification of an argument that is one configuration or ``none``."""

    def parse(strings: list[str]) -> _Config | None:
        return None if strings[0] == NONE else parse_config(cls, strings[0])

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{metavar}|{NONE}",
        instance_from_str=parse,
        is_instance=lambda value: value is None or isinstance(value, cls),
        str_from_instance=lambda config: [NONE if config is None else format_config(config)],
    )


def config_or_configs_spec(
    cls: type[_Config], metavar: str
) -> PrimitiveConstructorSpec[_Config | tuple[_Config, ...]]:
    """Return tyro's specification of one configuration for all layers, or one per layer."""

    def parse(strings: list[str]) -> _Config | tuple[_Config, ...]:
        configs = tuple(parse_config(cls, string) for string in strings)
        return configs[0] if len(configs) == 1 else configs

    def format_(value: _Config | str | Sequence[_Config | str]) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, Sequence):
            return [string for item in value for string in format_(item)]
        return [format_config(value)]

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, cls | str | tuple),
        str_from_instance=format_,
    )
