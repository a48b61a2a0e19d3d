"""Work beside the main line of a CUDA graph."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SideStream"]


class SideStream:
    """A second stream within the record of a CUDA graph, for results that nothing waits for yet.

    The kernels of a small network do not fill a GPU, so two at a time take the time of one. Outside
    a record the work is done at once: there the host is what kernels wait for.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream(device) if device.type == "cuda" else None
        self._is_busy = False
        self._in_use: list[Tensor] = []

    def do(self, work: Callable[[], None], *inputs: Tensor) -> None:
        """Do the work, beside what comes next if a graph is being recorded.

        Args:
            work: Writes to memory that nothing else touches before :meth:`join`.
            inputs: What it reads; kept, since their memory would be given to others.
        """
        if self._stream is None or not torch.cuda.is_current_stream_capturing():
            work()
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            work()
        self._is_busy = True
        self._in_use += inputs

    def join(self) -> None:
        """Let what comes next wait for the work."""
        if self._stream is not None and self._is_busy:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            self._is_busy = False
            self._in_use.clear()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one side stream of a device.

    For each stream that multiplies, cuBLAS takes tens of MiB and keeps them. The first product is
    therefore not one within a record, whose memory would be kept with it.
    """
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch types it so
    if not torch.cuda.is_current_stream_capturing():
        with torch.cuda.stream(stream):
            one = torch.ones(1, 1, device=device)
            torch.mm(one, one)
    return stream
