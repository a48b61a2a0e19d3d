"""Private random stream of a run, installed in torch's global generators."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mlpkit._devices import random_state, seed_of, set_random_state

__all__ = ["RandomStream"]

# The thread whose stream is installed in torch's global generators. Runs in several threads take
# turns: a second one waits until the first one ends or calls a callback.
_GENERATORS = threading.RLock()


class RandomStream:
    """Random state for code that draws from torch's global generators, such as dropout.

    Within :meth:`active` the global generators of the CPU and of the device have the state of this
    stream; outside of it, and within :meth:`paused`, they have the state of the caller. A run
    therefore does not depend on numbers drawn elsewhere, and does not affect them.

    Args:
        seed: Seed of the stream. It is hashed, so that dropout masks do not consist of the same
            numbers as the weights of a model that was initialized with the same seed.
        device: Device of the model.
        rank: Number of the process, from 0; each has a separate stream.
    """

    def __init__(self, seed: int, device: torch.device, *, rank: int = 0) -> None:
        self._device = device
        self._is_active = False
        self._thread = threading.get_ident()
        self._caller_state = random_state(self._device)
        name = f"mlpkit.stream {seed}" if rank == 0 else f"mlpkit.stream {seed} rank {rank}"
        with _GENERATORS, self._restored():
            torch.manual_seed(seed_of(name))
            self._state = random_state(self._device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the current state of the stream, by type of device."""
        return random_state(self._device) if self._is_active else dict(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._state = dict(state)
        if self._is_active:
            set_random_state(self._device, self._state)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Install the stream in the global generators; restore the caller's state on exit."""
        with _GENERATORS, self._restored():
            set_random_state(self._device, self._state)
            self._is_active = True
            self._thread = threading.get_ident()
            try:
                yield
            finally:
                self._is_active = False
                self._state = random_state(self._device)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Restore the caller's state within a ``with`` block, for instance for a callback."""
        if not self._is_active or self._thread != threading.get_ident():
            yield
            return
        self._state, self._is_active = random_state(self._device), False
        set_random_state(self._device, self._caller_state)
        _GENERATORS.release()
        try:
            yield
        finally:
            _GENERATORS.acquire()
            self._caller_state = random_state(self._device)
            set_random_state(self._device, self._state)
            self._is_active = True

    @contextlib.contextmanager
    def _restored(self) -> Iterator[None]:
        """Restore the generators on exit."""
        self._caller_state = random_state(self._device)
        try:
            yield
        finally:
            set_random_state(self._device, self._caller_state)
