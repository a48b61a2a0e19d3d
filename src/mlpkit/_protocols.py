"""What `nn`, `data` and `training` ask of one another, so that none of them imports another."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from mlpkit._checks import check_float

__all__ = [
    "Backpropagation",
    "Batch",
    "HasMaxNorm",
    "HasParamGroups",
    "ParamGroup",
    "find_backpropagation",
    "find_stacked_backpropagation",
]


class Batch(NamedTuple):
    """One batch of examples.

    Attributes:
        inputs: Inputs of the model, ``(N, ...)``.
        targets: Class indices (int64, ``(N,)``), target distributions (floating-point, ``(N, C)``)
            or regression targets (floating-point, ``(N, ...)``).
        weights: Weight of each example, ``(N,)``; None where all weigh the same.
        indices: Position of each example in its data set, int64, ``(N,)``.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    indices: Tensor


class ParamGroup(dict[str, object]):
    """Parameters that share their optimizer options: a dict that :mod:`torch.optim` takes as it is.

    Args:
        params: The parameters.
        weight_decay: Weight decay of these parameters, at least 0.
        lr_factor: Factor on the learning rate of these parameters, above 0.
            :class:`mlpkit.training.Trainer` applies it; a bare torch optimizer ignores it.

    Raises:
        TypeError: If a number is not a number.
        ValueError: If a number is out of range.

    Example:
        >>> from torch import nn
        >>> from mlpkit.nn import ParamGroup
        >>> group = ParamGroup(nn.Linear(2, 1).parameters(), weight_decay=0.01)
        >>> len(group.params), group["weight_decay"]
        (2, 0.01)
    """

    def __init__(
        self, params: Iterable[nn.Parameter], *, weight_decay: float, lr_factor: float = 1.0
    ) -> None:
        super().__init__(
            params=list(params),
            weight_decay=check_float("weight_decay", weight_decay, minimum=0.0),
            lr_factor=check_float("lr_factor", lr_factor, above=0.0),
        )

    @property
    def params(self) -> list[nn.Parameter]:
        """The parameters."""
        return cast("list[nn.Parameter]", self["params"])

    @property
    def weight_decay(self) -> float:
        """Weight decay of the parameters."""
        return cast("float", self["weight_decay"])

    @property
    def lr_factor(self) -> float:
        """Factor on the learning rate of the parameters."""
        return cast("float", self["lr_factor"])


@runtime_checkable
class HasParamGroups(Protocol):
    """A model that divides its parameters into groups for the optimizer."""

    def param_groups(self, weight_decay: float) -> Sequence[Mapping[str, object]]:
        """Return every parameter exactly once, in groups such as :class:`ParamGroup`.

        Args:
            weight_decay: Weight decay of the groups that decay.
        """
        ...


@runtime_checkable
class HasMaxNorm(Protocol):
    """A model that bounds the norms of its weights."""

    @property
    def max_norm(self) -> float | None: ...

    def apply_max_norm_(self) -> None:
        """Scale every weight vector that is longer than ``max_norm`` down to it."""
        ...


class Backpropagation(Protocol):
    """A hand-written forward and backward pass, which replaces autograd's graph."""

    def can_run(self, inputs: Tensor) -> bool:
        """Return whether the passes compute what a call of the model and autograd would."""
        ...

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, without a graph."""
        ...

    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every parameter, given the gradient of the latest outputs."""
        ...


@functools.singledispatch
def find_backpropagation(model: nn.Module) -> Backpropagation | None:  # noqa: ARG001 - dispatched on
    """Return the hand-written passes of a model; None leaves its gradients to autograd.

    A package that has passes for a type of model registers a function for that type here, and the
    function answers for exactly that type, not for its subclasses.
    """
    return None


@functools.singledispatch
def find_stacked_backpropagation(
    model: nn.Module,  # noqa: ARG001 - dispatched on
    stacks: Mapping[nn.Parameter, nn.Parameter],  # noqa: ARG001
    *,
    shared: bool,  # noqa: ARG001
) -> Backpropagation | None:
    """Return the hand-written passes of K models of one structure; None leaves them to autograd.

    Args:
        model: One of the models; the others differ in the values of their parameters only.
        stacks: For each parameter of ``model`` those of all models, of shape ``(K, ...)``.
        shared: Whether all models have one input, ``(N, ...)``, instead of ``(K, N, ...)``.
    """
    return None
