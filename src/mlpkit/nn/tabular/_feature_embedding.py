"""FeatureEmbedding: the columns of a table as inputs of an MLP, each column by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from mlpkit._checks import check_choice, check_int, check_tuple, error_message
from mlpkit._protocols import ParamGroup
from mlpkit.nn.tabular._category_embedding import CategoryEmbedding
from mlpkit.nn.tabular._feature_scaling import FeatureScaling
from mlpkit.nn.tabular._input_checks import check_last_axis, check_rows, device_for
from mlpkit.nn.tabular._one_hot import OneHot
from mlpkit.nn.tabular._periodic_embedding import PeriodicEmbedding
from mlpkit.nn.tabular._piecewise_linear_embedding import PiecewiseLinearEmbedding, quantile_edges
from mlpkit.nn.tabular._robust_scaling import RobustScaling

__all__ = ["FeatureEmbedding", "NumberEmbedding"]

NumberEmbedding: TypeAlias = Literal["none", "periodic", "piecewise_linear"]


class FeatureEmbedding(nn.Module):
    r"""Turn the columns of a table into inputs of an MLP: numbers, and codes of categories.

    .. math::
        y = s \odot \bigl(\mathrm{embed}(\mathrm{scale}(x_{\mathrm{numbers}})),\;
            \mathrm{onehot}(x_{\mathrm{few}}),\; E[x_{\mathrm{many}}]\bigr)

    Numbers pass :class:`RobustScaling` and, unless ``numbers`` is ``"none"``, an embedding. A
    feature with at most ``max_one_hot`` categories passes :class:`OneHot`, one with more
    :class:`CategoryEmbedding`. :class:`FeatureScaling` multiplies the result by learned factors.

    All features are in one floating-point tensor. A category is a whole number from 0, and any
    other value in its column is an unknown category.

    Args:
        inputs: The training inputs, ``(N, F)``; medians and quantiles are taken from them. The
            numbers must be finite.
        num_categories: Number of categories of each feature, 0 for a number; None means numbers
            only.
        numbers: ``"piecewise_linear"`` for :class:`PiecewiseLinearEmbedding`, ``"periodic"`` for
            :class:`PeriodicEmbedding`, ``"none"`` for the scaled numbers alone.
        num_pieces: Largest number of pieces of a piecewise linear embedding, at least 1.
        max_one_hot: Largest number of categories that are one-hot, at least 0.
        embedding_dim: Number of outputs of each feature with more categories, at least 1.
        generator: Random number generator for the parameters; None is torch's global generator.

    Shape:
        - Input: :math:`(*, F)`.
        - Output: :math:`(*, D)` with D equal to ``out_features``; numbers first, then one-hot
          columns, then embeddings, each in the order of the features.

    Attributes:
        num_features: Number F of features.
        num_categories: Number of categories of each feature, 0 for a number.
        num_pieces: Number of pieces of the piecewise linear embedding; 1 without one.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range; in ``forward``, if the size of the last axis is
            not the number of features.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.nn import MLP, FeatureEmbedding
        >>> rows = torch.tensor([[20.0, 0.0, 7.0], [30.0, 1.0, 12.0], [55.0, 2.0, 0.0]])
        >>> embedding = FeatureEmbedding(rows, (0, 3, 50), embedding_dim=8)
        >>> embedding.out_features  # 8 for the number, 3 one-hot columns, 8 for 50 categories
        19
        >>> model = nn.Sequential(embedding, MLP(embedding.out_features, (64, 64), 1))
        >>> model(rows).shape
        torch.Size([3, 1])

    References:
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and
        Boosted Trees on Tabular Data, arXiv:2407.04491, section 3.
    """

    def __init__(
        self,
        inputs: Tensor,
        num_categories: Sequence[int] | None = None,
        *,
        numbers: NumberEmbedding = "piecewise_linear",
        num_pieces: int = 16,
        max_one_hot: int = 9,
        embedding_dim: int = 8,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.numbers: NumberEmbedding = check_choice("numbers", numbers, get_args(NumberEmbedding))
        pieces = check_int("num_pieces", num_pieces, minimum=1)
        self.max_one_hot = most = check_int("max_one_hot", max_one_hot, minimum=0)
        self.embedding_dim = check_int("embedding_dim", embedding_dim, minimum=1)
        self.num_pieces = 1
        inputs = check_rows(inputs)
        self.num_features = inputs.shape[1]
        self.num_categories = counts = check_tuple(
            "num_categories",
            (0,) * self.num_features if num_categories is None else num_categories,
            partial(check_int, minimum=0),
            rule="a sequence of integers, 0 for a number",
        )
        if len(counts) != self.num_features:
            rule = f"one for each of {self.num_features} features"
            raise ValueError(error_message("num_categories", rule, counts))
        features = range(self.num_features)
        parts: list[tuple[list[int], nn.Module]] = []
        chosen = [i for i in features if not counts[i]]
        width = 0
        if chosen:
            scaling = RobustScaling.for_data(inputs[:, chosen])
            embed: _Embedding | None = None
            if self.numbers == "periodic":
                embed = PeriodicEmbedding(len(chosen), generator=generator)
            elif self.numbers == "piecewise_linear":
                edges = quantile_edges(scaling(inputs[:, chosen]), num_pieces=pieces)
                embed = PiecewiseLinearEmbedding(edges, generator=generator)
                self.num_pieces = embed.num_pieces
            width = len(chosen) if embed is None else embed.out_features
            parts.append((chosen, scaling if embed is None else nn.Sequential(scaling, embed)))
        chosen = [i for i in features if 0 < counts[i] <= most]
        if chosen:
            one_hot = OneHot([counts[i] for i in chosen])
            width += one_hot.out_features
            parts.append((chosen, one_hot))
        chosen = [i for i in features if counts[i] > most]
        if chosen:
            vectors = CategoryEmbedding(
                [counts[i] for i in chosen], embedding_dim=self.embedding_dim, generator=generator
            )
            width += vectors.out_features
            parts.append((chosen, vectors))
        self.parts = nn.ModuleList(part for _, part in parts)
        for index, (columns, _) in enumerate(parts):
            self.register_buffer(f"columns_{index}", torch.tensor(columns))
        self.scaling = FeatureScaling(width)
        self.to(device_for(inputs))

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return self.scaling.num_features

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters; None is torch's global generator. The statistics stay."""
        for module in self.modules():
            if isinstance(module, CategoryEmbedding | _Embedding):
                module.reset_parameters(generator)
        self.scaling.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the inputs of the MLP."""
        check_last_axis(x, self.num_features)
        outputs = [
            part(x.index_select(-1, self.get_buffer(f"columns_{index}")))
            for index, part in enumerate(self.parts)
        ]
        return self.scaling(torch.cat(outputs, -1))

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the groups of all layers; none of them has weight decay."""
        learned = (CategoryEmbedding, FeatureScaling, _Embedding)
        layers = [each for each in self.modules() if isinstance(each, learned)]
        return [group for layer in layers for group in layer.param_groups(weight_decay)]

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


_Embedding: TypeAlias = PeriodicEmbedding | PiecewiseLinearEmbedding
