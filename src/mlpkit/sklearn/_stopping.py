"""scikit-learn's rules for the end of a fit and for the learning rate, as a callback."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mlpkit.sklearn._settings import Settings
from mlpkit.sklearn._solvers import SolverBase
from mlpkit.training import Callback, StepInfo, Trainer

__all__ = ["Progress", "StoppingRule"]

_SMALLEST_LR = 1e-6  # with learning_rate="adaptive", the fit ends at a smaller rate


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a fit has reached; a warm start and ``partial_fit`` continue it.

    Attributes:
        loss_curve: Penalized loss of each iteration.
        best_loss: Smallest of them; None with early stopping.
        validation_scores: Score of each iteration; None without early stopping.
        best_validation_score: Largest of them; None without early stopping.
        no_improvement_count: Number of iterations since the latest improvement.
        num_seen: Number of examples seen.
        n_iter: Number of iterations of this fit.
    """

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = math.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    num_seen: int = 0
    n_iter: int = 0


class StoppingRule(Callback):
    """Ends a fit when the loss, or the score of held-out examples, no longer improves.

    Args:
        settings: The parameters of the estimator.
        progress: What has been reached; it is updated.
        solver: Gets the learning rates of ``"invscaling"`` and ``"adaptive"``.
        num_examples: Number of examples of one pass.
        score: Returns the score of the held-out examples; None without them.

    Attributes:
        is_converged: Whether the rule has ended the fit.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        solver: SolverBase,
        *,
        num_examples: int,
        score: Callable[[], float] | None,
    ) -> None:
        self.is_converged = False
        self._settings = settings
        self._progress = progress
        self._solver = solver
        self._num_examples = num_examples
        self._score = score
        self._sum = 0.0
        self._best: list[Tensor] = [] if score is None else self._copied()

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        """Add the loss of the step, and decide after the last step of a pass."""
        batch = self._solver.batch
        loss = self._solver.loss.loss_factor * step.loss.item() + batch.penalty
        self._sum += loss * batch.count
        if batch.is_last and self._is_over():
            self.is_converged = True
            trainer.stop()

    def _is_over(self) -> bool:
        """Append the iteration to the progress, and return whether the fit ends."""
        settings, progress = self._settings, self._progress
        progress.n_iter += 1
        progress.num_seen += self._num_examples
        progress.loss_curve.append(self._sum / self._num_examples)
        self._sum = 0.0
        self._say(f"Iteration {progress.n_iter}, loss = {progress.loss_curve[-1]:.8f}")
        is_better = self._improves_loss() if self._score is None else self._improves_score()
        progress.no_improvement_count = 0 if is_better else progress.no_improvement_count + 1
        built = self._solver.settings  # partial_fit keeps the schedule of its first call
        schedule = built.learning_rate if built.solver == "sgd" else "constant"
        if schedule == "invscaling":
            scale = float((progress.num_seen + 1) ** built.power_t)
            self._solver.set_learning_rate(built.learning_rate_init / scale)
        if progress.no_improvement_count <= settings.n_iter_no_change:
            return False
        what = "Training loss" if self._score is None else "Validation score"
        patience = settings.n_iter_no_change
        message = f"{what} did not improve by {settings.tol:g} in {patience} iterations."
        if schedule != "adaptive":
            self._say(f"{message} Stopping.")
            return True
        if self._solver.learning_rate <= _SMALLEST_LR:
            self._say(f"{message} The learning rate is too small. Stopping.")
            return True
        self._solver.set_learning_rate(self._solver.learning_rate / 5.0)
        self._say(f"{message} The learning rate is now {self._solver.learning_rate:g}.")
        progress.no_improvement_count = 0
        return False

    def _improves_loss(self) -> bool:
        progress, loss = self._progress, self._progress.loss_curve[-1]
        best = math.inf if progress.best_loss is None else progress.best_loss
        progress.best_loss = min(best, loss)
        return loss <= best - self._settings.tol

    def _improves_score(self) -> bool:
        progress = self._progress
        assert self._score is not None, "there are held-out examples"
        assert progress.validation_scores is not None, "there are held-out examples"
        score = self._score()
        progress.validation_scores.append(score)
        self._say(f"Validation score: {score:f}")
        known = progress.best_validation_score
        best = -math.inf if known is None else known
        if score > best:
            progress.best_validation_score = score
            self._best = self._copied()
        return not score < best + self._settings.tol

    @torch.no_grad()
    def restore_best(self) -> None:
        """Give the network the parameters with the best score, if there are held-out examples."""
        if self._best:
            torch._foreach_copy_(self._solver.parameters, self._best)

    def _copied(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self._solver.parameters]

    def _say(self, message: str) -> None:
        if self._settings.verbose:
            print(message)  # noqa: T201 - verbose
