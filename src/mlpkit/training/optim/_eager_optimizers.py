"""torch's optimizers without their wrapping for the compiler.

Every torch optimizer imports ``torch._dynamo`` when it is constructed, which takes longer than
``import torch`` itself, only to tell the compiler to keep out. Here the same methods run without
that wrapping: the same arithmetic, the same hooks, the same state dict. To compile an optimizer
step, use torch's own class.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple, Self, TypeAlias, cast, overload

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Muon, Optimizer

from mlpkit._devices import SideStream
from mlpkit.training.optim._blocks import OF_A_LAUNCH, blocks

__all__ = [
    "AdamWOptions",
    "AdamWTensors",
    "EagerAdamW",
    "EagerMuon",
    "EagerOptimizer",
    "EagerSGD",
    "fused_adamw_",
    "is_plain",
]

_Closure: TypeAlias = Callable[[], float]
_Step: TypeAlias = Callable[[Optimizer, _Closure | None], float | None]

# functools.wraps keeps the function that it wraps, so unwrap finds the bare method; one that a
# coming torch leaves unwrapped is found as it is
_ADD_PARAM_GROUP: Final[Callable[..., None]] = inspect.unwrap(Optimizer.add_param_group)
_LOAD_STATE_DICT: Final[Callable[..., None]] = inspect.unwrap(Optimizer.load_state_dict)
_STATE_DICT: Final[Callable[..., dict[str, object]]] = inspect.unwrap(Optimizer.state_dict)
_ZERO_GRAD: Final[Callable[..., None]] = inspect.unwrap(Optimizer.zero_grad)


class EagerOptimizer(Optimizer):
    """The part of an optimizer that torch wraps for the compiler, unwrapped."""

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


_ADAMW_STEP: Final[_Step] = inspect.unwrap(AdamW.step)


def _adamw_step(optimizer: Optimizer, closure: _Closure | None) -> float | None:
    """Update the parameters by one call of the fused kernel for all groups with equal options.

    torch makes a call for each group, and looks for what is not the case here. Anything but the
    plain case, and the first step, which makes the state, is left to torch.
    """
    if closure is not None or not is_plain(optimizer):
        return _ADAMW_STEP(optimizer, closure)
    found_inf: Tensor | None = getattr(optimizer, "found_inf", None)
    alike: dict[AdamWOptions, AdamWTensors] = {}
    for group in optimizer.param_groups:
        tensors = alike.setdefault(AdamWOptions.of(group), AdamWTensors([], [], [], [], []))
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
    for options, tensors in alike.items():
        if not tensors.parameters:
            continue
        torch._foreach_add_(tensors.steps, 1.0)
        first, *others = _launches(tensors)
        beside = SideStream(tensors.parameters[0].device)
        for other in others:
            beside.do(functools.partial(fused_adamw_, options, other, found_inf))
        fused_adamw_(options, first, found_inf)
        beside.join()
        if found_inf is not None:
            torch._foreach_sub_(tensors.steps, [found_inf] * len(tensors.steps))
    return None


class AdamWOptions(NamedTuple):
    """The options of a group that the fused kernel takes."""

    lr: float | Tensor  # tensors are told apart by identity, as they are hashed
    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    @classmethod
    def of(cls, group: Mapping[str, object]) -> Self:
        """Return the present options of a group."""
        beta1, beta2 = cast("tuple[float, float]", group["betas"])
        names = ("lr", "eps", "weight_decay")
        lr, eps, weight_decay = (cast("float", group[name]) for name in names)
        return cls(lr, beta1, beta2, eps, weight_decay)


class AdamWTensors(NamedTuple):
    """What the fused kernel takes, in lists of equal length."""

    parameters: list[Tensor]
    grads: list[Tensor]
    exp_avgs: list[Tensor]
    exp_avg_sqs: list[Tensor]
    steps: list[Tensor]


def fused_adamw_(
    options: AdamWOptions, tensors: AdamWTensors, found_inf: Tensor | None = None
) -> None:
    """Update the parameters, unless something was found; their steps are those with this one."""
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
    """Return the same in blocks, each with the step of its parameter, as many as one launch takes.

    Outside the record of a CUDA graph they are one.
    """
    parameters = blocks(tensors.parameters)
    if len(parameters) == len(tensors.parameters):
        return [tensors]
    starts = {parameter.data_ptr(): number for number, parameter in enumerate(tensors.parameters)}
    number, steps = 0, []
    for parameter in parameters:
        number = starts.get(parameter.data_ptr(), number)
        steps.append(tensors.steps[number])
    whole = AdamWTensors(
        parameters,
        blocks(tensors.grads),
        blocks(tensors.exp_avgs),
        blocks(tensors.exp_avg_sqs),
        steps,
    )
    return [
        AdamWTensors(*(each[start : start + OF_A_LAUNCH] for each in whole))
        for start in range(0, len(parameters), OF_A_LAUNCH)
    ]


def is_plain(optimizer: Optimizer) -> bool:
    """Return whether all groups ask for the fused kernel, on one device, with known options."""
    devices = {
        parameter.device for group in optimizer.param_groups for parameter in group["params"]
    }
    return (
        getattr(optimizer, "grad_scale", None) is None
        and len(devices) == 1
        and _is_known(devices.pop(), optimizer)
        and all(
            group["fused"]
            and not (group["amsgrad"] or group["maximize"] or group["differentiable"])
            and all(isinstance(beta, float) for beta in group["betas"])
            for group in optimizer.param_groups
        )
    )


def _is_known(device: torch.device, optimizer: Optimizer) -> bool:
    """Return whether the kernel is known on the device, and torch would not refuse to record it."""
    if device.type != "cuda":
        return device.type == "cpu"
    return not torch.cuda.is_current_stream_capturing() or all(
        group["capturable"] for group in optimizer.param_groups
    )


class EagerAdamW(EagerOptimizer, AdamW):
    """:class:`torch.optim.AdamW`, unwrapped, in one call of its kernel for all equal options."""

    _bare_step: ClassVar[_Step] = _adamw_step


class EagerSGD(EagerOptimizer, SGD):
    """:class:`torch.optim.SGD`, unwrapped."""

    _bare_step = inspect.unwrap(SGD.step)


class EagerMuon(EagerOptimizer, Muon):
    """:class:`torch.optim.Muon`, unwrapped."""

    _bare_step = inspect.unwrap(Muon.step)
