"""PeriodicEmbedding: numbers as learned cosines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, check_int
from mlpkit._protocols import ParamGroup
from mlpkit.nn._draw import normal_, uniform_
from mlpkit.nn.tabular._input_checks import check_last_axis

__all__ = ["PeriodicEmbedding"]


class PeriodicEmbedding(nn.Module):
    r"""Embed each number by cosines with learned frequencies and phases, and keep the number.

    .. math::
        h_{ij} = \cos(2 \pi (w_{ij} x_i + b_{ij})), \qquad
        y_i = (x_i,\; V_i h_i + a_i) \in \mathbb{R}^d

    for the features i and the frequencies j. Each feature has private parameters. Initially the
    frequencies are normal with standard deviation ``frequency_scale``, the phases are uniform in
    [-1/2, 1/2], and V and a are uniform as in :class:`torch.nn.Linear`. All have a learning rate
    below that of the network, and no weight decay. The features should have a scale of about 1,
    such as those of :class:`RobustScaling`.

    Args:
        num_features: Number F of features, at least 1.
        embedding_dim: Number d of outputs of each feature, at least 2; the first is the feature.
        num_frequencies: Number of cosines of each feature, at least 1.
        frequency_scale: Standard deviation of the initial frequencies, above 0, in cycles per unit
            of the feature.
        lr_factor: Factor on the learning rate of all parameters, above 0.
        device: Device of the parameters; None is torch's default device.
        dtype: Floating dtype of the parameters; None is torch's default dtype.
        generator: Random number generator for the parameters; None is torch's global generator.

    Shape:
        - Input: :math:`(*, F)`.
        - Output: :math:`(*, F d)`; the outputs of a feature are contiguous.
        - ``frequency``, ``phase``: ``(num_features, num_frequencies)``.
        - ``weight``: ``(num_features, num_frequencies, embedding_dim - 1)``; ``bias``:
          ``(num_features, embedding_dim - 1)``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range; in ``forward``, if the size of the last axis is
            not ``num_features``.

    Example:
        >>> import torch
        >>> from mlpkit.nn import PeriodicEmbedding
        >>> embedding = PeriodicEmbedding(3, embedding_dim=4)
        >>> embedding(torch.zeros(5, 3)).shape
        torch.Size([5, 12])

    References:
        Gorishniy, Rubachev, Babenko (2022), On Embeddings for Numerical Features in Tabular Deep
        Learning, arXiv:2203.05556, equation 2 (periodic).
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491, section 3
        (PBLD: with phases, and concatenated with the number).
    """

    frequency: nn.Parameter
    phase: nn.Parameter
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        num_features: int,
        *,
        embedding_dim: int = 4,
        num_frequencies: int = 16,
        frequency_scale: float = 0.1,
        lr_factor: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_features = check_int("num_features", num_features, minimum=1)
        self.embedding_dim = check_int("embedding_dim", embedding_dim, minimum=2)
        self.num_frequencies = check_int("num_frequencies", num_frequencies, minimum=1)
        self.frequency_scale = check_float("frequency_scale", frequency_scale, above=0.0)
        self.lr_factor = check_float("lr_factor", lr_factor, above=0.0)
        waves, learned = (self.num_features, self.num_frequencies), self.embedding_dim - 1
        for name, shape in (
            ("frequency", waves),
            ("phase", waves),
            ("weight", (*waves, learned)),
            ("bias", (self.num_features, learned)),
        ):
            value = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, value)
        self.reset_parameters(generator)

    @property
    def out_features(self) -> int:
        """Number of outputs of all features together."""
        return self.num_features * self.embedding_dim

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters; None is torch's global generator."""
        bound = 1 / math.sqrt(self.num_frequencies)
        normal_(self.frequency, self.frequency_scale, generator)
        uniform_(self.phase, 0.5, generator)
        uniform_(self.weight, bound, generator)
        uniform_(self.bias, bound, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings of all numbers."""
        check_last_axis(x, self.num_features)
        one = x.unsqueeze(-1)
        h = torch.cos(2 * math.pi * (self.frequency * one + self.phase))
        learned = torch.einsum("...fk,fkd->...fd", h, self.weight) + self.bias
        return torch.cat((one, learned), -1).flatten(-2)

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return one group without weight decay and with ``lr_factor``."""
        check_float("weight_decay", weight_decay, minimum=0.0)
        return [ParamGroup(self.parameters(), weight_decay=0.0, lr_factor=self.lr_factor)]

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return (
            f"{self.num_features}, embedding_dim={self.embedding_dim}, "
            f"num_frequencies={self.num_frequencies}, "
            f"frequency_scale={self.frequency_scale:g}, lr_factor={self.lr_factor:g}"
        )

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...
