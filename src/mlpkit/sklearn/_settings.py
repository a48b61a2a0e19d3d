"""The parameters of an estimator, checked when it is fitted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypeAlias, cast, get_args

from mlpkit._checks import (
    Check,
    check_bool,
    check_choice,
    check_float,
    check_int,
    error_message,
    or_none,
    plain_scalar,
)
from mlpkit.nn import ActivationName

__all__ = ["FULL_BATCH", "SKLEARN_VALUES", "LearningRate", "Settings", "Solver", "TabularSettings"]

Solver: TypeAlias = Literal["adam", "adamw", "lbfgs", "muon", "rmsprop", "sgd"]
LearningRate: TypeAlias = Literal["adaptive", "constant", "invscaling"]

#: Solvers that use all examples in each step, so they have no epochs.
FULL_BATCH: Final = ("lbfgs",)

#: What None is with ``preset="sklearn"``.
SKLEARN_VALUES: Final[Mapping[str, object]] = MappingProxyType(
    {
        "hidden_layer_sizes": (100,),
        "activation": "relu",
        "alpha": 0.0001,
        "max_iter": 200,
        "validation_fraction": 0.1,
    }
)

_OTHER_NAMES: Final[dict[str, ActivationName]] = {"logistic": "sigmoid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parameters that the training depends on.

    Attributes:
        hidden_layer_sizes: Width of each hidden layer.
        activation: Name of the activation in mlpkit.
        batch_size: Number of examples in a batch, or ``"auto"``.
        n_iter_no_change: Number of epochs without an improvement; may be infinite.

    The other attributes have the meaning of the parameters of the estimators.
    """

    hidden_layer_sizes: tuple[int, ...]
    activation: ActivationName
    solver: Solver
    alpha: float
    batch_size: int | Literal["auto"]
    learning_rate: LearningRate
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: bool
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int

    @classmethod
    def of(cls, estimator: object) -> Self:
        """Return the parameters of an estimator; None is the value of scikit-learn.

        Raises:
            TypeError: If one has the wrong type.
            ValueError: If one is out of range.
        """
        values = _checked(estimator)
        values |= {name: value for name, value in SKLEARN_VALUES.items() if values[name] is None}
        return cls(**{one.name: values[one.name] for one in dataclasses.fields(cls)})

    @property
    def is_full_batch(self) -> bool:
        """Whether every step uses all examples."""
        return self.solver in FULL_BATCH

    @property
    def is_decoupled(self) -> bool:
        """Whether alpha is decoupled weight decay, not the factor of a penalty."""
        return self.solver in ("adamw", "muon")

    @property
    def init_factor(self) -> float:
        """Square of the bound of the initial weights, times the number of inputs and outputs."""
        return 2.0 if self.activation == "sigmoid" else 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularSettings:
    """The parameters that ``preset="tabular"`` has; None is the value of the preset.

    Attributes:
        hidden_layer_sizes: Width of each hidden layer.
        activation: Name of the activation in mlpkit.
        alpha: Decoupled weight decay.
        batch_size: Number of examples in a batch; ``"auto"`` is the value of the preset.
        max_iter: Largest number of epochs.
        validation_fraction: Fraction of the examples that is held out.
        n_members: Number of networks.
        verbose: Whether to print each epoch.
    """

    hidden_layer_sizes: tuple[int, ...] | None
    activation: ActivationName | None
    alpha: float | None
    batch_size: int | Literal["auto"]
    max_iter: int | None
    validation_fraction: float | None
    n_members: int | None
    verbose: bool

    @classmethod
    def of(cls, estimator: object) -> Self:
        """Return the parameters of an estimator.

        Raises:
            TypeError: If one has the wrong type.
            ValueError: If one is out of range.
        """
        values = _checked(estimator)
        return cls(**{one.name: values[one.name] for one in dataclasses.fields(cls)})


def _checked(estimator: object) -> dict[str, Any]:
    """Return the checked parameters of an estimator, also those that its preset does not use."""
    return {name: check(name, getattr(estimator, name)) for name, check in _CHECKS.items()}


def _sizes(argument: str, value: object) -> tuple[int, ...]:
    sizes = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    return tuple(check_int(argument, size, minimum=1) for size in sizes)


def _activation(argument: str, value: object) -> ActivationName:
    names = (*_OTHER_NAMES, *get_args(ActivationName))
    name = check_choice(argument, value, names)
    return _OTHER_NAMES.get(name, cast("ActivationName", name))


def _batch_size(argument: str, value: object) -> int | Literal["auto"]:
    if isinstance(value, str):
        check_choice(argument, value, ("auto",))
        return "auto"
    return check_int(argument, value, minimum=1, cure="or 'auto'")


def _verbose(argument: str, value: object) -> bool:
    """Return whether to print; a number above 0 does too."""
    scalar = plain_scalar(value)
    if not isinstance(scalar, int) or scalar < 0:
        raise TypeError(error_message(argument, "True, False or a non-negative integer", value))
    return scalar > 0


def _patience(argument: str, value: object) -> float:
    if isinstance(value, float) and value == math.inf:
        return value
    return check_int(argument, value, minimum=1, cure="or float('inf')")


_positive = partial(check_int, minimum=1)
_at_least_0 = partial(check_float, minimum=0.0)
_above_0 = partial(check_float, above=0.0)
_below_1 = partial(check_float, minimum=0.0, below=1.0)

_CHECKS: Final[Mapping[str, Check[object]]] = MappingProxyType(
    {
        "hidden_layer_sizes": or_none(_sizes),
        "activation": or_none(_activation),
        "solver": partial(check_choice, names=get_args(Solver)),
        "alpha": or_none(_at_least_0),
        "batch_size": _batch_size,
        "learning_rate": partial(check_choice, names=get_args(LearningRate)),
        "learning_rate_init": _above_0,
        "power_t": _at_least_0,
        "max_iter": or_none(_positive),
        "shuffle": check_bool,
        "tol": _at_least_0,
        "verbose": _verbose,
        "warm_start": check_bool,
        "momentum": partial(check_float, minimum=0.0, maximum=1.0),
        "nesterovs_momentum": check_bool,
        "early_stopping": check_bool,
        "validation_fraction": or_none(_below_1),
        "beta_1": _below_1,
        "beta_2": _below_1,
        "epsilon": _above_0,
        "n_iter_no_change": _patience,
        "max_fun": _positive,
        "n_members": or_none(_positive),
    }
)
