"""Optimizers by name, and the functions that set their learning rate and momentum."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam

from mlpkit._checks import (
    Check,
    Unquoted,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_tuple,
    error_message,
    or_none,
    store_checked,
)
from mlpkit._protocols import ParamGroup, collect_param_groups
from mlpkit.training.optim._eager_optimizers import (
    EagerAdam,
    EagerAdamW,
    EagerMuon,
    EagerRMSprop,
    EagerSGD,
)
from mlpkit.training.optim._lbfgs import EagerLBFGS
from mlpkit.training.optim._muon_with_adamw import MuonWithAdamW
from mlpkit.training.optim._options import Default, fill_options, required

__all__ = [
    "OPTIMIZERS",
    "OptimizerConfig",
    "OptimizerName",
    "build_optimizer",
    "check_steps_without_closure",
    "set_initial_lr",
    "set_lr",
    "set_momentum",
]

_AnyAdam = TypeVar("_AnyAdam", EagerAdam, EagerAdamW)

OptimizerName: TypeAlias = Literal["adam", "adamw", "lbfgs", "muon", "rmsprop", "sgd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    r"""An optimizer by name, with its settings.

    ``adam``, ``adamw``, ``rmsprop`` and ``sgd`` are torch's optimizers. Three of their defaults are
    not torch's: ``sgd`` has the momentum 0.9, not 0; ``adamw`` has the weight decay 0, not 0.01;
    ``rmsprop`` has the learning rate 0.001, not 0.01. ``muon`` orthogonalizes the update of every
    hidden weight matrix; the output layer, embeddings and all vectors use AdamW:

    .. math::
        W \leftarrow W - \eta \lambda W - 0.2\, \eta \sqrt{\max(m, n)}\, \operatorname{NS}(M)

    The factor makes one learning rate suitable for both optimizers. The output layer is the one
    with the last matrix of ``model.parameters()``. All matrices before it are hidden, also the
    head of a network that is followed by another layer.

    ``lbfgs`` is torch's L-BFGS with a strong Wolfe line search. It is a full-batch method: a run
    makes one step per epoch, with up to ``max_iter`` iterations, from the gradient of all training
    examples. ``batch_size=None`` means all of them; ``gradient_accumulation_steps`` bounds the
    memory. All evaluations of a step use the same random numbers, and buffers such as the running
    statistics of batch norm are updated once, by the first of them. It does not support fp16,
    ``cuda_graph``, ``clip_grad_norm``, momentum schedules, max-norm constraints, and parameter
    groups with different learning rates.

    Args:
        name: The algorithm.
        lr: Base learning rate, at least 0; the schedule multiplies it. For lbfgs, the first step
            size that each line search tries. None means 0.001, for lbfgs 1.
        weight_decay: Weight decay, at least 0. For adamw and muon it is decoupled from the
            gradient; for adam, rmsprop and sgd it is added to the gradient (L2). For lbfgs half of
            it times the squared norm is added to the loss, which has the same gradient. A module
            with a method ``param_groups(weight_decay)``, such as :class:`mlpkit.nn.MLP`, determines
            to which of its parameters it applies, also inside a wrapper; it applies to all others,
            as in torch.
        momentum: For muon, rmsprop and sgd, in [0, 1); None means 0.95 for muon, 0 for rmsprop,
            0.9 for sgd.
        nesterov: For muon and sgd; None means True for muon, False for sgd.
        betas: For adam, adamw and the AdamW part of muon, each in [0, 1); None means (0.9, 0.999).
        eps: For adam, adamw, rmsprop and the AdamW part of muon, at least 0; None means 1e-8.
        alpha: For rmsprop, the smoothing constant of the mean square, in [0, 1]; None means 0.99.
        centered: For rmsprop, normalize by the variance of the gradient, not by its mean square;
            None means False.
        ns_steps: For muon, the number of Newton-Schulz iterations, 1 to 99; None means 5.
        adamw_lr: For muon, the base learning rate of the AdamW part; None means ``lr``.
        max_iter: For lbfgs, the number of iterations per step, which may take 5/4 as many
            evaluations; None means 20.
        history_size: For lbfgs, the number of updates from which the inverse Hessian is
            approximated; each takes twice the memory of the parameters, also in checkpoints. None
            means 10, as in SciPy.
        tolerance_grad: For lbfgs, a step ends if no element of the gradient is larger, at least 0;
            None means 1e-7.
        tolerance_change: For lbfgs, a step ends if the parameters or the loss change less, at least
            0; None means 1e-9.
        fused: Use torch's fused kernels for adam, adamw and sgd; the others have none. They differ
            from the other kernels in the last bits, so they are a setting and not chosen
            automatically: a resumed run uses the same kernels. Set it to False on a device without
            fused kernels.

    Raises:
        ValueError: If a value is out of range, or ``name`` does not have a setting that is given.

    Example:
        >>> from mlpkit.training import OptimizerConfig
        >>> OptimizerConfig(name="sgd", lr=0.1, nesterov=True).momentum
        0.9

    References:
        Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1.
        Tieleman and Hinton 2012, "Lecture 6.5 - RMSprop" (``centered``: Graves 2013, section 4.2).
        Nocedal and Wright 2006, "Numerical Optimization", algorithms 3.5 and 7.5 (L-BFGS).
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
        Liu et al. 2025, "Muon is Scalable for LLM Training", equation 4 (the factor).
    """

    name: OptimizerName = "adamw"
    if TYPE_CHECKING:  # never None in a configuration
        lr: float = 1e-3
    else:
        lr: float | None = None
    weight_decay: float = 0.0
    momentum: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    alpha: float | None = None
    centered: bool | None = None
    ns_steps: int | None = None
    adamw_lr: float | None = None
    max_iter: int | None = None
    history_size: int | None = None
    tolerance_grad: float | None = None
    tolerance_change: float | None = None
    fused: bool = True

    def __post_init__(self) -> None:
        store_checked(self, {"name": partial(check_choice, names=tuple(OPTIMIZERS))})
        fill_options(self, self.name, OPTIMIZERS[self.name].options)
        checks: dict[str, Check[object]] = {
            "lr": _at_least_0,
            "weight_decay": _at_least_0,
            "momentum": or_none(_below_1),
            "nesterov": or_none(check_bool),
            "betas": or_none(_pair_below_1),
            "eps": or_none(_at_least_0),
            "alpha": or_none(partial(check_float, minimum=0.0, maximum=1.0)),
            "centered": or_none(check_bool),
            "ns_steps": or_none(_ns_steps),
            "adamw_lr": or_none(_at_least_0),
            "max_iter": or_none(_positive_int),
            "history_size": or_none(_positive_int),
            "tolerance_grad": or_none(_at_least_0),
            "tolerance_change": or_none(_at_least_0),
            "fused": check_bool,
        }
        store_checked(self, checks)
        if self.nesterov and self.momentum == 0.0:
            cure = "set nesterov=False or give a momentum"
            raise ValueError(error_message("momentum", "above 0 for nesterov", 0.0, cure))


_at_least_0 = partial(check_float, minimum=0.0)
_positive_int = partial(check_int, minimum=1)
_below_1 = partial(check_float, minimum=0.0, below=1.0)


def _pair_below_1(argument: str, value: object) -> tuple[float, ...]:
    rule = "a pair of numbers in [0, 1)"
    pair = check_tuple(argument, value, _below_1, rule=rule)
    if len(pair) != 2:
        raise ValueError(error_message(argument, rule, value))
    return pair


def _ns_steps(argument: str, value: object) -> int:
    number = check_int(argument, value, minimum=1)
    if number > 99:
        raise ValueError(error_message(argument, "at most 99", value))
    return number


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Build the optimizer of a configuration for the parameters of a model.

    Parameters that do not require a gradient are omitted. Every group has its base learning rate
    as ``initial_lr``, like the optimizers of torch's learning rate schedulers.

    Args:
        model: The model, on the device where it will be trained.
        config: The settings.

    Raises:
        ValueError: If no parameter requires a gradient, ``model.param_groups`` does not return
            every parameter exactly once, the model has no hidden weight matrix for muon or groups
            with different learning rates for lbfgs, or the device has no fused kernels.

    Example:
        >>> from torch import nn
        >>> from mlpkit.training import OptimizerConfig, build_optimizer
        >>> optimizer = build_optimizer(nn.Linear(2, 3), OptimizerConfig(name="sgd", lr=0.1))
        >>> optimizer.param_groups[0]["initial_lr"]
        0.1
    """
    optimizer = OPTIMIZERS[config.name].build(_groups(model, config.weight_decay), config, model)
    set_initial_lr(optimizer)
    return optimizer


def set_initial_lr(optimizer: Optimizer) -> None:
    """Store the current learning rate of every group as ``initial_lr``, unless it has one.

    torch's learning rate schedulers use the same key; it is part of the state dict.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", float(group["lr"]))


def check_steps_without_closure(optimizer: Optimizer) -> None:
    """Raise if an optimizer cannot make a step from dense gradients alone.

    Raises:
        ValueError: If its ``step`` needs a closure, or it is one for sparse gradients.
    """
    kind = Unquoted(type(optimizer).__name__)
    parameters = list(inspect.signature(optimizer.step).parameters.values())
    by_value = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(each.default is each.empty and each.kind not in by_value for each in parameters):
        rule = "an optimizer whose step can be called without a closure"
        cure = 'use config.optimizer=OptimizerConfig(name="lbfgs")'
        raise ValueError(error_message("optimizer", rule, kind, cure))
    if isinstance(optimizer, SparseAdam):
        cure = 'use config.optimizer=OptimizerConfig(name="adam")'
        raise ValueError(error_message("optimizer", "one for dense gradients", kind, cure))  # noqa: TRY004 - an Optimizer


def set_lr(optimizer: Optimizer, ratio: float) -> None:
    """Set the learning rate of every group to its base rate times ``ratio``.

    A rate that is a tensor, as in a captured CUDA graph, is filled in place. Groups may share one
    tensor; if their base rates differ, a group gets a new tensor.

    Raises:
        KeyError: If a group has no ``initial_lr``; :func:`set_initial_lr` sets it.
    """
    filled: dict[Tensor, float] = {}
    for group in optimizer.param_groups:
        lr = group["initial_lr"] * ratio
        if not isinstance(group["lr"], Tensor):
            group["lr"] = lr
        elif filled.setdefault(group["lr"], lr) != lr:
            group["lr"] = torch.full_like(group["lr"], lr)
    for tensor, lr in filled.items():
        tensor.fill_(lr)


def set_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Set the momentum of every group, or its first beta if it has no momentum.

    Raises:
        ValueError: If a group has neither.
    """
    for group in optimizer.param_groups:
        if "momentum" in group:
            group["momentum"] = momentum
        elif "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            rule = "an optimizer with momentum or betas for a momentum schedule"
            raise ValueError(error_message("optimizer", rule, type(optimizer).__name__))


def _groups(model: nn.Module, weight_decay: float) -> list[ParamGroup]:
    """Return the trainable parameters in groups, each parameter exactly once."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        rule = "a model with at least one parameter that requires a gradient"
        raise ValueError(error_message("model", rule, type(model).__name__))
    wanted = {id(parameter): parameter for parameter in trainable}
    groups = []
    seen: list[int] = []
    for group in collect_param_groups(model, weight_decay):
        unknown = group.keys() - {"params", "weight_decay", "lr_factor"}
        if unknown:
            rule = "a method that returns groups of params, weight_decay and lr_factor"
            cure = "the rate of a group is that of the optimizer times lr_factor"
            raise ValueError(error_message("model.param_groups", rule, sorted(unknown), cure))
        kept = [wanted[id(one)] for one in group["params"] if id(one) in wanted]
        seen.extend(map(id, kept))
        decay = check_float("weight_decay of a group", group.get("weight_decay", 0.0), minimum=0.0)
        factor = check_float("lr_factor of a group", group.get("lr_factor", 1.0), above=0.0)
        if kept:
            groups.append(ParamGroup(kept, weight_decay=decay, lr_factor=factor))
    if len(seen) != len(wanted) or set(seen) != set(wanted):
        rule = f"a method that returns each of the {len(wanted)} trainable parameters once"
        raise ValueError(error_message("model.param_groups", rule, len(seen)))
    return groups


def _check_fused(groups: Sequence[ParamGroup]) -> None:
    """Raise if torch has no fused kernel for a parameter."""
    for group in groups:
        for parameter in group.params:
            has_kernel = parameter.device.type in _FUSED_DEVICES and parameter.is_floating_point()
            if not has_kernel:
                got = f"a {parameter.dtype} parameter on {parameter.device}"
                rule = "False for a parameter without fused kernels"
                raise ValueError(error_message("fused", rule, Unquoted(got), "set fused=False"))


_FUSED_DEVICES: Final = ("cpu", "cuda", "hpu", "mps", "mtia", "xpu")


def _adam(groups: list[ParamGroup], config: OptimizerConfig, _model: nn.Module) -> Optimizer:
    return _build_adam(EagerAdam, groups, config, config.lr)


def _adamw(groups: list[ParamGroup], config: OptimizerConfig, _model: nn.Module) -> Optimizer:
    return _build_adam(EagerAdamW, groups, config, config.lr)


def _build_adam(
    kind: type[_AnyAdam], groups: list[ParamGroup], config: OptimizerConfig, lr: float
) -> _AnyAdam:
    if config.fused:
        _check_fused(groups)
    return kind(
        _torch_groups(groups, lr),
        lr=lr,
        betas=required(config.betas),
        eps=required(config.eps),
        weight_decay=config.weight_decay,
        fused=True if config.fused else None,
    )


def _rmsprop(groups: list[ParamGroup], config: OptimizerConfig, _model: nn.Module) -> Optimizer:
    return EagerRMSprop(
        _torch_groups(groups, config.lr),
        lr=config.lr,
        alpha=required(config.alpha),
        eps=required(config.eps),
        weight_decay=config.weight_decay,
        momentum=required(config.momentum),
        centered=required(config.centered),
    )


def _lbfgs(groups: list[ParamGroup], config: OptimizerConfig, _model: nn.Module) -> Optimizer:
    return EagerLBFGS(
        groups,
        lr=config.lr,
        max_iter=required(config.max_iter),
        history_size=required(config.history_size),
        tolerance_grad=required(config.tolerance_grad),
        tolerance_change=required(config.tolerance_change),
    )


def _sgd(groups: list[ParamGroup], config: OptimizerConfig, _model: nn.Module) -> Optimizer:
    if config.fused:
        _check_fused(groups)
    return EagerSGD(
        _torch_groups(groups, config.lr),
        lr=config.lr,
        momentum=required(config.momentum),
        nesterov=required(config.nesterov),
        weight_decay=config.weight_decay,
        fused=True if config.fused else None,
    )


def _muon(groups: list[ParamGroup], config: OptimizerConfig, model: nn.Module) -> Optimizer:
    embeddings = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    }
    matrices = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2
        and not ("parametrizations." in name and parameter.shape[1] == 1)  # norms of weight_norm
    ]
    hidden = {
        id(matrix)
        for matrix in matrices[:-1]
        if matrix.requires_grad and id(matrix) not in embeddings
    }
    if not hidden:
        rule = "a model with at least one hidden weight matrix for optimizer 'muon'"
        raise ValueError(error_message("model", rule, type(model).__name__, "use 'adamw' or 'sgd'"))
    muon = EagerMuon(
        _torch_groups(_only(groups, hidden, inside=True), config.lr),
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=required(config.momentum),
        nesterov=required(config.nesterov),
        ns_steps=required(config.ns_steps),
        adjust_lr_fn="match_rms_adamw",
    )
    lr = config.lr if config.adamw_lr is None else config.adamw_lr
    others = _only(groups, hidden, inside=False)
    return MuonWithAdamW(muon, _build_adam(EagerAdamW, others, config, lr))


def _only(groups: list[ParamGroup], wanted: set[int], *, inside: bool) -> list[ParamGroup]:
    """Return the groups with only the parameters whose ids are in ``wanted``, or are not."""
    kept = (
        ParamGroup(
            [p for p in group.params if (id(p) in wanted) is inside],
            weight_decay=group.weight_decay,
            lr_factor=group.lr_factor,
        )
        for group in groups
    )
    return [group for group in kept if group.params]


def _torch_groups(groups: list[ParamGroup], lr: float) -> list[dict[str, object]]:
    """Return the groups in the form that torch's optimizers accept, each with its learning rate."""
    return [
        {
            "params": group.params,
            "weight_decay": group.weight_decay,
            "lr": lr * group.lr_factor,
        }
        for group in groups
    ]


@dataclass(frozen=True, slots=True)
class _Kind:
    build: Callable[[list[ParamGroup], OptimizerConfig, nn.Module], Optimizer]
    options: Mapping[str, Default]
    supports: tuple[str, ...] = ()  # settings of TrainerConfig that some optimizers do not support


_LR: Final = 1e-3
_ADAM: Final[Mapping[str, Default]] = {"lr": _LR, "betas": (0.9, 0.999), "eps": 1e-8}

OPTIMIZERS: Final[dict[OptimizerName, _Kind]] = {
    "adam": _Kind(_adam, _ADAM, ("cuda_graph", "sharding")),
    "adamw": _Kind(_adamw, _ADAM, ("cuda_graph", "sharding")),
    "lbfgs": _Kind(
        _lbfgs,
        {
            "lr": 1.0,
            "max_iter": 20,
            "history_size": 10,
            "tolerance_grad": 1e-7,
            "tolerance_change": 1e-9,
        },
    ),
    "muon": _Kind(
        _muon,
        {**_ADAM, "momentum": 0.95, "nesterov": True, "ns_steps": 5, "adamw_lr": None},
    ),
    "rmsprop": _Kind(
        _rmsprop,
        {"lr": _LR, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False},
        ("sharding",),
    ),
    "sgd": _Kind(
        _sgd,
        {"lr": _LR, "momentum": 0.9, "nesterov": False},
        ("cuda_graph", "sharding"),
    ),
}
