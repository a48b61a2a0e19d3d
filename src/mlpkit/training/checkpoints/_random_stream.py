"""The training's own stream of random numbers, lent to torch's global generators."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

__all__ = ["RandomStream"]


class RandomStream:
    """Random state for dropout and the like, which draw from torch's global generators.

    While :meth:`active` runs, the global generators of the CPU and of the model's device hold
    this stream; before and after, and inside :meth:`paused`, they hold what the caller had.
    So a training neither depends on what was drawn elsewhere nor disturbs it.

    Args:
        seed: Where the stream starts. It is hashed, so that a model that was initialized with the
            same seed does not get dropout masks made of the same numbers as its weights.
        device: The model's device.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._running = False
        self._outside = self._read()
        digest = hashlib.sha256(f"mlpkit.stream {seed}".encode()).digest()
        with self._kept():
            torch.manual_seed(int.from_bytes(digest[:7]))
            self._state = self._read()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the stream, as it is now, by kind of device."""
        return self._read() if self._running else dict(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the stream was when :meth:`state_dict` was called."""
        self._state = dict(state)
        if self._running:
            self._write(self._state)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Put the stream into the global generators, and the caller's state back afterwards."""
        with self._kept():
            self._write(self._state)
            self._running = True
            try:
                yield
            finally:
                self._running = False
                self._state = self._read()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Give the caller's generators back for a while, for instance to a callback."""
        if not self._running:
            yield
            return
        self._state, self._running = self._read(), False
        self._write(self._outside)
        try:
            yield
        finally:
            self._outside = self._read()
            self._write(self._state)
            self._running = True

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        self._outside = self._read()
        try:
            yield
        finally:
            self._write(self._outside)

    def _read(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self._device.type != "cpu":
            state[self._device.type] = torch.get_device_module(self._device).get_rng_state(
                self._device
            )
        return state

    def _write(self, state: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if self._device.type != "cpu" and self._device.type in state:
            torch.get_device_module(self._device).set_rng_state(
                state[self._device.type], self._device
            )
