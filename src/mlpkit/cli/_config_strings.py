"""A nested configuration as one word of the command line: ``sgd:lr=0.1,nesterov=true``.

The value of the first field stands before the colon, further fields follow as ``NAME=VALUE``,
separated by commas; a pair of numbers is written with a slash (``betas=0.9/0.99``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from mlpkit import _serialization

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Config = TypeVar("_Config", bound="DataclassInstance")

NONE = "none"


def from_word(cls: type[_Config], word: str) -> _Config:
    """Return the configuration that a word spells.

    Raises:
        ConfigError: If an option is unknown; the message names the nearest right one.
        ValueError: If a value is out of range.
    """
    head, _, options = word.partition(":")
    values: dict[str, object] = {dataclasses.fields(cls)[0].name: _value(head)}
    for option in options.split(",") if options else ():
        name, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"{word!r} must be NAME:OPTION=VALUE, got {option!r} as an option")
        values[name.strip().replace("-", "_")] = _value(text)
    return _serialization.from_dict(cls, values)


def _value(text: str) -> object:
    """Return a bool, a number or a pair of numbers where the text spells one, else the text."""
    if text in ("true", "false"):
        return text == "true"
    if text == NONE:
        return None
    if "/" in text:
        return tuple(_value(part) for part in text.split("/"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def to_word(config: DataclassInstance) -> str:
    """Return the shortest word that spells a configuration, without what is at its default."""
    first, *others = dataclasses.fields(config)
    head = _text(getattr(config, first.name))
    options = {field.name: getattr(config, field.name) for field in others}
    spelled = {name: value for name, value in options.items() if value is not None}
    for name in list(spelled):
        shorter = {key: value for key, value in spelled.items() if key != name}
        if _spells(config, head, shorter):
            spelled = shorter
    return _join(head, spelled)


def _spells(config: DataclassInstance, head: str, options: dict[str, object]) -> bool:
    try:
        return from_word(type(config), _join(head, options)) == config
    except (TypeError, ValueError):  # an option without default was left out
        return False


def _join(head: str, options: dict[str, object]) -> str:
    listed = ",".join(f"{name}={_text(value)}" for name, value in options.items())
    return f"{head}:{listed}" if listed else head


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(_text(item) for item in value)
    return NONE if value is None else str(value)


def word_of(cls: type[_Config], metavar: str) -> PrimitiveConstructorSpec[_Config]:
    """Return how the command line reads and shows a configuration."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: from_word(cls, words[0]),
        is_instance=lambda value: isinstance(value, cls),
        str_from_instance=lambda config: [to_word(config)],
    )


def optional_word_of(cls: type[_Config], metavar: str) -> PrimitiveConstructorSpec[_Config | None]:
    """Return the same for a configuration that may be absent, spelled ``none``."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{metavar}|{NONE}",
        instance_from_str=lambda words: None if words[0] == NONE else from_word(cls, words[0]),
        is_instance=lambda value: value is None or isinstance(value, cls),
        str_from_instance=lambda config: [NONE if config is None else to_word(config)],
    )


def words_of(
    cls: type[_Config], metavar: str
) -> PrimitiveConstructorSpec[_Config | tuple[_Config, ...]]:
    """Return the same for one configuration for all layers, or one for each."""

    def read(words: list[str]) -> _Config | tuple[_Config, ...]:
        configs = tuple(from_word(cls, word) for word in words)
        return configs[0] if len(configs) == 1 else configs

    def show(value: _Config | str | Sequence[_Config | str]) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, Sequence):
            return [word for item in value for word in show(item)]
        return [to_word(value)]

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, cls | str | tuple),
        str_from_instance=show,
    )
