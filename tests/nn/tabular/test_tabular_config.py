"""TabularMLPConfig: checks, JSON, and the bound on the memory."""

from __future__ import annotations

import dataclasses

import pytest

from mlpkit import _serialization
from mlpkit.errors import ConfigError
from mlpkit.nn import MLPConfig, NumberEmbedding, TabularMLP, TabularMLPConfig

CONFIG = TabularMLPConfig(
    num_categories=(0, 3, 40, 2, 0),
    mlp=MLPConfig(in_features=28, hidden_features=(4,), out_features=3),
)


def test_json() -> None:
    text = _serialization.to_json(CONFIG)
    assert _serialization.from_json(TabularMLPConfig, text) == CONFIG
    with pytest.raises(ConfigError, match="did you mean 'numbers'"):
        _serialization.from_dict(TabularMLPConfig, {**_serialization.to_dict(CONFIG), "number": 1})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_categories", (), "num_categories must be one integer or more, 0 for a number, got"),
        ("num_categories", (0, -1), r"num_categories\[1\] must be a non-negative integer, got -1"),
        ("mlp", None, "mlp must be an MLPConfig, got None"),
        ("numbers", "linear", "numbers must be one of 'none', 'periodic', 'piecewise_linear'"),
        ("num_pieces", 0, "num_pieces must be a positive integer, got 0"),
        ("max_one_hot", -1, "max_one_hot must be a non-negative integer, got -1"),
        ("embedding_dim", 0, "embedding_dim must be a positive integer, got 0"),
        ("scaled_rates", 1, "scaled_rates must be True or False, got 1"),
    ],
)
def test_refusals(field: str, value: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        dataclasses.replace(CONFIG, **{field: value})  # type: ignore[arg-type]  # bad on purpose


@pytest.mark.parametrize(
    ("numbers", "width"), [("none", 14), ("periodic", 20), ("piecewise_linear", 28)]
)
def test_the_bound_on_the_memory_holds(numbers: NumberEmbedding, width: int) -> None:
    """The tensors of a network have at least as many elements, so a file can be refused by it."""
    config = dataclasses.replace(
        CONFIG,
        numbers=numbers,
        num_pieces=7 if numbers == "piecewise_linear" else 1,
        mlp=dataclasses.replace(CONFIG.mlp, in_features=width),
    )
    network = TabularMLP.from_config(config)
    assert config.num_embedded == 2 * config.num_pieces + 3 + 2 + 40 * 8
    elements = sum(value.numel() for value in network.embedding.state_dict().values())
    assert config.num_embedded <= elements
    assert network.config == config
