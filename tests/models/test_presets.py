"""The default networks."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from mlpkit.models import NETWORK_DEFAULTS
from mlpkit.training import Task


def test_each_task_has_a_default_network_that_cannot_be_changed() -> None:
    assert NETWORK_DEFAULTS.keys() == set(get_args(Task))
    for defaults in NETWORK_DEFAULTS.values():
        assert defaults.widths(10_000) == defaults.hidden_features == (512, 256)
        with pytest.raises(dataclasses.FrozenInstanceError):
            defaults.hidden_features = ()  # type: ignore[misc]  # bad on purpose
        assert defaults.options.dropout == 0.1


def test_a_small_regression_gets_a_small_network() -> None:
    widths = {task: found.widths(9_999) for task, found in NETWORK_DEFAULTS.items()}
    big, small = (512, 256), (128, 64)
    assert widths == {"classification": big, "multilabel": big, "regression": small}
