"""Binary cross-entropy of a classifier with several labels for each example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, check_tuple, error_message, plain_scalar, store_checked
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objective import Task, is_readable, outputs_of, widened
from mlpkit.training.objectives._prediction_errors import mean_over_entries
from mlpkit.training.objectives._tensor_cache import TensorCache

__all__ = ["BinaryCrossEntropy", "check_label_targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryCrossEntropy(TensorCache):
    r"""Cross-entropy between the sigmoid of each logit and its label, averaged, in nats.

    .. math::
        \ell_i = -\frac{1}{L} \sum_{l=1}^{L} \left( p_l\, y_{il} \log \sigma(z_{il})
            + (1 - y_{il}) \log (1 - \sigma(z_{il})) \right)

    Each label is present or absent independently of the others, so an example may have any number
    of them. A single logit separates two classes. The value and the gradient are those of
    :func:`torch.nn.functional.binary_cross_entropy_with_logits` without reduction, averaged over
    the labels. Logits in half precision are converted to float32 first.

    Args:
        pos_weight: Factor :math:`p` on the loss of the present labels, above 0: one number, or one
            for each label; None means 1. A factor of (absent / present examples) balances a rare
            label.

    Shape:
        - logits and targets: ``(N, L)``, or ``(N,)`` for one label; the same shape, not broadcast.
          The targets are floating-point, in [0, 1]: 0 for absent, 1 for present, or a probability.
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If a shape does not match, ``pos_weight`` is out of range or not one for each
            label, or, on the CPU, a target is not in [0, 1].

    Example:
        >>> import torch
        >>> from mlpkit.training import BinaryCrossEntropy
        >>> logits, targets = torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, 1.0]])
        >>> loss = BinaryCrossEntropy().loss(logits, targets)
        >>> round(loss.item(), 4)
        0.3709
    """

    pos_weight: float | Sequence[float] | None = None  # stored as a float or a tuple

    def __post_init__(self) -> None:
        store_checked(self, {"pos_weight": _check_pos_weight})

    @property
    def task(self) -> Task:
        """``"multilabel"``."""
        return "multilabel"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy of each example, averaged over its labels."""
        check_label_targets(outputs, targets)
        logits = widened(outputs)
        losses = F.binary_cross_entropy_with_logits(
            logits,
            targets.to(logits.dtype),
            pos_weight=self.pos_weight_of(logits),
            reduction="none",
        )
        return mean_over_entries(losses)

    def pos_weight_of(self, logits: Tensor) -> Tensor | None:
        """Return the factor on the loss of present labels, ``(L,)`` or ``(1,)``; None for 1.

        Raises:
            ValueError: If there is not one number for each label.
        """
        if self.pos_weight is None:
            return None
        if isinstance(self.pos_weight, float):
            return self._tensor((self.pos_weight,), logits)
        num_labels = 1 if logits.ndim == 1 else logits.shape[1]
        if len(self.pos_weight) != num_labels:
            rule = f"one number, or one for each of the {num_labels} labels"
            cure = "pass the ratio of absent to present examples of each label"
            raise ValueError(error_message("pos_weight", rule, self.pos_weight, cure))
        return self._tensor(tuple(self.pos_weight), logits)


def check_label_targets(logits: Tensor, targets: Tensor) -> None:
    """Raise if logits or targets are not those of a classifier with several labels.

    Shapes and dtypes are checked, and on the CPU that the targets are in [0, 1]; on an accelerator
    reading values would synchronize with it.
    """
    if logits.ndim not in (1, 2):
        cure = "reshape them to one row per example"
        raise ValueError(
            error_message("logits", "of shape (N, L) or (N,)", tuple(logits.shape), cure)
        )
    if not targets.is_floating_point():
        rule = "floating-point, 1 for each label that is present and 0 for the others,"
        raise TypeError(error_message("targets", rule, targets.dtype, _dtype_cure(logits, targets)))
    if targets.shape != logits.shape:
        rule = f"of the same shape as the logits, {tuple(logits.shape)}"
        cure = _shape_cure(logits, targets)
        raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))
    if is_readable(targets) and targets.numel():
        low, high = (float(bound) for bound in torch.aminmax(targets))
        if not (low >= 0.0 and high <= 1.0):  # true for NaN
            cure = "for a regression pass objective=MeanSquaredError()"
            raise ValueError(error_message("targets", "in [0, 1]", [low, high], cure))


def _dtype_cure(logits: Tensor, targets: Tensor) -> str:
    """Return how to convert targets that are not floating-point."""
    if targets.shape == logits.shape:
        return "pass targets.float()"
    if targets.ndim == 1 and logits.shape == (*targets.shape, 1):
        return "pass targets[:, None].float()"
    if targets.ndim == 1 and targets.dtype == torch.int64:
        return "for class indices pass objective=CrossEntropy()"
    return "pass targets.float()"


def _shape_cure(logits: Tensor, targets: Tensor) -> str:
    """Return how to give logits and floating-point targets the same shape."""
    if targets.ndim == 1 and logits.shape == (*targets.shape, 1):
        return "pass targets[:, None]"
    if logits.ndim == 1 and targets.shape == (*logits.shape, 1):
        return "pass targets.squeeze(1)"
    return "give the model one output for each label"


def _check_pos_weight(argument: str, value: object) -> float | tuple[float, ...] | None:
    positive = partial(check_float, above=0.0)
    scalar = plain_scalar(value)
    if scalar is None:
        return None
    if isinstance(scalar, Sequence) or getattr(scalar, "ndim", 0) != 0:
        rule = "a positive number, or one for each label"
        return check_tuple(argument, scalar, positive, rule=rule)
    return positive(argument, scalar)
