"""The presets of an estimator, and the parameters of each that are checked when it is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

import scipy.sparse as sp

from mlpkit._checks import check_choice, error_message

__all__ = ["Preset", "choose_preset", "is_frame"]

Preset: TypeAlias = Literal["sklearn", "tabular"]

#: Parameters that only scikit-learn's network has, with their defaults.
SKLEARN_ONLY: Final[Mapping[str, object]] = MappingProxyType(
    {
        "loss": "squared_error",
        "solver": "adam",
        "learning_rate": "constant",
        "power_t": 0.5,
        "shuffle": True,
        "tol": 1e-4,
        "warm_start": False,
        "momentum": 0.9,
        "nesterovs_momentum": True,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "n_iter_no_change": 10,
        "max_fun": 15000,
    }
)
#: Parameters whose useful values differ between the presets; None is the value of the preset.
RESCALED: Final = ("alpha", "learning_rate_init")


def is_frame(X: object) -> bool:
    """Return whether ``X`` is a table with named columns, such as a pandas or polars frame."""
    return hasattr(type(X), "columns") and not sp.issparse(X)


def choose_preset(estimator: object, X: object) -> Preset:
    """Return the preset of a fit: the given one, or the one that suits ``X`` and the parameters.

    Without a given preset, a frame has ``"tabular"``, unless a parameter is set that it does not
    have or that has another scale there. A script that sets the solver of scikit-learn's estimator
    therefore has that solver.

    Raises:
        TypeError: If ``preset`` has the wrong type.
        ValueError: If there is no such preset, or a parameter is not one of ``preset="tabular"``.
    """
    given = _given(estimator)
    preset: object = getattr(estimator, "preset", None)
    if preset is None:
        is_scaled = any(getattr(estimator, name) is not None for name in RESCALED)
        return "tabular" if is_frame(X) and not given and not is_scaled else "sklearn"
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
