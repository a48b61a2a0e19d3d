"""Options of a configuration that belong to one kind only: filled in there, refused elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from mlpkit._checks import error_message

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T")


class Required:
    """Marks an option that has no default for its kind."""


REQUIRED: Final = Required()

Default: TypeAlias = "bool | int | float | str | tuple[float, float] | Required | None"


def fill_defaults(config: DataclassInstance, kind: str, defaults: Mapping[str, Default]) -> None:
    """Fill in the options of this kind that were left out, and refuse those of other kinds.

    An option is any field that may be None; ``defaults`` holds those that the kind has.
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
            cure = "leave it out, or choose a kind that has it"
            raise ValueError(error_message(field.name, f"None for {kind!r}", value, cure))


def required(value: _T | None) -> _T:
    """Return an option that :func:`fill_defaults` has filled in."""
    if value is None:
        raise RuntimeError("an option of another kind was read; this is a defect of mlpkit")
    return value
