"""The inputs of training data that are known before the first batch."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["known_inputs"]

_EXAMINED_ROWS = 1024  # of examples in files; as many as the models examine


@runtime_checkable
class _MappedExamples(Protocol):
    """Examples that may be in files."""

    @property
    def is_mapped(self) -> bool: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> object: ...


def known_inputs(train: object) -> Tensor | None:
    """Return the inputs of all examples; None if they are not known before the first batch.

    Of examples in files, which may be larger than memory, evenly spaced ones are returned.
    """
    data: object = getattr(train, "data", train)
    if isinstance(data, _MappedExamples) and data.is_mapped:
        data = data[:: -(-len(data) // _EXAMINED_ROWS) or 1]
    found: object = getattr(data, "inputs", None)
    return found if isinstance(found, Tensor) and found.ndim else None
