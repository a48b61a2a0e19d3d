"""Cross-entropy loss of a softmax classifier."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message, store_checked
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objective import Task, is_readable, outputs_of, widened

__all__ = ["NEVER_IGNORED", "CrossEntropy", "check_class_targets", "floating_cure"]

# By default torch silently ignores targets of -100; no target has this value.
NEVER_IGNORED = torch.iinfo(torch.int64).min

_SUM_TOLERANCE = 1e-2  # of a row of targets, which may be of half precision


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    r"""Cross-entropy between the softmax of the logits and the targets, in nats.

    .. math::
        \ell_i = -\sum_{c=1}^{C} q_{ic} \log \operatorname{softmax}(z_i)_c, \qquad
        q_{ic} = (1 - \epsilon)\, y_{ic} + \epsilon / C

    where :math:`y_i` is the one-hot vector of the target class, or the target distribution, and
    :math:`\epsilon` is ``label_smoothing``. The value and the gradient are those of
    :func:`torch.nn.functional.cross_entropy` without reduction. Logits in half precision are
    converted to float32 first.

    Args:
        label_smoothing: Fraction of every target that is spread evenly over the classes, in [0, 1].

    Shape:
        - logits: ``(N, C)``; other shapes raise an error.
        - targets: ``(N,)`` int64 class indices in ``[0, C)``, or ``(N, C)`` floating-point
          distributions (one-hot or soft).
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are neither int64 nor floating-point.
        ValueError: If a shape does not match, or, on the CPU, a class index is out of range. On an
            accelerator a device-side assertion of torch reports the index, since a check here would
            synchronize with the device.

    Example:
        >>> import torch
        >>> from mlpkit.training import CrossEntropy
        >>> logits = torch.tensor([[1.2, 5.1, 2.7]])
        >>> loss = CrossEntropy().loss(logits, torch.tensor([1]))
        >>> round(loss.item(), 4)
        0.1052

    References:
        Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7 (label smoothing).
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        smoothing = partial(check_float, minimum=0.0, maximum=1.0)
        store_checked(self, {"label_smoothing": smoothing})

    @property
    def task(self) -> Task:
        """``"classification"``."""
        return "classification"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(outputs_of(model, batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each example, given the logits."""
        check_class_targets(outputs, targets)
        logits = widened(outputs)
        if targets.is_floating_point():
            targets = targets.to(logits.dtype)
        try:
            return F.cross_entropy(
                logits,
                targets,
                ignore_index=NEVER_IGNORED,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
        except IndexError as error:  # raised on the CPU only, where reading a value is cheap
            rule = f"class indices in [0, {outputs.shape[1]})"
            span = [int(targets.min()), int(targets.max())]
            cure = "give the model one output per class"
            raise ValueError(error_message("targets", rule, span, cure)) from error


def check_class_targets(logits: Tensor, targets: Tensor) -> None:
    """Raise if logits or targets are not those of a classification.

    Shapes and dtypes are checked, and on the CPU that floating-point rows are distributions; on an
    accelerator reading values would synchronize with it.
    """
    if logits.ndim != 2:
        cure = "reshape them to one row per example"
        raise ValueError(error_message("logits", "of shape (N, C)", tuple(logits.shape), cure))
    if logits.shape[1] < 2:
        rule = "of at least two classes, (N, C), for cross-entropy"
        cure = _single_logit_cure(logits, targets)
        raise ValueError(error_message("logits", rule, tuple(logits.shape), cure))
    if targets.is_floating_point():
        if targets.shape != logits.shape:
            rule = f"distributions of the shape of the logits, {tuple(logits.shape)}"
            cure = floating_cure(logits, targets)
            raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))
        _check_distributions(logits, targets)
        return
    if targets.dtype != torch.int64:
        rule = "int64 class indices or floating-point distributions"
        raise TypeError(error_message("targets", rule, targets.dtype, "convert with .long()"))
    if targets.shape != logits.shape[:1]:
        rule = f"class indices of shape ({logits.shape[0]},)"
        cure = "for one-hot targets use a floating-point tensor of shape (N, C)"
        if targets.ndim == 2 and targets.shape[1] == 1:
            cure = "use targets.squeeze(1)"
        raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))


def _check_distributions(logits: Tensor, targets: Tensor) -> None:
    """Raise unless each row of ``(N, C)`` on the CPU is at least 0 and sums to 1."""
    if not is_readable(targets):
        return
    sums = targets.sum(dim=1, dtype=torch.float32)
    is_distribution = (targets >= 0).all(dim=1) & ((sums - 1.0).abs() <= _SUM_TOLERANCE)
    if not bool(is_distribution.all()):
        row = targets[int((~is_distribution).nonzero()[0])].tolist()
        rule = "distributions over the classes: rows of at least 0 that sum to 1"
        raise ValueError(error_message("targets", rule, row, floating_cure(logits, targets)))


def _single_logit_cure(logits: Tensor, targets: Tensor) -> str:
    """Return how to train a model with one output, which has no softmax."""
    if targets.is_floating_point():
        return floating_cure(logits, targets)
    column = "targets[:, None].float()" if targets.ndim == 1 else "targets.float()"
    return (
        "give the model one output per class, or pass objective=BinaryCrossEntropy() "
        f"and {column} for targets of 0 and 1"
    )


def floating_cure(logits: Tensor, targets: Tensor) -> str:
    """Return the objective and the model for floating-point targets that are no distributions."""
    if _are_labels(targets):
        kind, objective, model = "labels of 0 and 1", "BinaryCrossEntropy", "MultilabelClassifier"
    else:
        kind, objective, model = "a regression", "MeanSquaredError", "Regressor"
    cure = f"for {kind} train a mlpkit.{model}, or pass objective={objective}()"
    if targets.ndim == 1 and logits.shape[1] == 1:
        return f"{cure} and targets[:, None]"
    if targets.shape != logits.shape:
        cure += " with one output for each entry of a target"
    if targets.ndim == 1 and _are_whole(targets):
        cure += "; for class indices pass targets.long()"
    return cure


def _are_labels(targets: Tensor) -> bool:
    return is_readable(targets) and bool(((targets == 0) | (targets == 1)).all())


def _are_whole(targets: Tensor) -> bool:
    return is_readable(targets) and bool(((targets >= 0) & (targets == targets.round())).all())
