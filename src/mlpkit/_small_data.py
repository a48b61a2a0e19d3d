"""The size of a small data set, on which the defaults of networks and of runs depend."""

from __future__ import annotations

from typing import Final

__all__ = ["SMALL_DATA"]

#: Data sets with fewer training examples are small: an equal number of steps takes more epochs and
#: smaller batches, and a wide network overfits earlier.
SMALL_DATA: Final = 10_000
