"""Inputs that are mapped from a file, and selections of them, which are read when needed."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit.data._validation import check_finite


class MappedInputs:
    """Rows of a tensor whose memory is that of a file.

    Args:
        source: The tensor, ``(M, ...)``.
        rows: Indices of the rows, int64, ``(N,)``; None selects all of them.
    """

    def __init__(self, source: Tensor, rows: Tensor | None = None) -> None:
        self._source = source
        self._rows = rows
        self.shape = source.shape if rows is None else (len(rows), *source.shape[1:])
        self.dtype, self.device = source.dtype, source.device

    @property
    def nbytes(self) -> int:
        """Number of bytes of the selected rows."""
        return len(self) * self._source[:1].nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> MappedInputs:
        """Return some of the rows, without reading them."""
        if self._rows is not None:
            return MappedInputs(self._source, self._rows[rows])
        if isinstance(rows, slice):
            return MappedInputs(self._source[rows])
        return MappedInputs(self._source, rows)

    def tensor(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return consecutive rows: a part of the mapped tensor if they are no selection, or a copy.

        Args:
            start: The first row.
            stop: The end of the rows; None returns all that follow.

        Raises:
            ValueError: If a value of a copy is not finite.
        """
        if self._rows is None:
            return self._source[start:stop]
        end = len(self) if stop is None else min(stop, len(self))
        return self.gather(torch.arange(start, end))

    def gather(self, indices: Tensor) -> Tensor:
        """Return the rows at some indices as a copy.

        Raises:
            ValueError: If a value is not finite.
        """
        rows = indices if self._rows is None else self._rows.index_select(0, indices)
        inputs = self._source.index_select(0, rows)
        check_finite("inputs", inputs, indices)
        return inputs
