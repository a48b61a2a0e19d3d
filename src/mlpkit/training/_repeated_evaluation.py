"""Several evaluations of one function, although it draws random numbers and updates buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from mlpkit._devices import random_state, set_random_state

__all__ = ["RepeatedEvaluation"]


class RepeatedEvaluation:
    """Evaluates a function of the parameters of a model repeatedly, as a line search requires.

    Each evaluation begins with the random state and the buffers from before the first. The random
    state and the buffers afterwards are those from after the first, so batch norm is updated once.

    Args:
        model: The model.
        device: Its device.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._before = _State(model, device)
        self._after: _State | None = None

    def evaluate(self, function: Callable[[], Tensor]) -> Tensor:
        """Return the value of the function, which is always the same one."""
        if self._after is not None:
            self._before.restore()
        value = function()
        if self._after is None:
            self._after = _State(self._model, self._device)
        return value

    @contextlib.contextmanager
    def repeated(self) -> Iterator[None]:
        """Restore the state from after the first evaluation at the end of a ``with`` block."""
        try:
            yield
        finally:
            (self._after or self._before).restore()


class _State:
    """Copies of the states of torch's generators and of the buffers of a model."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self._random_state = random_state(device)

    @torch.no_grad()
    def restore(self) -> None:
        for name, buffer in self._model.named_buffers():
            if name in self._buffers:
                buffer.copy_(self._buffers[name])
        set_random_state(self._device, self._random_state)
