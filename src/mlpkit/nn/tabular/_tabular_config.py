"""TabularMLPConfig: the description of a network for tables, as values that JSON can hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import get_args

from mlpkit._checks import (
    Check,
    check_bool,
    check_choice,
    check_int,
    check_tuple,
    error_message,
    store_checked,
)
from mlpkit.nn._config import MLPConfig
from mlpkit.nn.tabular._feature_embedding import NumberEmbedding

__all__ = ["TabularMLPConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TabularMLPConfig:
    """The architecture of a :class:`TabularMLP`, as values that JSON and TOML can hold.

    The statistics of the training inputs are no part of it: they are buffers of the network.

    Args:
        num_categories: Number of categories of each feature, 0 for a number.
        mlp: The MLP behind the embedding.
        numbers: How numbers are embedded; see :class:`FeatureEmbedding`.
        num_pieces: Number of pieces of the piecewise linear embedding, at least 1.
        max_one_hot: Largest number of categories that are one-hot, at least 0.
        embedding_dim: Number of outputs of each feature with more categories, at least 1.
        scaled_rates: Whether each layer has its own learning rate; see :class:`TabularMLP`.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range.

    Example:
        >>> import torch
        >>> from mlpkit.nn import TabularMLP
        >>> TabularMLP.for_data(torch.rand(500, 2), None, (8,), 1).config.num_pieces
        16
    """

    num_categories: tuple[int, ...]
    mlp: MLPConfig
    numbers: NumberEmbedding = "piecewise_linear"
    num_pieces: int = 16
    max_one_hot: int = 9
    embedding_dim: int = 8
    scaled_rates: bool = True

    def __post_init__(self) -> None:
        rule = "one integer or more, 0 for a number"
        counts = partial(check_tuple, check=partial(check_int, minimum=0), rule=rule)
        checks: dict[str, Check[object]] = {
            "num_categories": counts,
            "mlp": _mlp_config,
            "numbers": partial(check_choice, names=get_args(NumberEmbedding)),
            "num_pieces": partial(check_int, minimum=1),
            "max_one_hot": partial(check_int, minimum=0),
            "embedding_dim": partial(check_int, minimum=1),
            "scaled_rates": check_bool,
        }
        store_checked(self, checks)
        if not self.num_categories:
            raise ValueError(error_message("num_categories", rule, self.num_categories))

    @property
    def num_embedded(self) -> int:
        """Number of pieces, one-hot codes and weights of vectors, which bounds the memory."""
        counts, most = self.num_categories, self.max_one_hot
        few, many = sum(k for k in counts if k <= most), sum(k for k in counts if k > most)
        return counts.count(0) * self.num_pieces + few + many * self.embedding_dim


def _mlp_config(argument: str, value: object) -> MLPConfig:
    if not isinstance(value, MLPConfig):
        raise TypeError(error_message(argument, "an MLPConfig", value))
    return value
