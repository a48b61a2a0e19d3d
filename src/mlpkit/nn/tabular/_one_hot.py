"""OneHot: category codes as columns of 0 and 1, or of -1 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit._checks import check_int, check_tuple
from mlpkit.nn.tabular._input_checks import check_last_axis

__all__ = ["OneHot", "check_num_categories"]


class OneHot(nn.Module):
    r"""One-hot encoding of category codes, which are whole numbers in a floating-point tensor.

    .. math::
        y_i = ([x_i = 0], \dots, [x_i = K_i - 1]), \qquad
        y_i = [x_i = 1] - [x_i = 0] \;\text{ if } K_i = 2

    Two categories become one column of -1 and 1. Any other value, such as -1, NaN or a code from
    K on, is an unknown category, and its columns are 0.

    Args:
        num_categories: Number K of categories of each feature, at least 1.
        device: Device of the buffers; None is torch's default device.
        dtype: Floating dtype of the buffers; None is torch's default dtype.

    Shape:
        - Input: :math:`(*, F)` with F equal to ``len(num_categories)``.
        - Output: :math:`(*, \sum_i C_i)` with :math:`C_i = 1` for two categories, else
          :math:`K_i`; of the dtype of the buffers.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a number is less than 1; in ``forward``, if the size of the last axis is not
            the number of features.

    Example:
        >>> import torch
        >>> from mlpkit.nn import OneHot
        >>> one_hot = OneHot((3, 2))
        >>> one_hot(torch.tensor([[0.0, 1.0], [2.0, 0.0], [-1.0, 5.0]])).tolist()
        [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]

    References:
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491, section 3
        (one-hot encoding, binary categories as -1 and 1).
    """

    feature: Tensor
    code: Tensor
    negative: Tensor

    def __init__(
        self,
        num_categories: Sequence[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_categories = check_num_categories(num_categories)
        columns = [
            (feature, code, float(count == 2))
            for feature, count in enumerate(self.num_categories)
            for code in ((1,) if count == 2 else range(count))
        ]
        feature, code, negative = zip(*columns, strict=True)
        self.register_buffer("feature", torch.tensor(feature, device=device))
        self.register_buffer("code", torch.tensor(code, device=device))  # whole in every dtype
        value = torch.tensor(negative, device=device, dtype=dtype or torch.get_default_dtype())
        self.register_buffer("negative", value)

    @property
    def out_features(self) -> int:
        """Number of columns."""
        return len(self.code)

    def forward(self, x: Tensor) -> Tensor:
        """Return the columns of all features."""
        check_last_axis(x, len(self.num_categories))
        codes = x.index_select(-1, self.feature)
        return (codes == self.code).to(self.negative) - (codes == 0).to(self.negative) * (
            self.negative
        )

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"{self.num_categories}"

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


def check_num_categories(given: object) -> tuple[int, ...]:
    """Return the number of categories of each feature; at least one feature."""
    found = check_tuple(
        "num_categories",
        given,
        partial(check_int, minimum=1),
        rule="a sequence of positive integers",
    )
    check_int("len(num_categories)", len(found), minimum=1)
    return found
