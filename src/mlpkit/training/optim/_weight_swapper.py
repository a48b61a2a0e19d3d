"""Exchange of the trained weights of a model for averaged or best weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor, nn

from mlpkit.training._named_tensors import copied_state
from mlpkit.training.optim._averaging import AverageState, AveragingConfig, WeightAverage
from mlpkit.training.optim._best_weights import BestWeights

__all__ = ["WeightSwapper"]


class WeightSwapper:
    """Puts averaged or best weights into a model without losing the trained ones.

    Args:
        model: The model, on the device where it is trained.
        averaging: Settings of the average; None keeps no average.
        reestimate: Recomputes batch-norm statistics for the weights that the model holds.
    """

    def __init__(
        self,
        model: nn.Module,
        averaging: AveragingConfig | None,
        *,
        reestimate: Callable[[], None],
    ) -> None:
        self._model = model
        self._averaging = averaging
        self._reestimate = reestimate
        self._average = None if averaging is None else WeightAverage(model, averaging)
        self._stash: dict[str, Tensor] | None = None  # trained weights, while the model has others

    def update(self, step: int) -> None:
        """Add the weights after an optimizer step to the average.

        The step has trained the weights that the model holds, so stashed weights are obsolete.
        """
        self._stash = None
        if self._average is not None:
            self._average.update(self._model, step)

    @property
    def needs_swap(self) -> bool:
        """Whether there is an average and the model holds the trained weights."""
        average = self._average
        return average is not None and average.num_averaged > 0 and self._stash is None

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the averaged weights within a ``with`` block, if there are any."""
        average = self._average
        if average is None or not self.needs_swap:
            yield
            return
        with average.applied(self._model):
            self._reestimate()
            yield

    def load_final_weights(self, best: BestWeights | None) -> None:
        """Give the model the best weights if they are kept, else the average if one is kept."""
        if best is None or best.weights is None:
            self.load_averaged_weights()
        else:
            self.load_best_weights(best.weights, None)

    def load_averaged_weights(self) -> None:
        """Give the model the averaged weights; checkpoints keep the trained ones."""
        if self._average is not None and self._average.num_averaged:
            self._stash_weights()
            self._average.copy_to(self._model)
            self._reestimate()

    def load_best_weights(
        self,
        weights: Mapping[str, Tensor],
        average: AverageState | None,
        *,
        is_training: bool = False,
    ) -> None:
        """Give the model the weights of a checkpoint, or their average if it has one.

        Args:
            weights: The trained weights of the checkpoint.
            average: State of the average of the checkpoint.
            is_training: Whether the run continues from them: they are the trained weights then.
        """
        self._stash_weights()
        self._model.load_state_dict(dict(weights))
        if average is not None and average["num_averaged"] and self._averaging is not None:
            best = WeightAverage(self._model, self._averaging)
            best.load_state_dict(average)
            best.copy_to(self._model)
            self._reestimate()
        if is_training:
            self._stash = copied_state(self._model)

    def _stash_weights(self) -> None:
        """Set the trained weights aside, unless the model holds others already."""
        if self._stash is None:
            self._stash = copied_state(self._model)

    def trained_weights(self) -> dict[str, Tensor]:
        """Return the ``state_dict`` of the trained model, whatever weights the model holds."""
        return dict(self._model.state_dict()) if self._stash is None else self._stash

    def average_state(self) -> AverageState | None:
        """Return the state of the average; None if none is kept."""
        return None if self._average is None else self._average.state_dict()

    def load_state(self, weights: Mapping[str, Tensor], average: AverageState | None) -> None:
        """Restore the trained weights and the average of a checkpoint."""
        self._model.load_state_dict(dict(weights))
        if self._average is not None and average is not None:
            self._average.load_state_dict(average)
