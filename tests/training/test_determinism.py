"""Deterministic algorithms are asked for inside the block only."""

from __future__ import annotations

import pytest
import torch

from mlpkit.training._determinism import deterministic_algorithms

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_setting_is_put_back() -> None:
    """Also after an exception."""
    with deterministic_algorithms(CPU, active=False):
        assert not torch.are_deterministic_algorithms_enabled()
    inside = []

    def fail() -> None:
        with deterministic_algorithms(CPU, active=True):
            inside.append(torch.are_deterministic_algorithms_enabled())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_cublas_must_be_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workspace is fixed at its first call, so a variable that is missing is an error."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with (
        pytest.raises(ValueError, match=r"CUBLAS_WORKSPACE_CONFIG must be .* got None; set it"),
        deterministic_algorithms(CUDA, active=True),
    ):
        pass
    assert not torch.are_deterministic_algorithms_enabled()
