"""Optimizers by name, each one object with one state dict, driven by a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._checks import check_bool, check_choice, check_float, check_int, error_message
from mlpkit._protocols import HasParamGroups, ParamGroup
from mlpkit.training.optim._eager_optimizers import (
    EagerAdamW,
    EagerMuon,
    EagerOptimizer,
    EagerSGD,
)
from mlpkit.training.optim._options import Default, fill_defaults, required

__all__ = [
    "MuonWithAdamW",
    "OptimizerConfig",
    "OptimizerName",
    "build_optimizer",
    "set_initial_lr",
    "set_lr",
    "set_momentum",
]

OptimizerName: TypeAlias = Literal["adamw", "muon", "sgd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    r"""An optimizer by name, with its settings.

    ``adamw`` and ``sgd`` are torch's. ``muon`` orthogonalizes the update of every weight matrix
    but the last (that of the output layer), and leaves the last and all vectors to AdamW:

    .. math::
        W \leftarrow W - \eta \lambda W - 0.2\, \eta \sqrt{\max(m, n)}\, \operatorname{NS}(M)

    where the factor lets one learning rate serve both halves.

    Args:
        name: The algorithm.
        lr: Base learning rate, at least 0; the schedule multiplies it.
        weight_decay: Decay of the parameters that decay, at least 0. For adamw and muon it is
            decoupled from the gradient; for sgd it is added to the gradient (L2). Which parameters
            decay the model says, if it has a method ``param_groups(weight_decay)``, as
            :class:`mlpkit.nn.MLP` has; else all do, as in torch.
        momentum: For sgd in [0, 1), for muon in [0, 1); None means 0.9 for sgd, 0.95 for muon.
        nesterov: For sgd and muon; None means False for sgd or a momentum of 0, True for muon.
        betas: For adamw and muon's AdamW half, each in [0, 1); None means (0.9, 0.999).
        eps: For adamw and muon's AdamW half, at least 0; None means 1e-8.
        ns_steps: For muon, the number of Newton-Schulz iterations, 1 to 99; None means 5.
        adamw_lr: For muon, the base learning rate of the AdamW half; None means ``lr``.
        fused: Use torch's fused kernels for adamw and sgd. They differ from the plain ones in the
            last bits, so the choice is a setting, never a guess: a resumed run makes the same
            one. Set it to False on a device without them.

    Raises:
        ValueError: If a value is out of range, or a setting is given that ``name`` has no use for.

    Example:
        >>> from mlpkit.training import OptimizerConfig
        >>> OptimizerConfig(name="sgd", lr=0.1, nesterov=True).momentum
        0.9

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
        Liu et al. 2025, "Muon is Scalable for LLM Training", equation 4 (the factor).
    """

    name: OptimizerName = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    ns_steps: int | None = None
    adamw_lr: float | None = None
    fused: bool = True

    def __post_init__(self) -> None:
        check_choice("name", self.name, tuple(OPTIMIZERS))
        check_float("lr", self.lr, minimum=0.0)
        check_float("weight_decay", self.weight_decay, minimum=0.0)
        check_bool("fused", self.fused)
        fill_defaults(self, self.name, OPTIMIZERS[self.name].options)
        if self.adamw_lr is not None:
            check_float("adamw_lr", self.adamw_lr, minimum=0.0)
        if self.momentum is not None:
            check_float("momentum", self.momentum, minimum=0.0, below=1.0)
        if self.nesterov is not None:
            check_bool("nesterov", self.nesterov)
            if self.nesterov and self.momentum == 0.0:
                cure = "set nesterov=False or give a momentum"
                raise ValueError(error_message("momentum", "above 0 for nesterov", 0.0, cure))
        if self.betas is not None:
            betas: Sequence[object] = self.betas
            if len(betas) != 2:
                raise ValueError(error_message("betas", "a pair of numbers in [0, 1)", betas))
            for index, beta in enumerate(betas):
                check_float(f"betas[{index}]", beta, minimum=0.0, below=1.0)
        if self.eps is not None:
            check_float("eps", self.eps, minimum=0.0)
        if self.ns_steps is not None and check_int("ns_steps", self.ns_steps, minimum=1) > 99:
            raise ValueError(error_message("ns_steps", "at most 99", self.ns_steps))


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Build the optimizer that a configuration names, for the parameters of a model.

    Parameters that do not require a gradient are left out. Every group remembers its base
    learning rate as ``initial_lr``, which :func:`set_lr` reads.

    Args:
        model: The model, on the device where it will be trained.
        config: The settings.

    Raises:
        ValueError: If nothing can be trained, the model's ``param_groups`` does not give every
            parameter exactly once, muon has no hidden matrix, or the device has no fused kernels.

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
    """Keep the present learning rate of every group as its base rate, unless it has one.

    ``initial_lr`` is torch's own word for it, and part of the state dict.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", float(group["lr"]))


def set_lr(optimizer: Optimizer, ratio: float) -> None:
    """Set the learning rate of every group to its base rate times ``ratio``.

    A rate that is a tensor, as a captured CUDA graph needs it, is filled in place. Groups may share
    one tensor; if their base rates differ by now, one of them gets a new tensor.

    Raises:
        KeyError: If a group has no ``initial_lr``; :func:`set_initial_lr` gives it one.
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
    """Set the momentum of every group: ``momentum`` where it has one, else the first beta.

    Raises:
        ValueError: If a group has neither.
    """
    for group in optimizer.param_groups:
        if "momentum" in group:
            group["momentum"] = momentum
        elif "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            rule = "one with momentum or betas for a momentum schedule"
            raise ValueError(error_message("optimizer", rule, type(optimizer).__name__))


def _groups(model: nn.Module, weight_decay: float) -> list[ParamGroup]:
    """Return the trainable parameters in groups, each parameter exactly once."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        rule = "a model with at least one parameter that requires a gradient"
        raise ValueError(error_message("model", rule, type(model).__name__))
    if not isinstance(model, HasParamGroups):
        return [ParamGroup(trainable, weight_decay=weight_decay)]
    wanted = {id(parameter): parameter for parameter in trainable}
    groups = []
    seen: list[int] = []
    for group in model.param_groups(weight_decay):
        listed = group["params"]
        members = list(listed) if isinstance(listed, Iterable) else [listed]
        kept = [wanted[id(member)] for member in members if id(member) in wanted]
        seen.extend(map(id, kept))
        decay = check_float("weight_decay of a group", group.get("weight_decay", 0.0), minimum=0.0)
        factor = check_float("lr_factor of a group", group.get("lr_factor", 1.0), above=0.0)
        if kept:
            groups.append(ParamGroup(kept, weight_decay=decay, lr_factor=factor))
    if len(seen) != len(wanted) or set(seen) != set(wanted):
        rule = f"a method that gives each of the {len(wanted)} trainable parameters once"
        raise ValueError(error_message("model.param_groups", rule, len(seen)))
    return groups


def _check_fused(groups: Sequence[ParamGroup]) -> None:
    """Refuse fused kernels where torch has none, before torch does it in other words."""
    for group in groups:
        for parameter in group.params:
            known = parameter.device.type in _FUSED_DEVICES and parameter.is_floating_point()
            if not known:
                got = f"a {parameter.dtype} parameter on {parameter.device}"
                rule = "False where torch has no fused kernels"
                raise ValueError(error_message("fused", rule, got, "set fused=False"))


_FUSED_DEVICES: Final = ("cpu", "cuda", "hpu", "mps", "mtia", "xpu")


def _adamw(groups: list[ParamGroup], config: OptimizerConfig, _model: nn.Module) -> Optimizer:
    return _plain_adamw(groups, config, config.lr)


def _plain_adamw(groups: list[ParamGroup], config: OptimizerConfig, lr: float) -> EagerAdamW:
    if config.fused:
        _check_fused(groups)
    return EagerAdamW(
        _torch_groups(groups, lr),
        lr=lr,
        betas=required(config.betas),
        eps=required(config.eps),
        weight_decay=config.weight_decay,
        fused=True if config.fused else None,
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


class MuonWithAdamW(EagerOptimizer):
    """Muon for some groups and AdamW for the others, as one optimizer.

    Both share this object's groups and state, so that a schedule, a gradient scaler and
    ``state_dict`` see one optimizer.

    Args:
        muon: Drives the first groups.
        adamw: Drives the groups after them.

    References:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """

    def __init__(self, muon: Optimizer, adamw: Optimizer) -> None:
        self._muon = muon
        self._adamw = adamw
        self._num_muon_groups = len(muon.param_groups)
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both halves work on this object's own groups and state."""
        self._muon.param_groups = self.param_groups[: self._num_muon_groups]
        self._adamw.param_groups = self.param_groups[self._num_muon_groups :]
        self._muon.state = self.state
        self._adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Load a state dict of the same groups."""
        super().load_state_dict(state_dict)
        self._share()

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step with both halves."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss


def _muon(groups: list[ParamGroup], config: OptimizerConfig, model: nn.Module) -> Optimizer:
    matrices = [p for p in model.parameters() if p.ndim == 2 and p.requires_grad]
    hidden = {id(matrix) for matrix in matrices[:-1]}
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
    return MuonWithAdamW(muon, _plain_adamw(_only(groups, hidden, inside=False), config, lr))


def _only(groups: list[ParamGroup], wanted: set[int], *, inside: bool) -> list[ParamGroup]:
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
    """Return the groups as torch's optimizers take them, each with its own learning rate."""
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


OPTIMIZERS: Final[dict[OptimizerName, _Kind]] = {
    "adamw": _Kind(_adamw, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "muon": _Kind(
        _muon,
        {
            "momentum": 0.95,
            "nesterov": True,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "ns_steps": 5,
            "adamw_lr": None,
        },
    ),
    "sgd": _Kind(_sgd, {"momentum": 0.9, "nesterov": False}),
}
