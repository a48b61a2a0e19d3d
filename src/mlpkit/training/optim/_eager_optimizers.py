"""torch's optimizers without the wrappers that exclude them from compilation.

Every torch optimizer imports ``torch._dynamo`` when it is constructed, to exclude its methods from
compilation. That import takes longer than ``import torch``. The classes here call the same methods
without the wrappers: the arithmetic, the hooks and the state dict are the same. To compile an
optimizer step, use torch's class.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple, Self, TypeAlias, cast, overload

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer, RMSprop

from mlpkit._devices import SideStream
from mlpkit.training._shards import is_sharded
from mlpkit.training.optim._blocks import TENSORS_PER_LAUNCH, blocks

__all__ = [
    "AdamWOptions",
    "AdamWTensors",
    "EagerAdam",
    "EagerAdamW",
    "EagerMuon",
    "EagerOptimizer",
    "EagerRMSprop",
    "EagerSGD",
    "can_fuse",
    "fused_adamw_",
]

_Closure: TypeAlias = Callable[[], float]
_Step: TypeAlias = Callable[[Optimizer, _Closure | None], float | None]

# functools.wraps keeps a reference to the wrapped function, which inspect.unwrap returns; it
# returns a method that is not wrapped unchanged.
_ADD_PARAM_GROUP: Final[Callable[..., None]] = inspect.unwrap(Optimizer.add_param_group)
_LOAD_STATE_DICT: Final[Callable[..., None]] = inspect.unwrap(Optimizer.load_state_dict)
_STATE_DICT: Final[Callable[..., dict[str, object]]] = inspect.unwrap(Optimizer.state_dict)
_ZERO_GRAD: Final[Callable[..., None]] = inspect.unwrap(Optimizer.zero_grad)


class EagerOptimizer(Optimizer):
    """Base class with the unwrapped versions of the methods that torch wraps."""

    _unwrapped_step: ClassVar[_Step]

    def add_param_group(self, param_group: dict[str, object]) -> None:
        """Add a group of parameters with its options."""
        _ADD_PARAM_GROUP(self, param_group)

    def state_dict(self) -> dict[str, object]:
        """Return the state and the options of every group."""
        return _STATE_DICT(self)

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore what :meth:`state_dict` returned."""
        _LOAD_STATE_DICT(self, state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's signature
        """Reset the gradients."""
        _ZERO_GRAD(self, set_to_none)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: _Closure) -> float: ...

    def step(self, closure: _Closure | None = None) -> float | None:
        """Update the parameters."""
        with torch.no_grad():
            return type(self)._unwrapped_step(self, closure)


_ADAMW_STEP: Final[_Step] = inspect.unwrap(AdamW.step)


def _adamw_step(optimizer: Optimizer, closure: _Closure | None) -> float | None:
    """Update the parameters; on a CUDA device in few launches that keep the device busy.

    There, groups with equal options share the launches of the fused kernel, whose tensors are cut
    into blocks within a captured step. The first step, which initializes the state, the CPU (see
    docs/decisions/0008-hand-written-gradients.md), and other cases than :func:`can_fuse` are left
    to torch.
    """
    if closure is not None or not (_is_on_cuda(optimizer) and can_fuse(optimizer)):
        return _ADAMW_STEP(optimizer, closure)
    found_inf: Tensor | None = getattr(optimizer, "found_inf", None)
    by_options: dict[AdamWOptions, AdamWTensors] = {}
    for group in optimizer.param_groups:
        tensors = by_options.setdefault(AdamWOptions.of(group), AdamWTensors([], [], [], [], []))
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = optimizer.state[parameter]
            if not state:
                return _ADAMW_STEP(optimizer, closure)
            tensors.parameters.append(parameter)
            tensors.grads.append(parameter.grad)
            tensors.exp_avgs.append(state["exp_avg"])
            tensors.exp_avg_sqs.append(state["exp_avg_sq"])
            tensors.steps.append(state["step"])
    for options, tensors in by_options.items():
        if not tensors.parameters:
            continue
        torch._foreach_add_(tensors.steps, 1.0)
        first, *others = _launches(tensors)
        side_stream = SideStream(tensors.parameters[0].device)
        for other in others:
            side_stream.do(functools.partial(fused_adamw_, options, other, found_inf))
        fused_adamw_(options, first, found_inf)
        side_stream.join()
        if found_inf is not None:
            torch._foreach_sub_(tensors.steps, [found_inf] * len(tensors.steps))
    return None


class AdamWOptions(NamedTuple):
    """Options of a parameter group that are arguments of the fused kernel."""

    lr: float | Tensor  # a tensor is hashed and compared by identity
    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    @classmethod
    def of(cls, group: Mapping[str, object]) -> Self:
        """Return the current options of a group."""
        beta1, beta2 = cast("tuple[float, float]", group["betas"])
        names = ("lr", "eps", "weight_decay")
        lr, eps, weight_decay = (cast("float", group[name]) for name in names)
        return cls(lr, beta1, beta2, eps, weight_decay)


class AdamWTensors(NamedTuple):
    """Tensor arguments of the fused kernel, in lists of equal length."""

    parameters: list[Tensor]
    grads: list[Tensor]
    exp_avgs: list[Tensor]
    exp_avg_sqs: list[Tensor]
    steps: list[Tensor]


def fused_adamw_(
    options: AdamWOptions, tensors: AdamWTensors, found_inf: Tensor | None = None
) -> None:
    """Update the parameters unless ``found_inf`` is 1; ``tensors.steps`` include this step."""
    torch._fused_adamw_(
        tensors.parameters,
        tensors.grads,
        tensors.exp_avgs,
        tensors.exp_avg_sqs,
        [],
        tensors.steps,
        lr=options.lr,
        beta1=options.beta1,
        beta2=options.beta2,
        weight_decay=options.weight_decay,
        eps=options.eps,
        amsgrad=False,
        maximize=False,
        found_inf=found_inf,
    )


def _launches(tensors: AdamWTensors) -> list[AdamWTensors]:
    """Return the tensors in :func:`blocks`, in groups that fit into one launch.

    Each block has the step tensor of its parameter. Outside of a capture there is one group, with
    the tensors themselves.
    """
    parameters = blocks(tensors.parameters)
    if len(parameters) == len(tensors.parameters):
        return [tensors]
    starts = {parameter.data_ptr(): number for number, parameter in enumerate(tensors.parameters)}
    number, steps = 0, []
    for parameter in parameters:
        number = starts.get(parameter.data_ptr(), number)
        steps.append(tensors.steps[number])
    in_blocks = AdamWTensors(
        parameters,
        blocks(tensors.grads),
        blocks(tensors.exp_avgs),
        blocks(tensors.exp_avg_sqs),
        steps,
    )
    return [
        AdamWTensors(*(part[start : start + TENSORS_PER_LAUNCH] for part in in_blocks))
        for start in range(0, len(parameters), TENSORS_PER_LAUNCH)
    ]


def _is_on_cuda(optimizer: Optimizer) -> bool:
    """Return whether the first parameter is on a CUDA device."""
    first: Tensor = optimizer.param_groups[0]["params"][0]
    return first.device.type == "cuda"


def can_fuse(optimizer: Optimizer) -> bool:
    """Return whether :func:`fused_adamw_` supports the parameters and the options of all groups.

    One call of the kernel takes tensors of one device and one dtype; torch's step makes a call for
    each.
    """
    kinds = {
        (parameter.device, parameter.dtype)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    if any(is_sharded(one) for group in optimizer.param_groups for one in group["params"]):
        return False
    return (
        getattr(optimizer, "grad_scale", None) is None
        and len(kinds) == 1
        and _has_kernel(kinds.pop()[0], optimizer)
        and all(
            group["fused"]
            and not (group["amsgrad"] or group["maximize"] or group["differentiable"])
            and all(isinstance(beta, float) for beta in group["betas"])
            for group in optimizer.param_groups
        )
    )


def _has_kernel(device: torch.device, optimizer: Optimizer) -> bool:
    """Return whether the device has the kernel and, in a capture, all groups are capturable."""
    if device.type != "cuda":
        return device.type == "cpu"
    return not torch.cuda.is_current_stream_capturing() or all(
        group["capturable"] for group in optimizer.param_groups
    )


class EagerAdamW(EagerOptimizer, AdamW):
    """:class:`torch.optim.AdamW` without wrappers; groups with equal options share one call."""

    _unwrapped_step: ClassVar[_Step] = _adamw_step


class EagerAdam(EagerOptimizer, Adam):
    """:class:`torch.optim.Adam` without wrappers."""

    _unwrapped_step = inspect.unwrap(Adam.step)


class EagerSGD(EagerOptimizer, SGD):
    """:class:`torch.optim.SGD` without wrappers."""

    _unwrapped_step = inspect.unwrap(SGD.step)


class EagerMuon(EagerOptimizer, Muon):
    """:class:`torch.optim.Muon` without wrappers."""

    _unwrapped_step = inspect.unwrap(Muon.step)


_RMSPROP_STEP: Final[_Step] = inspect.unwrap(RMSprop.step)


def _rmsprop_step(optimizer: Optimizer, closure: _Closure | None) -> float | None:
    """Update the parameters; torch allocates no momentum buffer if the first momentum is 0."""
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] > 0.0 else ():
            state = optimizer.state.get(parameter)
            if state and "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
    return _RMSPROP_STEP(optimizer, closure)


class EagerRMSprop(EagerOptimizer, RMSprop):
    """:class:`torch.optim.RMSprop` without wrappers; a schedule may start its momentum at 0."""

    _unwrapped_step: ClassVar[_Step] = _rmsprop_step
