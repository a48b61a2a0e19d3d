"""The weights of the best epoch of a run, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor, nn

from mlpkit.training._named_tensors import copied_state
from mlpkit.training._shards import part_like

__all__ = ["BestWeights"]


class BestWeights:
    """Copies of the weights of the best epoch, on the device of the model.

    The weights are those that were validated: the averaged ones, with the batch-norm statistics of
    the validation, if an average is kept.

    Attributes:
        weights: ``state_dict`` of the model in the best epoch; None before one.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] | None = None
        self._candidate: dict[str, Tensor] | None = None

    def propose(self, model: nn.Module) -> None:
        """Copy the weights that the model holds; :meth:`decide` keeps or drops them."""
        self._candidate = copied_state(model)

    def decide(
        self, model: nn.Module, *, is_best: bool, averaged: AbstractContextManager[None]
    ) -> None:
        """Keep the weights of the epoch that has just ended if it is the best one.

        Args:
            model: The model.
            is_best: Whether the epoch is the best so far.
            averaged: Context in which the model holds the averaged weights; it is entered for an
                epoch that was not validated.
        """
        if is_best and self._candidate is None:
            with averaged:
                self.propose(model)
        if is_best:
            self.weights = self._candidate
        self._candidate = None

    def load(self, weights: Mapping[str, object] | None, model: nn.Module) -> None:
        """Restore the best weights of a checkpoint, on the device of the model."""
        self.weights = None
        if weights is not None:
            own = model.state_dict()
            copied = {
                name: torch.empty_like(own[name]).copy_(part_like(value, own[name]))
                if isinstance(value, Tensor)
                else value
                for name, value in weights.items()
            }
            self.weights = cast("dict[str, Tensor]", copied)
