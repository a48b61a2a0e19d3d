"""Options that only some kinds of a configuration have: defaults and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from mlpkit._checks import error_message

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T")


class Required:
    """Marks an option without a default, which must be given."""


REQUIRED: Final = Required()

Default: TypeAlias = "bool | int | float | str | tuple[float, float] | Required | None"


def fill_options(config: DataclassInstance, kind: str, defaults: Mapping[str, Default]) -> None:
    """Set the options of a kind that are None to their defaults.

    Args:
        config: A frozen dataclass; every field whose default is None is an option.
        kind: The kind, for error messages.
        defaults: The options of the kind with their defaults.

    Raises:
        ValueError: If a required option is None, or an option of another kind is not None.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in defaults:
            default = defaults[field.name]
            if value is None and isinstance(default, Required):
                raise ValueError(error_message(field.name, f"given for {kind!r}", value))
            if value is None:
                object.__setattr__(config, field.name, default)
        elif field.default is None and value is not None:
            cure = "omit it, or choose a kind that has this option"
            raise ValueError(error_message(field.name, f"None for {kind!r}", value, cure))


def required(value: _T | None) -> _T:
    """Return the value of an option for which :func:`fill_options` has set a default."""
    if value is None:
        raise RuntimeError("an option of another kind was read; this is a bug in mlpkit")
    return value
