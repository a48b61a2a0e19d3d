"""Temperature scaling: a divisor of the logits that is fitted on held-out examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit._class_names import check_same_classes
from mlpkit._devices import accumulator_dtype
from mlpkit.data import LabeledTensors

__all__ = [
    "check_held_out",
    "check_held_out_classes",
    "class_temperature",
    "fit_temperature",
    "label_temperatures",
]


class _HasClasses(Protocol):
    @property
    def classes(self) -> tuple[str, ...]: ...


def check_held_out(val: object) -> LabeledTensors:
    """Return held-out examples, of which there is at least one.

    Raises:
        TypeError: If they are not ``LabeledTensors``.
        ValueError: If there is no example, or all weights are 0.
    """
    if not isinstance(val, LabeledTensors):
        cure = "pass the validation part of the data"
        raise TypeError(error_message("val", "LabeledTensors", Unquoted(type(val).__name__), cure))
    if len(val) == 0:
        raise ValueError(error_message("val", "at least one example", len(val)))
    if val.weights is not None and not bool(val.weights.sum() > 0):
        raise ValueError(error_message("val.weights", "above 0 for at least one example", 0.0))
    return val


def check_held_out_classes(model: _HasClasses, val: object) -> Tensor:
    """Return the class indices of held-out examples of a model.

    Raises:
        TypeError: As :func:`check_held_out`, or if the targets are not class indices.
        ValueError: As :func:`check_held_out`, or if a target is not below the number of classes, or
            the examples have other class names or the same in another order.
    """
    held_out = check_held_out(val)
    targets = held_out.targets
    if targets.is_floating_point():
        raise TypeError(error_message("val.targets", "class indices", targets.dtype))
    check_same_classes({"model": model, "val": held_out})
    if int(targets.max()) >= len(model.classes):
        rule = f"below the number of classes of the model ({len(model.classes)})"
        raise ValueError(error_message("val.targets", rule, int(targets.max())))
    return targets


def class_temperature(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the temperature of logits of classes, ``(N, C)``, given class indices, ``(N,)``."""
    of_target = scores.gather(1, targets.to(scores.device)[:, None]).squeeze(1)
    return fit_temperature(scores, of_target, weights)


def label_temperatures(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the temperature of each label, ``(L,)``: that of the two classes (0, logit).

    Args:
        logits: Logit of each label, ``(N, L)``, or ``(N,)`` for one label.
        targets: Whether each label is present, or its probability, ``(N, L)``.
        weights: As for :func:`fit_temperature`.
    """
    columns = logits.reshape(targets.shape)
    both = torch.stack([torch.zeros_like(columns), columns], -1)
    of_target = targets.to(columns) * columns
    return torch.stack(
        [
            fit_temperature(both[:, label], of_target[:, label], weights)
            for label in range(targets.shape[1])
        ]
    )


def fit_temperature(scores: Tensor, target_scores: Tensor, weights: Tensor | None) -> Tensor:
    r"""Return the temperature :math:`T` that minimizes the cross-entropy of softmax(scores / T).

    The problem is convex in :math:`1/T` and is solved by Newton's method. With n examples, or an
    effective number n of weighted examples, :math:`1/(n+1)` of each target is spread over all
    classes.

    Args:
        scores: Logits of each class, of the widest floating dtype of the device.
        target_scores: Logit of the target class, or mean of the logits under the target
            distribution.
        weights: Weight of each example, not all 0; None for equal weights.

    Shape:
        - scores: ``(N, C)``; target_scores and weights: ``(N,)``.
        - output: ``()``.
    """
    mean = _weighted_mean(weights, scores.device)
    epsilon = 1 / (_effective_number(len(scores), weights) + 1)
    chosen = mean(target_scores)
    chosen = (1 - epsilon) * chosen + epsilon * mean(scores.mean(-1))
    inverse = torch.ones((), dtype=scores.dtype, device=scores.device)
    for _ in range(100):
        probabilities = torch.softmax(inverse * scores, -1)
        expected = (probabilities * scores).sum(-1)
        slope = mean(expected) - chosen
        curvature = mean((probabilities * scores.square()).sum(-1) - expected.square())
        # At most half: far from the optimum the quadratic model overshoots below zero.
        step = torch.minimum(slope / curvature.clamp_min(1e-12), inverse / 2)
        inverse = (inverse - step).clamp(1e-3, 1e3)
        if abs(float(step)) < 1e-10:
            break
    return 1.0 / inverse


def _effective_number(count: int, weights: Tensor | None) -> float:
    """Return the effective number of examples, which does not depend on the scale of weights."""
    if weights is None:
        return count
    wide = weights.to(accumulator_dtype(weights.device))
    return float(wide.sum() ** 2 / wide.square().sum())


def _weighted_mean(weights: Tensor | None, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the mean over examples, with their weights, of which one or more are above 0."""
    if weights is None:
        return torch.mean
    shares = weights.to(device).to(accumulator_dtype(device))
    shares = shares / shares.sum()
    return lambda values: (shares * values).sum()
