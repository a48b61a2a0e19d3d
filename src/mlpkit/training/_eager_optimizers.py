"""torch's optimisers without their wrapping for the compiler.

Every torch optimiser imports ``torch._dynamo`` when it is constructed, which takes longer than
``import torch`` itself, only to tell the compiler to keep out. Here the same methods run without
that wrapping: the same arithmetic, the same hooks, the same state dict. To compile an optimiser
step, use torch's own class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar, Final, TypeAlias, overload

import torch
from torch.optim import SGD, AdamW, Muon, Optimizer

__all__ = ["EagerAdamW", "EagerMuon", "EagerOptimizer", "EagerSGD"]

_Closure: TypeAlias = Callable[[], float]
_Step: TypeAlias = Callable[[Optimizer, _Closure | None], float | None]

# functools.wraps keeps the function that it wraps, so unwrap finds the bare method; one that a
# coming torch leaves unwrapped is found as it is
_ADD_PARAM_GROUP: Final[Callable[..., None]] = inspect.unwrap(Optimizer.add_param_group)
_LOAD_STATE_DICT: Final[Callable[..., None]] = inspect.unwrap(Optimizer.load_state_dict)
_STATE_DICT: Final[Callable[..., dict[str, object]]] = inspect.unwrap(Optimizer.state_dict)
_ZERO_GRAD: Final[Callable[..., None]] = inspect.unwrap(Optimizer.zero_grad)


class EagerOptimizer(Optimizer):
    """The part of an optimiser that torch wraps for the compiler, unwrapped."""

    _bare_step: ClassVar[_Step]

    def add_param_group(self, param_group: dict[str, object]) -> None:
        """Add a group of parameters with options of its own."""
        _ADD_PARAM_GROUP(self, param_group)

    def state_dict(self) -> dict[str, object]:
        """Return the state and the options of every group."""
        return _STATE_DICT(self)

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Take back what :meth:`state_dict` gave."""
        _LOAD_STATE_DICT(self, state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's own
        """Forget the gradients."""
        _ZERO_GRAD(self, set_to_none)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: _Closure) -> float: ...

    def step(self, closure: _Closure | None = None) -> float | None:
        """Update the parameters."""
        with torch.no_grad():
            return type(self)._bare_step(self, closure)


class EagerAdamW(EagerOptimizer, AdamW):
    """:class:`torch.optim.AdamW`, unwrapped."""

    _bare_step = inspect.unwrap(AdamW.step)


class EagerSGD(EagerOptimizer, SGD):
    """:class:`torch.optim.SGD`, unwrapped."""

    _bare_step = inspect.unwrap(SGD.step)


class EagerMuon(EagerOptimizer, Muon):
    """:class:`torch.optim.Muon`, unwrapped."""

    _bare_step = inspect.unwrap(Muon.step)
