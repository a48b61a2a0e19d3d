"""Top-k accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.training.objectives import check_class_targets

__all__ = ["TopKAccuracy"]


class TopKAccuracy:
    r"""Fraction of the examples whose class is among the ``k`` classes with the largest outputs.

    .. math::
        \frac{1}{N} \sum_i
        \mathbb{1}\bigl[ y_i \in \operatorname{top}_k(z_{i1}, \dots, z_{iC}) \bigr]

    Which of several equal outputs counts first is not specified. The hits are counted on the device
    of the outputs, and :meth:`update` does not synchronize with it.

    Args:
        k: Number of classes, at least 1 and at most the number of outputs.

    Attributes:
        higher_is_better: True.

    Raises:
        ValueError: If ``k`` is less than 1.

    Example:
        >>> import torch
        >>> from mlpkit.training import TopKAccuracy
        >>> metric = TopKAccuracy(2)
        >>> metric.update(torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1, 2]))
        >>> metric.compute()
        0.5
    """

    higher_is_better = True

    def __init__(self, k: int = 5) -> None:
        self.k = check_int("k", k, minimum=1)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._hits: Tensor | None = None
        self._num_examples = 0

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Add one batch.

        Args:
            outputs: Logits or probabilities, ``(N, C)``.
            targets: Class indices, ``(N,)``, or distributions, ``(N, C)``, whose largest entry is
                the true class.

        Raises:
            TypeError: If the targets are neither int64 nor floating-point.
            ValueError: If a shape does not match, or there are fewer than ``k`` classes.
        """
        check_class_targets(outputs, targets)
        if self.k > outputs.shape[1]:
            rule = f"at most the number of outputs, {outputs.shape[1]}"
            raise ValueError(error_message("k", rule, self.k))
        with torch.no_grad():
            true = targets.argmax(dim=1) if targets.is_floating_point() else targets
            hits = outputs.topk(self.k, dim=1).indices == true[:, None]
            total = hits.sum(dtype=accumulator_dtype(outputs.device))
            self._hits = total if self._hits is None else self._hits + total
            self._num_examples += len(outputs)

    def compute(self) -> float:
        """Return the accuracy of all batches since the last reset; synchronizes with the device.

        Raises:
            ValueError: If there was no example.
        """
        if self._hits is None or not self._num_examples:
            raise ValueError(error_message("data", "at least one example", 0, "add examples"))
        return float(self._hits) / self._num_examples

    def __repr__(self) -> str:
        return f"TopKAccuracy({self.k})"
