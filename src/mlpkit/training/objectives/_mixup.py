"""Mixup: training on convex combinations of examples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message
from mlpkit._devices import accumulator_dtype
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._cross_entropy import CrossEntropy
from mlpkit.training.objectives._objective import Objective, OutputObjective, Task, outputs_of

__all__ = ["Mixed", "Mixup", "unmixed"]


class Mixed(NamedTuple):
    """One batch mixed with itself in another order.

    Attributes:
        inputs: The mixed inputs, ``(N, ...)``.
        lam: Weight of the first example of each pair, in [0, 1], of shape ``()``.
        partners: Position in the batch of the second example of each pair, ``(N,)``.
    """

    inputs: Tensor
    lam: Tensor
    partners: Tensor


class Mixup:
    r"""An objective on convex combinations of the examples of a batch and of their losses.

    With one :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` and one permutation :math:`\pi`
    for each batch,

    .. math::
        \tilde{x}_i = \lambda x_i + (1 - \lambda) x_{\pi(i)}, \qquad
        \ell_i = \lambda\, \ell(f(\tilde{x}_i), y_i)
            + (1 - \lambda)\, \ell(f(\tilde{x}_i), y_{\pi(i)})

    For cross-entropy and binary cross-entropy, which are linear in the target, this equals the loss
    against the mixed target.
    The loss of pair :math:`i` has the weight of example :math:`i`. Evaluation does not mix.

    First :math:`\lambda` and then :math:`\pi` are drawn from torch's global generator of the
    device of the inputs. The trainer saves its state in checkpoints, so a resumed run draws the
    same values. Integer inputs are mixed in float32; a :class:`mlpkit.SoftmaxClassifier` accepts
    raw values of both types.

    Args:
        alpha: Both parameters of the Beta distribution, above 0. Values near 0 hardly mix the
            examples; 1 draws :math:`\lambda` uniformly. The paper uses 0.1 to 0.4.
        objective: Loss of outputs and targets; None means cross-entropy.

    Raises:
        TypeError: If ``objective`` has no method ``loss``.
        ValueError: If ``alpha`` is out of range.

    Example:
        >>> from torch import nn
        >>> from mlpkit.training import CrossEntropy, Mixup, Trainer
        >>> objective = Mixup(0.2, objective=CrossEntropy(label_smoothing=0.1))
        >>> trainer = Trainer(nn.Linear(784, 10), objective=objective)

    References:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2.
    """

    def __init__(self, alpha: float = 0.2, *, objective: OutputObjective | None = None) -> None:
        self.alpha = check_float("alpha", alpha, above=0.0)
        given: object = CrossEntropy() if objective is None else objective
        if not isinstance(given, OutputObjective):
            rule = "an objective with a method loss(outputs, targets)"
            raise TypeError(error_message("objective", rule, given))
        self.objective: OutputObjective = given

    @property
    def task(self) -> Task | None:
        """Task of the mixed objective; None if it declares none."""
        return getattr(self.objective, "task", None)

    def __repr__(self) -> str:
        return f"Mixup({self.alpha}, objective={self.objective!r})"

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the mixed loss of each example."""
        mixed = self.mix(batch.inputs)
        outputs = outputs_of(model, mixed.inputs)
        first = self.loss(outputs, batch.targets)
        second = self.loss(outputs, batch.targets[mixed.partners])
        return torch.lerp(second, first, mixed.lam.to(first.dtype))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example without mixing; used in evaluation."""
        return self.objective.loss(outputs, targets)

    def predictions(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the predictions of the targets of a regression."""
        predictions = getattr(self.objective, "predictions", None)
        return predictions(outputs, targets) if callable(predictions) else outputs

    def mix(self, inputs: Tensor) -> Mixed:
        """Draw the weight and the partners, and return them with the mixed inputs."""
        if not inputs.is_floating_point():
            is_small = inputs.dtype in (torch.uint8, torch.int8, torch.int16)
            # float32 is exact for pixels, but not for time stamps
            inputs = inputs.float() if is_small else inputs.to(accumulator_dtype(inputs.device))
        lam = _beta(self.alpha, inputs.device)
        partners = torch.randperm(len(inputs), device=inputs.device)
        mixed = torch.lerp(inputs[partners], inputs, lam.to(inputs.dtype))
        return Mixed(mixed, lam, partners)


def unmixed(objective: Objective) -> Objective:
    """Return the objective that :class:`Mixup` mixes; another objective is returned itself."""
    return objective.objective if isinstance(objective, Mixup) else objective


def _beta(alpha: float, device: torch.device) -> Tensor:
    """Draw from Beta(alpha, alpha) on the device, without synchronizing with it.

    A Gamma(a) variate is a Gamma(a + 1) variate times u^(1/a). Logarithms prevent underflow:
    ``torch.distributions.Beta`` underflows, and at alpha 0.001 returns 0.5, a value of almost no
    probability, in a quarter of the draws.
    """
    # torch.full fills the tensor on the device; torch.tensor would copy a number to it
    shape = torch.full((2,), alpha + 1.0, dtype=accumulator_dtype(device), device=device)
    gamma = torch.distributions.Gamma(shape, torch.ones_like(shape), validate_args=False).sample()
    uniform = 1.0 - torch.rand_like(shape)  # in (0, 1]
    logarithms = gamma.log() + uniform.log() / alpha
    return torch.sigmoid(logarithms[0] - logarithms[1])
