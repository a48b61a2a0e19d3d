"""CategoryEmbedding: a learned vector for each category."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, check_int
from mlpkit._protocols import ParamGroup
from mlpkit.nn._draw import normal_
from mlpkit.nn.tabular._input_checks import check_last_axis
from mlpkit.nn.tabular._one_hot import check_num_categories

__all__ = ["CategoryEmbedding"]


class CategoryEmbedding(nn.Module):
    r"""Learned vectors of category codes, which are whole numbers in a floating-point tensor.

    .. math:: y_i = E_i[x_i] \in \mathbb{R}^d

    Any value that is no code, such as -1, NaN or a code from K on, is an unknown category, and its
    vector is 0. The vectors are standard normal at first, as in :class:`torch.nn.Embedding`, and
    have no weight decay. A float32 holds each code below :math:`2^{24}` exactly.

    Args:
        num_categories: Number K of categories of each feature, at least 1.
        embedding_dim: Number d of outputs of each feature, at least 1.
        device: Device of ``weight``; None is torch's default device.
        dtype: Floating dtype of ``weight``; None is torch's default dtype.
        generator: Random number generator for the vectors; None is torch's global generator.

    Shape:
        - Input: :math:`(*, F)` with F equal to ``len(num_categories)``.
        - Output: :math:`(*, F d)`; the outputs of a feature are contiguous.
        - ``weight``: ``(sum(num_categories), embedding_dim)``, the features one after another.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range; in ``forward``, if the size of the last axis is
            not the number of features.

    Example:
        >>> import torch
        >>> from mlpkit.nn import CategoryEmbedding
        >>> embedding = CategoryEmbedding((1000, 40), embedding_dim=8)
        >>> vectors = embedding(torch.tensor([[999.0, 3.0], [-1.0, 40.0]]))
        >>> vectors.shape, vectors[1].any().item()
        (torch.Size([2, 16]), False)

    References:
        Guo, Berkhahn (2016), Entity Embeddings of Categorical Variables, arXiv:1604.06737,
        equation 3.
    """

    weight: nn.Parameter
    size: Tensor
    offset: Tensor

    def __init__(
        self,
        num_categories: Sequence[int],
        *,
        embedding_dim: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_categories = check_num_categories(num_categories)
        self.embedding_dim = check_int("embedding_dim", embedding_dim, minimum=1)
        shape = (sum(self.num_categories), self.embedding_dim)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        sizes = torch.tensor(self.num_categories, device=device)
        self.register_buffer("size", sizes)
        offsets = list(accumulate(self.num_categories, initial=0))[:-1]
        self.register_buffer("offset", torch.tensor(offsets, device=device))
        self.reset_parameters(generator)

    @property
    def out_features(self) -> int:
        """Number of outputs of all features together."""
        return len(self.num_categories) * self.embedding_dim

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all vectors; None is torch's global generator."""
        normal_(self.weight, 1.0, generator)

    def find_rows(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row of ``weight`` of each code, and whether the code is known, ``(*, F)``."""
        check_last_axis(x, len(self.num_categories))
        is_known = (x >= 0) & (x < self.size) & (x == x.floor())
        return torch.where(is_known, x, 0).long() + self.offset, is_known

    def forward(self, x: Tensor) -> Tensor:
        """Return the vectors of all features."""
        rows, is_known = self.find_rows(x)
        vectors = F.embedding(rows, self.weight)
        return (vectors * is_known.unsqueeze(-1)).flatten(-2)

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return one group without weight decay."""
        check_float("weight_decay", weight_decay, minimum=0.0)
        return [ParamGroup([self.weight], weight_decay=0.0)]

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"{self.num_categories}, embedding_dim={self.embedding_dim}"

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...
