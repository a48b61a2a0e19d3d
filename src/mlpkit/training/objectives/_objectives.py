"""What training minimizes: from a model and a batch to one loss for each example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message
from mlpkit.training.batches import BatchLike

__all__ = [
    "NEVER_IGNORED",
    "CrossEntropy",
    "MeanSquaredError",
    "Objective",
    "OutputObjective",
    "Task",
    "task_of",
]

Task: TypeAlias = Literal["classification", "regression"]

# torch skips targets of -100 in silence by default; a value that no target has skips none.
NEVER_IGNORED = torch.iinfo(torch.int64).min


@runtime_checkable
class Objective(Protocol):
    """Anything that gives one loss for each example of a batch.

    The trainer multiplies by the example and class weights and takes the mean, so an objective
    never reduces. It calls the model itself: it may call it several times, on other inputs, or
    read something besides the output. Random numbers come from torch's global generator, whose
    state the trainer keeps in every checkpoint; then a resumed run draws the same numbers.

    Example:
        An objective of one's own is a function of these two arguments:

        >>> import torch
        >>> from torch import Tensor, nn
        >>> from mlpkit.training import BatchLike, Objective
        >>> def absolute_error(model: nn.Module, batch: BatchLike) -> Tensor:
        ...     return (model(batch.inputs) - batch.targets).abs().mean(dim=1)
        >>> isinstance(absolute_error, Objective)
        True
    """

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example, of shape ``(N,)``, before any weighting."""
        ...


@runtime_checkable
class OutputObjective(Objective, Protocol):
    """An objective that sees the model only through its output, so others can build on it."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example, of shape ``(N,)``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    r"""The cross-entropy of the softmax of the logits against a class or a distribution, in nats.

    .. math::
        \ell_i = -\sum_{c=1}^{C} q_{ic} \log \operatorname{softmax}(z_i)_c, \qquad
        q_{ic} = (1 - \epsilon)\, y_{ic} + \epsilon / C

    where :math:`y_i` is one at the target class, or the target distribution itself, and
    :math:`\epsilon` is ``label_smoothing``. The value and the gradient are those of
    :func:`torch.nn.functional.cross_entropy` without reduction. Logits of half precision are
    widened to float32 first.

    Args:
        label_smoothing: The share of every target that is spread evenly over the classes, in
            [0, 1].

    Shape:
        - logits: ``(N, C)``; other shapes are refused, reshape sequences to rows.
        - targets: ``(N,)`` int64 class indices in ``[0, C)``, or ``(N, C)`` floating-point
          distributions (one-hot or soft).
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are neither int64 nor floating-point.
        ValueError: If a shape does not fit, or, on the CPU, a class index is out of range. On an
            accelerator its own assertion reports the index; the library never waits for it.

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
        check_float("label_smoothing", self.label_smoothing, minimum=0.0, maximum=1.0)

    @property
    def task(self) -> Task:
        """``"classification"``."""
        return "classification"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(model(batch.inputs), batch.targets)

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
        except IndexError as error:  # raised on the CPU only, where looking costs nothing
            rule = f"class indices in [0, {outputs.shape[1]})"
            span = [int(targets.min()), int(targets.max())]
            cure = "give the model as many outputs as there are classes"
            raise ValueError(error_message("targets", rule, span, cure)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSquaredError:
    r"""The squared error of each example, averaged over its outputs.

    .. math::
        \ell_i = \frac{1}{D} \sum_{d=1}^{D} (f(x_i)_d - y_{id})^2

    Shape:
        - outputs and targets: ``(N, ...)``, the same for both: nothing is broadcast.
        - output: ``(N,)``.

    Raises:
        TypeError: If the targets are not floating-point.
        ValueError: If the shapes of outputs and targets differ.

    Example:
        >>> import torch
        >>> from mlpkit.training import MeanSquaredError
        >>> MeanSquaredError().loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([2.])
    """

    @property
    def task(self) -> Task:
        """``"regression"``."""
        return "regression"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        return self.loss(model(batch.inputs), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each example, averaged over its outputs."""
        if not targets.is_floating_point():
            raise TypeError(
                error_message("targets", "floating-point", targets.dtype, "convert with .float()")
            )
        if outputs.shape != targets.shape or outputs.ndim == 0:
            rule = f"of the shape of the model's output, {tuple(outputs.shape)}"
            cure = "reshape them, for instance with targets[:, None]; nothing is broadcast"
            raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))
        predictions = widened(outputs)
        squares = (predictions - targets.to(predictions.dtype)).square()
        return squares if squares.ndim == 1 else squares.flatten(1).mean(dim=1)


def widened(outputs: Tensor) -> Tensor:
    """Return outputs of half precision as float32, and others as they are."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def check_class_targets(logits: Tensor, targets: Tensor) -> None:
    """Refuse logits or targets of a wrong shape or type, without looking at a value."""
    if logits.ndim != 2 or logits.shape[1] == 0:
        cure = "reshape sequences to rows, one row for each example"
        raise ValueError(error_message("logits", "of shape (N, C)", tuple(logits.shape), cure))
    if targets.is_floating_point():
        if targets.shape != logits.shape:
            rule = f"distributions of the shape of the logits, {tuple(logits.shape)}"
            cure = "for class indices use an int64 tensor of shape (N,)"
            raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))
        return
    if targets.dtype != torch.int64:
        rule = "int64 class indices or floating-point distributions"
        raise TypeError(error_message("targets", rule, targets.dtype, "convert with .long()"))
    if targets.shape != logits.shape[:1]:
        rule = f"class indices of shape ({logits.shape[0]},)"
        cure = "for one-hot targets use a floating-point tensor of shape (N, C)"
        raise ValueError(error_message("targets", rule, tuple(targets.shape), cure))


def task_of(objective: Objective, targets: Tensor) -> Task:
    """Return what the objective says it is for (its ``task``), else what the targets say.

    An objective without an attribute ``task`` is for classification where the targets are class
    indices, and for regression where they are floating-point.
    """
    task: object = getattr(objective, "task", None)
    if task == "classification" or task == "regression":
        return task
    if task is not None:
        raise ValueError(error_message("objective.task", "'classification' or 'regression'", task))
    return "regression" if targets.is_floating_point() else "classification"
