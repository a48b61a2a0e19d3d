"""Protocols through which `nn`, `data` and `training` work together without imports."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float

__all__ = [
    "BackpropagationLike",
    "Batch",
    "HasMaxNorm",
    "HasParamGroups",
    "ParamGroup",
    "collect_max_norms",
    "collect_param_groups",
    "find_backpropagation",
    "find_stacked_backpropagation",
]


class Batch(NamedTuple):
    """One batch of examples.

    Attributes:
        inputs: Inputs of the model, ``(N, ...)``.
        targets: Class indices (int64, ``(N,)``), target distributions (floating-point, ``(N, C)``)
            or regression targets (floating-point, ``(N, ...)``).
        weights: Weight of each example in the loss, ``(N,)``; None for equal weights.
        indices: Index of each example in its data set, int64, ``(N,)``.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    indices: Tensor


class ParamGroup(dict[str, object]):
    """Parameters with common optimizer options: a dict that :mod:`torch.optim` accepts.

    Args:
        params: The parameters.
        weight_decay: Weight decay of these parameters, at least 0.
        lr_factor: Factor on the learning rate of these parameters, above 0.
            :class:`mlpkit.training.Trainer` applies it; torch's optimizers ignore it.

    Raises:
        TypeError: If ``weight_decay`` or ``lr_factor`` is not a number.
        ValueError: If ``weight_decay`` or ``lr_factor`` is out of range.

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
    """A model that assigns its parameters to optimizer groups."""

    def param_groups(self, weight_decay: float) -> Sequence[Mapping[str, object]]:
        """Return groups that contain every parameter exactly once, such as :class:`ParamGroup`.

        A group has the keys of a :class:`ParamGroup`; all but ``params`` are optional.

        Args:
            weight_decay: Weight decay of the parameters to which weight decay applies.
        """
        ...


@runtime_checkable
class HasMaxNorm(Protocol):
    """A model whose weights have a max-norm constraint."""

    @property
    def max_norm(self) -> float | None: ...

    def apply_max_norm_(self) -> None:
        """Scale every weight vector whose norm exceeds ``max_norm`` down to ``max_norm``."""
        ...


def collect_param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameter groups of a model and of the modules inside it.

    A module whose type has a method ``param_groups`` that can be called with the argument
    ``weight_decay`` alone assigns all its parameters. The outermost such module decides. All other
    parameters get ``weight_decay``. A parameter that two modules share belongs to the first. The
    parameters of each group are a list.

    A method ``param_groups`` with other arguments has another purpose and is ignored. The method is
    looked up on the type: a wrapper that forwards missing attributes to the module inside it does
    not have the method, and the module inside is found as its child.

    Args:
        model: The model.
        weight_decay: Weight decay of the parameters to which weight decay applies.
    """
    owners = _outermost(model, _has_param_groups)
    groups: list[dict[str, Any]] = []
    assigned: set[int] = set()
    for owner in owners:
        assert isinstance(owner, HasParamGroups), "its type has the method"
        for group in owner.param_groups(weight_decay=weight_decay):
            listed: Any = group["params"]
            members = [listed] if isinstance(listed, Tensor) else list(listed)
            if owner is not model:  # else a parameter that is listed twice is a mistake
                members = [each for each in members if id(each) not in assigned]
            assigned.update(map(id, members))
            groups.append({**group, "params": members})
    owned = {id(parameter) for owner in owners for parameter in owner.parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in owned]
    if rest:
        groups.append(ParamGroup(rest, weight_decay=weight_decay))
    return groups


def collect_max_norms(model: nn.Module) -> list[HasMaxNorm]:
    """Return the modules with a max-norm constraint, the model itself or modules inside it.

    As for :func:`collect_param_groups`, the method is looked up on the type. A module that applies
    its constraint is responsible for the modules inside it.
    """
    found = _outermost(model, _has_max_norm)
    return [module for module in found if isinstance(module, HasMaxNorm)]


def _has_param_groups(module: nn.Module) -> bool:
    method = getattr(type(module), "param_groups", None)
    if not callable(method):
        return False
    try:
        inspect.signature(method).bind(module, weight_decay=0.0)
    except (TypeError, ValueError):  # other arguments, or none that Python knows
        return False
    return True


def _has_max_norm(module: nn.Module) -> bool:
    method = getattr(type(module), "apply_max_norm_", None)
    return callable(method) and getattr(module, "max_norm", None) is not None


def _outermost(model: nn.Module, is_wanted: Callable[[nn.Module], bool]) -> list[nn.Module]:
    """Return the wanted modules of a tree, without modules inside them, each once."""
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    pending = [model]
    while pending:
        module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if is_wanted(module):
            found[id(module)] = module
        else:
            pending += reversed(list(module.children()))
    return list(found.values())


class BackpropagationLike(Protocol):
    """A hand-written forward and backward pass, used instead of autograd."""

    def can_run(self, inputs: Tensor) -> bool:
        """Return whether the passes compute the same as the model and autograd for these inputs."""
        ...

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, which have no autograd graph."""
        ...

    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every parameter, given the gradient of the latest outputs."""
        ...


@functools.singledispatch
def find_backpropagation(
    model: nn.Module,  # noqa: ARG001 - dispatched on
) -> BackpropagationLike | None:
    """Return the hand-written passes of a model; None if it must be differentiated by autograd.

    A package registers an implementation for each type of model that it supports. The dispatch
    includes subclasses, so the implementation must return None for a subclass.
    """
    return None


@functools.singledispatch
def find_stacked_backpropagation(
    model: nn.Module,  # noqa: ARG001 - dispatched on
    stacks: Mapping[nn.Parameter, nn.Parameter],  # noqa: ARG001
    *,
    shared: bool,  # noqa: ARG001
    generators: Sequence[torch.Generator] = (),  # noqa: ARG001
) -> BackpropagationLike | None:
    """Return the hand-written passes of K models of the same architecture, or None for autograd.

    Args:
        model: One of the models; the others differ only in the values of their parameters.
        stacks: For each parameter of ``model``, that parameter of all models, ``(K, ...)``.
        shared: Whether all models have the same input, ``(N, ...)`` instead of ``(K, N, ...)``.
        generators: The generator of each model, from which its dropout masks are drawn, or one
            whose masks all models have; without them the passes have no dropout.
    """
    return None
