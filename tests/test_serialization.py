"""Configurations as dicts, JSON and TOML: round trips, and errors for unknown keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mlpkit import _serialization
from mlpkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    """A nested configuration."""

    kind: str = "cosine"
    steps: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    """A configuration with every kind of field."""

    sizes: tuple[int, ...]
    out: int | None
    inner: Inner = Inner()
    maybe: Inner | None = None
    many: tuple[float | None, ...] = ()
    rate: float = 0.1
    several: str | Inner | tuple[str | Inner, ...] = "none"


CONFIGS = [
    Outer(sizes=(), out=None),
    Outer(sizes=(3, 4), out=10, inner=Inner(kind="step", steps=7), maybe=Inner(steps=1)),
    Outer(sizes=(1,), out=2, many=(0.1, 1e-300, 3.0), rate=1 / 3),
    Outer(sizes=(1,), out=2, several=Inner(steps=2)),
    Outer(sizes=(1,), out=2, several=("step", Inner(), Inner(steps=2))),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_json_round_trip(config: Outer) -> None:
    """JSON gives back an equal configuration; floats keep all their bits."""
    assert _serialization.from_json(Outer, _serialization.to_json(config)) == config


@pytest.mark.parametrize("config", CONFIGS)
def test_toml_round_trip(config: Outer) -> None:
    """TOML has no null: a field that is None is left out and is read as None."""
    assert _serialization.from_toml(Outer, _serialization.to_toml(config)) == config


def test_unknown_keys_are_refused() -> None:
    """The message names the key, the file and the most similar valid key, at any depth."""
    with pytest.raises(
        ConfigError,
        match=r"^a key of Inner in run\.toml must be one of kind, steps, got 'stesp'; "
        r"did you mean 'steps'\?$",
    ):
        _serialization.from_dict(
            Outer, {"sizes": [], "out": 1, "inner": {"stesp": 3}}, source="run.toml"
        )
    with pytest.raises(ConfigError, match=r"got 'zzz'; remove it$"):
        _serialization.from_dict(Outer, {"zzz": 3})


def test_a_missing_key_is_named() -> None:
    """A field without a default that may not be None is required."""
    with pytest.raises(ConfigError, match=r"^Outer\.sizes must be given; add the key$"):
        _serialization.from_dict(Outer, {"out": 3})


def test_invalid_syntax_is_refused() -> None:
    """The message names the file and the position."""
    with pytest.raises(ConfigError, match=r"^a\.json must be valid JSON, got an error: .*line 1"):
        _serialization.from_json(Outer, "{", source="a.json")
    with pytest.raises(ConfigError, match=r"^Outer must be valid TOML, got an error: "):
        _serialization.from_toml(Outer, "=")
    with pytest.raises(ConfigError, match=r"^Outer as JSON must be an object, got \[1\]$"):
        _serialization.from_json(Outer, "[1]")


def test_a_value_that_cannot_be_saved_is_refused() -> None:
    """A module and a function have no JSON value; the message names the field."""

    @dataclass(frozen=True)
    class Odd:
        path: Path
        value: object

    assert _serialization.to_dict(Odd(Path("a/b"), (1, Path("c")))) == {
        "path": "a/b",
        "value": [1, "c"],
    }
    with pytest.raises(ConfigError, match=r"^Odd\.value must be a number, .* got ReLU\(\)$"):
        _serialization.to_dict(Odd(Path(), torch.nn.ReLU()))
    with pytest.raises(ConfigError, match=r"^Odd\.value\[1\] must be "):
        _serialization.to_dict(Odd(Path(), (1, torch.relu)))
