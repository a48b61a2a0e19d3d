"""Inputs that are mapped from a file, and selections of them, which are read when needed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mlpkit.data._validation import check_finite


class MappedFiles(NamedTuple):
    """The files of mapped examples, so that they can be mapped again.

    Attributes:
        path: Absolute path of the file or folder.
        stamps: Name, size in bytes and time of the last change in nanoseconds of each file.
    """

    path: Path
    stamps: tuple[tuple[str, int, int], ...]


class MappedInputs:
    """Rows of a tensor whose memory is that of a file.

    Args:
        source: The tensor, ``(M, ...)``.
        rows: The rows: a range, or their indices, int64, ``(N,)``; None selects all of them.
        files: The files; None if they are unknown.

    Attributes:
        rows: The rows.
        files: The files.
    """

    def __init__(
        self, source: Tensor, rows: range | Tensor | None = None, files: MappedFiles | None = None
    ) -> None:
        self._source = source
        self.rows = range(len(source)) if rows is None else rows
        self.files = files
        self.shape: tuple[int, ...] = (len(self.rows), *source.shape[1:])
        self.dtype, self.device = source.dtype, source.device

    @property
    def nbytes(self) -> int:
        """Number of bytes of the selected rows."""
        return len(self) * self._source[:1].nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> MappedInputs:
        """Return some of the rows, without reading them."""
        if isinstance(self.rows, Tensor):
            return MappedInputs(self._source, self.rows[rows], self.files)
        if isinstance(rows, slice):
            return MappedInputs(self._source, self.rows[rows], self.files)
        return MappedInputs(self._source, self.rows.start + self.rows.step * rows, self.files)

    def tensor(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return consecutive rows as they are: a part of the mapped tensor, or a copy of indices.

        Args:
            start: The first row.
            stop: The end of the rows; None returns all that follow.
        """
        rows = self.rows[start:stop]
        if isinstance(rows, Tensor):
            return self._source.index_select(0, rows)
        return self._source[rows.start : rows.stop : rows.step]

    def gather(self, indices: Tensor) -> Tensor:
        """Return the rows at some indices as a copy.

        Raises:
            ValueError: If a value is not finite.
        """
        inputs = self[indices].tensor()
        check_finite("inputs", inputs, indices)
        return inputs
