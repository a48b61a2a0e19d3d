"""PiecewiseLinearEmbedding: numbers by their place in the quantiles of the training inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, check_int, error_message
from mlpkit._protocols import ParamGroup
from mlpkit.nn._draw import uniform_
from mlpkit.nn.tabular._input_checks import check_finite_rows, check_last_axis

__all__ = ["PiecewiseLinearEmbedding", "quantile_edges"]


class PiecewiseLinearEmbedding(nn.Module):
    r"""Embed each number by a learned function that is linear between fixed edges.

    With the edges :math:`b_{i0} < \dots < b_{iT}` of feature i,

    .. math::
        e_{it} = \begin{cases}
            0 & x_i < b_{i,t-1},\; t > 1 \\
            1 & x_i \ge b_{it},\; t < T \\
            \frac{x_i - b_{i,t-1}}{b_{it} - b_{i,t-1}} & \text{else}
        \end{cases}
        \qquad y_i = V_i e_i + a_i \in \mathbb{R}^d

    so the first and the last piece continue beyond the edges. Each feature has private parameters.
    Initially V and a are uniform in :math:`[-1/\sqrt{T}, 1/\sqrt{T}]`, as in
    :class:`torch.nn.Linear`; they have no weight decay.

    Args:
        edges: The edges of each feature: one tensor per feature, ``(T_i + 1,)`` with at least two
            increasing finite numbers. :func:`quantile_edges` computes them.
        embedding_dim: Number d of outputs of each feature, at least 1.
        device: Device of the parameters; None is torch's default device.
        dtype: Floating dtype of the parameters; None is torch's default dtype.
        generator: Random number generator for the parameters; None is torch's global generator.

    Shape:
        - Input: :math:`(*, F)` with F equal to ``len(edges)``.
        - Output: :math:`(*, F d)`; the outputs of a feature are contiguous.
        - ``start``, ``slope``: ``(F, T)`` with the largest T, buffers; a missing piece has slope 0.
        - ``weight``: ``(F, T, d)``; ``bias``: ``(F, d)``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or edges do not increase; in ``forward``, if the
            size of the last axis is not the number of features.

    Example:
        >>> import torch
        >>> from mlpkit.nn import PiecewiseLinearEmbedding
        >>> embedding = PiecewiseLinearEmbedding([torch.tensor([0.0, 1.0, 3.0])], embedding_dim=5)
        >>> embedding.encode(torch.tensor([[0.5], [2.0], [5.0]])).squeeze(1).tolist()
        [[0.5, 0.0], [1.0, 0.5], [1.0, 2.0]]
        >>> embedding(torch.zeros(7, 1)).shape
        torch.Size([7, 5])

    References:
        Gorishniy, Rubachev, Babenko (2022), On Embeddings for Numerical Features in Tabular Deep
        Learning, arXiv:2203.05556, equation 1.
    """

    start: Tensor
    slope: Tensor
    lower: Tensor
    upper: Tensor
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        edges: Sequence[Tensor],
        *,
        embedding_dim: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.embedding_dim = check_int("embedding_dim", embedding_dim, minimum=1)
        if not len(edges):
            raise ValueError(error_message("edges", "of one feature or more", edges))
        for index, each in enumerate(edges):
            is_finite = bool(each.isfinite().all())
            if each.ndim != 1 or len(each) < 2 or not (is_finite and bool((each.diff() > 0).all())):
                rule = "two increasing finite numbers or more, of shape (T + 1,)"
                raise ValueError(error_message(f"edges[{index}]", rule, each))
        self.num_features = len(edges)
        self.num_pieces = max(map(len, edges)) - 1
        pieces = (self.num_features, self.num_pieces)
        start, slope, lower, upper = torch.zeros(4, *pieces, dtype=torch.float64, device="cpu")
        upper.fill_(1.0)
        weight = torch.empty((*pieces, self.embedding_dim), device=device, dtype=dtype)
        # The end pieces continue beyond the edges; a saved buffer must be finite, in bfloat16 too.
        unbounded = min(torch.finfo(weight.dtype).max, torch.finfo(torch.bfloat16).max)
        for index, each in enumerate(edges):
            exact, count = each.detach().cpu().double(), len(each) - 1
            start[index, :count] = exact[:-1]
            slope[index, :count] = 1 / exact.diff()
            lower[index, 0] = -unbounded
            upper[index, count - 1] = unbounded
        for name, value in (("start", start), ("slope", slope), ("lower", lower), ("upper", upper)):
            self.register_buffer(name, value.to(weight))
        if not bool(slope.to(weight.dtype).isfinite().all()):
            rule = f"further apart than {weight.dtype} can distinguish"
            raise ValueError(error_message("edges", rule, [each.tolist() for each in edges]))
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(weight.new_empty(self.num_features, self.embedding_dim))
        self.reset_parameters(generator)

    @property
    def out_features(self) -> int:
        """Number of outputs of all features together."""
        return self.num_features * self.embedding_dim

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights and biases; None is torch's global generator."""
        bound = 1 / math.sqrt(self.num_pieces)
        for value in (self.weight, self.bias):
            uniform_(value, bound, generator)

    def encode(self, x: Tensor) -> Tensor:
        """Return the encoding e of all numbers, ``(*, F)`` to ``(*, F, T)``, without weights."""
        check_last_axis(x, self.num_features)
        place = (x.unsqueeze(-1) - self.start) * self.slope
        return torch.minimum(torch.maximum(place, self.lower), self.upper)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings of all numbers."""
        learned = torch.einsum("...ft,ftd->...fd", self.encode(x), self.weight) + self.bias
        return learned.flatten(-2)

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return one group without weight decay."""
        check_float("weight_decay", weight_decay, minimum=0.0)
        return [ParamGroup(self.parameters(), weight_decay=0.0)]

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return (
            f"{self.num_features}, embedding_dim={self.embedding_dim}, num_pieces={self.num_pieces}"
        )

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


def quantile_edges(inputs: Tensor, *, num_pieces: int = 16) -> list[Tensor]:
    r"""Return edges with equally many training inputs between two, for each feature.

    .. math:: b_{it} = q_{t / T}(x_i), \qquad t = 0, \dots, T

    Equal quantiles count once, so a feature with few different values has fewer pieces. A constant
    feature has the edges c - 1/2 and c + 1/2.

    Args:
        inputs: The training inputs, ``(N, F)``, finite.
        num_pieces: Largest number T of pieces, at least 1.

    Returns:
        For each feature the increasing edges, of the dtype of ``inputs``.

    Raises:
        TypeError: If ``inputs`` is not a tensor.
        ValueError: If there is no example, or a value is not finite.

    Example:
        >>> import torch
        >>> from mlpkit.nn import quantile_edges
        >>> [edges.tolist() for edges in quantile_edges(torch.arange(9.0)[:, None], num_pieces=4)]
        [[0.0, 2.0, 4.0, 6.0, 8.0]]

    References:
        Gorishniy, Rubachev, Babenko (2022), arXiv:2203.05556, section 3.2 (bins from quantiles).
    """
    count = check_int("num_pieces", num_pieces, minimum=1)
    values = check_finite_rows(inputs)
    values = values if values.is_floating_point() else values.to(torch.get_default_dtype())
    levels = torch.linspace(0, 1, count + 1, dtype=values.dtype, device=values.device)
    each = [torch.unique(column.quantile(levels)) for column in values.unbind(1)]
    half = values.new_tensor((-0.5, 0.5))
    return [edges if len(edges) > 1 else edges + half for edges in each]
