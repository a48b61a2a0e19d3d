"""Conversion of frozen dataclasses to and from dicts, JSON and TOML; unknown keys are errors.

:func:`to_saved` converts a state, such as that of a callback, to what a checkpoint can hold.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import tomli_w
from torch import Tensor

from mlpkit._checks import error_message, nearest, plain_scalar
from mlpkit.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"

#: Content of a checkpoint: tensors and plain Python values, which load without running code.
Saved: TypeAlias = (
    "Tensor | bool | int | float | str | list[Saved] | tuple[Saved, ...] | "
    "Mapping[str, Saved] | Mapping[int, Saved] | None"
)

#: Value in TOML, which has no null, of a field that is None although its default is not.
_NONE = "none"

_Scalar: TypeAlias = bool | int | float | str | None
_Config = TypeVar("_Config", bound="DataclassInstance")


def to_dict(config: DataclassInstance) -> dict[str, JSONValue]:
    """Return the fields as JSON values: tuples become lists, paths become strings."""
    return {
        field.name: _json_value(
            f"{type(config).__name__}.{field.name}", getattr(config, field.name)
        )
        for field in dataclasses.fields(config)
    }


def _json_value(name: str, value: object) -> JSONValue:
    scalar = plain_scalar(value)
    if isinstance(scalar, _Scalar):
        return _exact(scalar)
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, tuple | list):
        return [_json_value(f"{name}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _json_value(f"{name}[{key!r}]", item) for key, item in value.items()}
    raise ConfigError(error_message(name, "a number, a string, None or a sequence of these", value))


def _exact(value: _Scalar) -> _Scalar:
    """Return the value of a subclass, for instance of an enum, as an int, a float or a str."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else str.__str__(value)


def flattened(values: Mapping[str, JSONValue], prefix: str = "") -> dict[str, JSONValue]:
    """Return the values of nested dicts by dotted name."""
    flat: dict[str, JSONValue] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def to_saved(name: str, value: object) -> Saved:
    """Return a state as a checkpoint can hold it: in tensors and plain Python values.

    NumPy scalars become Python scalars, and mappings and sequences become dicts, lists and tuples.
    ``torch.load`` with ``weights_only=True`` would refuse the originals. Tensors are not copied.

    Args:
        name: Name of the state, for error messages; may be empty.
        value: The state.

    Raises:
        TypeError: If a value is something else; the message has its dotted name.
    """
    if isinstance(value, Tensor):
        return value
    scalar = plain_scalar(value)
    if isinstance(scalar, _Scalar):
        return _exact(scalar)
    if isinstance(value, Mapping):
        saved = {
            to_saved(f"a key of {name}", key): to_saved(_dotted(name, key), item)
            for key, item in value.items()
        }
        return cast("dict[str, Saved]", saved)
    if isinstance(value, list | tuple):
        items = [to_saved(_dotted(name, index), item) for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    cure = "save it as numbers, strings or tensors"
    raise TypeError(error_message(name, "a tensor or a plain value in a checkpoint", value, cure))


def _dotted(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def from_dict(cls: type[_Config], values: Mapping[str, object], *, source: str = "") -> _Config:
    """Build a configuration from JSON values; the constructor checks them.

    Args:
        cls: The frozen dataclass to build.
        values: The value of each field. A field that is left out has its default, or None if it has
            no default and may be None, since TOML has no null.
        source: Name of the file, for error messages; empty for none.

    Raises:
        ConfigError: If a key is unknown or a field is missing.
    """
    where = f" in {source}" if source else ""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            meant = nearest(str(key), list(fields))
            cure = f"did you mean {meant!r}?" if meant else "remove it"
            rule = f"one of {', '.join(sorted(fields))}"
            raise ConfigError(error_message(f"a key of {cls.__name__}{where}", rule, key, cure))
    hints = typing.get_type_hints(cls)
    arguments: dict[str, object] = {}
    for name, field in fields.items():
        if name in values:
            is_none = values[name] == _NONE and _is_none_by_name(field, hints[name])
            arguments[name] = None if is_none else _typed(hints[name], values[name], source)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            if type(None) not in typing.get_args(hints[name]):
                raise ConfigError(f"{cls.__name__}.{name} must be given{where}; add the key")
            arguments[name] = None
    return cls(**arguments)


def _is_none_by_name(field: dataclasses.Field[object], hint: object) -> bool:
    """Return whether the field cannot be left out to be None, and no text is a value of it."""
    has_default = field.default not in (None, dataclasses.MISSING)
    kinds = typing.get_args(hint)
    return has_default and type(None) in kinds and str not in kinds


def _typed(hint: object, value: object, source: str) -> object:
    """Convert a mapping to the dataclass in the type hint, and a list to a tuple."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    candidates = typing.get_args(hint) if union else (hint,)
    if isinstance(value, Mapping):
        for candidate in candidates:
            if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
                return from_dict(candidate, value, source=source)
    if isinstance(value, list):
        tuples = [found for found in candidates if typing.get_origin(found) is tuple]
        item_hint = typing.get_args(tuples[0])[0] if tuples else None  # tuple[item, ...]
        return tuple(_typed(item_hint, item, source) for item in value)
    return value


def to_json(config: DataclassInstance) -> str:
    """Return the configuration as indented JSON."""
    return json.dumps(to_dict(config), indent=2) + "\n"


def from_json(cls: type[_Config], text: str, *, source: str = "") -> _Config:
    """Build a configuration from JSON text; see :func:`from_dict`."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(_unreadable("JSON", source or cls.__name__, error)) from error
    if not isinstance(values, dict):
        raise ConfigError(error_message(f"{cls.__name__} as JSON", "an object", values))
    return from_dict(cls, values, source=source)


def to_toml(config: DataclassInstance) -> str:
    """Return the configuration as TOML; see :func:`to_toml_dict`."""
    return plain_to_toml(to_toml_dict(config))


def to_toml_dict(config: DataclassInstance) -> dict[str, JSONValue]:
    """Return what :func:`to_dict` returns, without the fields that are None.

    A field that is None although its default is not has the value ``"none"``.
    """
    hints = typing.get_type_hints(type(config))
    found: dict[str, JSONValue] = {}
    for name, plain in to_dict(config).items():
        value: object = getattr(config, name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            found[name] = to_toml_dict(value)
        elif plain is not None:
            found[name] = plain
        elif _is_none_by_name(type(config).__dataclass_fields__[name], hints[name]):
            found[name] = _NONE
    return found


def plain_to_toml(values: Mapping[str, JSONValue]) -> str:
    """Return JSON values as TOML; keys whose value is None are left out."""
    return tomli_w.dumps(_without_none(values))


def _without_none(values: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    return {key: _pruned(value) for key, value in values.items() if value is not None}


def _pruned(value: JSONValue) -> JSONValue:
    if isinstance(value, dict):
        return _without_none(value)
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def from_toml(cls: type[_Config], text: str, *, source: str = "") -> _Config:
    """Build a configuration from TOML text; see :func:`from_dict`."""
    return from_dict(cls, parse_toml(text, source=source or cls.__name__), source=source)


def parse_toml(text: str, *, source: str) -> dict[str, object]:
    """Return the top-level table of a TOML document; a syntax error names ``source``."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_unreadable("TOML", source, error)) from error


def _unreadable(language: str, source: str, error: Exception) -> str:
    return f"{source} must be valid {language}, got an error: {error}"
