"""Muon for hidden weight matrices and AdamW for all other parameters, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from torch.optim import Optimizer

from mlpkit.training.optim._eager_optimizers import EagerOptimizer

__all__ = ["MuonWithAdamW"]


class MuonWithAdamW(EagerOptimizer):
    """Muon for the first groups and AdamW for the others, as one optimizer.

    Both optimizers use the groups and the state of this object, so a schedule, a gradient scaler
    and ``state_dict`` see a single optimizer.

    Args:
        muon: Updates the first groups.
        adamw: Updates the other groups.

    References:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """

    def __init__(self, muon: Optimizer, adamw: Optimizer) -> None:
        self._muon = muon
        self._adamw = adamw
        self._num_muon_groups = len(muon.param_groups)
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Make both optimizers use the groups and the state of this object."""
        self._muon.param_groups = self.param_groups[: self._num_muon_groups]
        self._adamw.param_groups = self.param_groups[self._num_muon_groups :]
        self._muon.state = self.state
        self._adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state_dict)
        self._share()

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step with both optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss
