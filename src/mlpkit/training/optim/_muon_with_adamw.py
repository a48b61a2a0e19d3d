"""Muon for some parameter groups and AdamW for the others, as one optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from typing import overload

import torch
from torch.optim import AdamW, Muon, Optimizer

from mlpkit._checks import Unquoted, error_message
from mlpkit.training.optim._eager_optimizers import EagerOptimizer

__all__ = ["MuonWithAdamW"]


class MuonWithAdamW(EagerOptimizer):
    """Muon for some groups and AdamW for the others, as one optimizer.

    The option ``use_muon`` of a group determines its optimizer. Both optimizers use the groups and
    the state of this object, so a schedule, a gradient scaler, a hook and ``state_dict`` see a
    single optimizer.

    Args:
        muon: Updates its groups; its options are the defaults of groups with ``use_muon=True``.
        adamw: Updates its groups; its options are the defaults of all other groups.

    References:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        self._muon = muon
        self._adamw = adamw
        super().__init__([*muon.param_groups, *adamw.param_groups], {})

    def add_param_group(self, param_group: dict[str, object]) -> None:
        """Add a group of parameters with its options; ``use_muon`` is False by default.

        Raises:
            ValueError: If ``use_muon`` is True for a parameter that is not a matrix.
        """
        for name, default in self._part(param_group).defaults.items():
            param_group.setdefault(name, default)
        super().add_param_group(param_group)
        added = self.param_groups[-1]
        shapes = [tuple(parameter.shape) for parameter in added["params"]]
        if added["use_muon"] and any(len(shape) != 2 for shape in shapes):
            self.param_groups.pop()
            rule = "False for parameters that are not matrices"
            raise ValueError(error_message("use_muon", rule, Unquoted(f"shapes {shapes}")))
        self._share()

    def _part(self, group: MutableMapping[str, object]) -> Optimizer:
        """Return the optimizer of a group; the group gets the option ``use_muon`` if it has none.

        A group that was not given the option belongs to Muon if it has an option that AdamW does
        not have, as in a state dict from before the option existed.
        """
        return self._muon if group.setdefault("use_muon", "ns_steps" in group) else self._adamw

    def _share(self) -> None:
        """Make both optimizers use the groups and the state of this object."""
        for part in (self._muon, self._adamw):
            part.state = self.state
            part.param_groups = [group for group in self.param_groups if self._part(group) is part]

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_muon": self._muon, "_adamw": self._adamw}

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)  # load_state_dict calls it too
        self._share()
        for part in (self._muon, self._adamw):
            # sets the options that a state dict of an older version of torch does not have
            part.__setstate__({"state": part.state, "param_groups": part.param_groups})

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
        with torch.no_grad():
            for part in (self._muon, self._adamw):
                # without torch's wrapper, which calls hooks: they are called for this object only
                inspect.unwrap(type(part).step)(part)
        return loss
