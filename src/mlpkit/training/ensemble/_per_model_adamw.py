"""AdamW for several networks with different options, one kernel call per network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlpkit.training.optim import (
    AdamWOptions,
    AdamWTensors,
    EagerAdamW,
    can_fuse,
    fused_adamw_,
)

__all__ = ["PerModelAdamW"]


class PerModelAdamW:
    """Makes the AdamW steps of all networks, with one call of the fused kernel per network.

    Args:
        optimizers: The optimizer of each network, after its first step, which initialized its
            state. Its options are read at every step.
        members: For each stack, the parameter of each network.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], members: Sequence[Sequence[Tensor]]
    ) -> None:
        stack_of = {id(one): number for number, stack in enumerate(members) for one in stack}
        self._parts: list[_Part] = []
        for network, optimizer in enumerate(optimizers):
            by_options: dict[tuple[float, AdamWOptions], _Part] = {}
            for group in optimizer.param_groups:
                part = _Part(network, group, [], AdamWTensors([], [], [], [], []))
                part = by_options.setdefault((group["initial_lr"], AdamWOptions.of(group)), part)
                for parameter in group["params"]:
                    state = optimizer.state[parameter]
                    part.stacks.append(stack_of[id(parameter)])
                    part.tensors.parameters.append(parameter)
                    part.tensors.exp_avgs.append(state["exp_avg"])
                    part.tensors.exp_avg_sqs.append(state["exp_avg_sq"])
                    part.tensors.steps.append(state["step"])
            self._parts += by_options.values()
        self._steps = [step for part in self._parts for step in part.tensors.steps]

    @staticmethod
    def supports(optimizers: Sequence[Optimizer]) -> bool:
        """Return whether all are AdamW with the fused kernel and have made a step."""
        return all(
            type(optimizer) is EagerAdamW
            and can_fuse(optimizer)
            and getattr(optimizer, "found_inf", None) is None
            and all(
                optimizer.state[parameter]
                for group in optimizer.param_groups
                for parameter in group["params"]
            )
            for optimizer in optimizers
        )

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update all networks."""
        rows = [gradient.unbind() for gradient in gradients]
        torch._foreach_add_(self._steps, 1.0)
        for network, group, stacks, tensors in self._parts:
            grads = [rows[stack][network] for stack in stacks]
            fused_adamw_(AdamWOptions.of(group), tensors._replace(grads=grads))


class _Part(NamedTuple):
    """Parameters of one network that have the same options at every step.

    Groups with equal options and base rates keep equal options, since a schedule multiplies the
    rates of all groups by one factor.
    """

    network: int
    group: Mapping[str, object]
    stacks: list[int]
    tensors: AdamWTensors
