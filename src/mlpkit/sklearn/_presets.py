"""The presets of an estimator, and the parameters of each that are checked when it is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

import scipy.sparse as sp

from mlpkit._checks import Unquoted, check_choice, error_message

__all__ = ["SKLEARN_ONLY", "Preset", "choose_preset", "is_frame"]

Preset: TypeAlias = Literal["sklearn", "tabular"]

#: Parameters that only scikit-learn's network has, with their defaults.
SKLEARN_ONLY: Final[Mapping[str, object]] = MappingProxyType(
    {
        "loss": "squared_error",
        "solver": "adam",
        "learning_rate": "constant",
        "learning_rate_init": 0.001,
        "power_t": 0.5,
        "shuffle": True,
        "warm_start": False,
        "momentum": 0.9,
        "nesterovs_momentum": True,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "max_fun": 15000,
    }
)


def is_frame(X: object) -> bool:
    """Return whether ``X`` is a frame of pandas or polars."""
    return hasattr(type(X), "columns") and not sp.issparse(X)


def _has_names(X: object) -> bool:
    """Return whether ``X`` is a frame with named columns; ``pandas.DataFrame(array)`` has none."""
    return is_frame(X) and all(isinstance(name, str) for name in getattr(X, "columns", ()))


def choose_preset(estimator: object, X: object) -> Preset:
    """Return the preset of a fit: the given one, or the one that suits ``X`` and the parameters.

    Without a given preset, a frame with named columns has ``"tabular"``, unless ``alpha`` is set,
    which has another scale there, or a parameter that it does not have. A script that sets the
    solver of scikit-learn's estimator therefore has that solver.

    Raises:
        TypeError: If ``preset`` has the wrong type, or ``X`` is a lazy frame.
        ValueError: If there is no such preset, or a parameter is not one of ``preset="tabular"``.
    """
    if hasattr(type(X), "collect"):  # asking a lazy frame for its columns would warn
        found = Unquoted(type(X).__name__)
        raise TypeError(error_message("X", "a frame in memory", found, "collect it first"))
    given = _given(estimator)
    preset: object = getattr(estimator, "preset", None)
    if preset is None:
        is_set = given or getattr(estimator, "alpha", None) is not None
        return "tabular" if _has_names(X) and not is_set else "sklearn"
    chosen: Preset = check_choice("preset", preset, get_args(Preset))
    if chosen == "tabular" and given:
        name = given[0]
        rule = f"the default for preset='tabular', {SKLEARN_ONLY[name]!r}"
        cure = "leave it out, or use preset='sklearn'"
        raise ValueError(error_message(name, rule, getattr(estimator, name), cure))
    return chosen


def _given(estimator: object) -> list[str]:
    """Return the names of the parameters of scikit-learn's network that are not the defaults."""
    missing = object()
    found = ((name, getattr(estimator, name, missing)) for name in SKLEARN_ONLY)
    return [
        name
        for name, value in found
        if value is not missing and not _is_same(value, SKLEARN_ONLY[name])
    ]


def _is_same(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default
