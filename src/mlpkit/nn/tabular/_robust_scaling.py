"""RobustScaling: median and quartiles of the training inputs, and a smooth clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from mlpkit._checks import check_float, error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.nn.tabular._input_checks import check_finite_rows, check_last_axis

__all__ = ["RobustScaling"]

_NEGLIGIBLE = 1e-3  # of an interquartile range


class RobustScaling(nn.Module):
    r"""Robust scaling and smooth clipping of each feature, with fixed statistics.

    .. math::
        z_i = s_i (x_i - m_i), \qquad y_i = \frac{z_i}{\sqrt{1 + (z_i / c)^2}}

    For :meth:`for_data`, :math:`m_i` is the median of feature i, and :math:`s_i` is

    .. math::
        s_i = \begin{cases}
            1 / (q_{0.75} - q_{0.25}) & q_{0.75} \ne q_{0.25} \\
            2 / (\max - \min) & q_{0.75} = q_{0.25},\; \max \ne \min \\
            0 & \max = \min
        \end{cases}

    with the quantiles :math:`q` of feature i. A constant feature becomes 0. The outputs lie in
    :math:`(-c, c)`, so an outlier has a bounded effect, and near the median the clip is the
    identity.

    Args:
        center: The center :math:`m` of each feature, floating-point, ``(features,)``.
        factor: The factor :math:`s` of each feature, at least 0, ``(features,)``.
        limit: The bound :math:`c` of the outputs, above 0.
        remainder: What the dtype of ``center`` cannot represent, as float32 cannot represent
            1.7e9 + 100.5; it is added to the center. None is 0.

    Shape:
        - Input: :math:`(*, F)`, of any real dtype.
        - Output: :math:`(*, F)`, of the dtype of ``center``.
        - ``center``, ``factor``, ``remainder``: ``(F,)``, buffers.

    Raises:
        TypeError: If ``limit`` is not a number, or the statistics are not floating-point tensors.
        ValueError: If the statistics have no common shape ``(F,)``, are not finite, or a factor is
            negative; in ``forward``, if the size of the last axis is not F.

    Example:
        >>> import torch
        >>> from mlpkit.nn import RobustScaling
        >>> ages = torch.tensor([[20.0], [30.0], [40.0], [50.0], [900.0]])
        >>> scaling = RobustScaling.for_data(ages)
        >>> scaling.center.item(), round(1 / scaling.factor.item(), 4)
        (40.0, 20.0)
        >>> [round(value, 2) for value in scaling(ages).flatten().tolist()]
        [-0.95, -0.49, 0.0, 0.49, 2.99]

    References:
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and
        Boosted Trees on Tabular Data, arXiv:2407.04491, section 3 (robust scale, smooth clip).
    """

    center: Tensor
    factor: Tensor
    remainder: Tensor
    limit: float

    def __init__(
        self,
        center: Tensor,
        factor: Tensor,
        *,
        limit: float = 3.0,
        remainder: Tensor | None = None,
    ) -> None:
        super().__init__()
        statistics = {"center": center, "factor": factor, "remainder": remainder}
        for name, given in statistics.items():
            if given is None and name == "remainder":
                continue
            if not (isinstance(given, Tensor) and given.is_floating_point()):
                raise TypeError(error_message(name, "a floating-point tensor", given))
            if given.ndim != 1 or given.shape != center.shape:
                rule = "of shape (features,), like the other statistic"
                raise ValueError(error_message(name, rule, tuple(given.shape)))
            if not given.is_meta and not bool(given.isfinite().all()):
                raise ValueError(error_message(name, "finite", given.tolist()))
        if not factor.is_meta and bool((factor < 0).any()):
            raise ValueError(error_message("factor", "at least 0", float(factor.min())))
        self.limit = check_float("limit", limit, above=0.0)
        self.register_buffer("center", center.detach().clone())
        self.register_buffer("factor", factor.detach().clone())
        lost = torch.zeros_like(center) if remainder is None else remainder.detach().clone()
        self.register_buffer("remainder", lost)

    @classmethod
    def for_data(
        cls, inputs: Tensor, *, limit: float = 3.0, dtype: torch.dtype | None = None
    ) -> Self:
        """Return the scaling with the statistics of training inputs.

        Quantiles are computed in float64, with linear interpolation as in :func:`torch.quantile`.

        Args:
            inputs: The training inputs, ``(N, F)``, of any real dtype, finite.
            limit: Bound of the outputs, above 0.
            dtype: Floating dtype of the statistics; None is torch's default dtype.

        Raises:
            TypeError: If ``inputs`` is not a tensor.
            ValueError: If there is no example, or a value is not finite.
        """
        rows = check_finite_rows(inputs)
        levels = torch.tensor((0.0, 0.25, 0.5, 0.75, 1.0), dtype=torch.float64, device="cpu")
        columns = rows.cpu().double().unbind(1)  # one by one: quantile has a size limit
        low, lower, center, upper, high = torch.stack([x.quantile(levels) for x in columns], 1)
        spread = torch.where(upper > lower, upper - lower, (high - low) / 2)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        factor = (1 / spread).to(dtype)
        factor = torch.where(factor.isfinite(), factor, 0.0)  # no spread that the dtype can hold
        near = center.to(dtype)
        lost = center - near.double()
        lost = lost.masked_fill((lost * factor).abs() < _NEGLIGIBLE, 0.0)
        near, factor, lost = (value.to(rows.device, dtype) for value in (near, factor, lost))
        return cls(near, factor, limit=limit, remainder=lost)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled and clipped features."""
        check_last_axis(x, len(self.center))
        given: object = x
        if not (isinstance(given, Proxy) or x.is_floating_point()):
            x = x.to(accumulator_dtype(x.device))  # float32 would merge integers beyond 2**24
        z = (x - self.center - self.remainder).to(self.center.dtype) * self.factor
        return z * torch.rsqrt(1 + (z / self.limit).square())

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"{len(self.center)}, limit={self.limit:g}"

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...
