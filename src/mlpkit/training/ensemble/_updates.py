"""Optimizer steps of several networks: one optimizer per network, or one for all stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._protocols import collect_param_groups
from mlpkit.training._config import FilledConfig
from mlpkit.training.ensemble._network_stack import NetworkStack
from mlpkit.training.ensemble._per_model_adamw import PerModelAdamW
from mlpkit.training.optim import Rates, build_optimizer

__all__ = ["PerModelUpdate", "StackUpdate", "Update", "build_update"]


class PerModelUpdate:
    """One optimizer per network, the same that :class:`Trainer` would build."""

    def __init__(
        self, stack: NetworkStack, configs: Sequence[FilledConfig], *, total_steps: int
    ) -> None:
        self._optimizers: Sequence[Optimizer] = [
            build_optimizer(model, config.optimizer)
            for model, config in zip(stack.models, configs, strict=True)
        ]
        self._rates = [
            _rates(optimizer, config, total_steps)
            for optimizer, config in zip(self._optimizers, configs, strict=True)
        ]
        self._members = [[tensor for tensor, _ in stack.views(name)] for name in stack.parameters]
        self._fast: PerModelAdamW | None = None  # after the first step, which initializes the state

    def set_rates(self, step: int) -> None:
        """Set learning rate and momentum of every optimizer at a step."""
        for rates in self._rates:
            rates.set(step)

    def rates(self, network: int) -> Rates:
        """Return the learning rates of one network."""
        return self._rates[network]

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Update all networks."""
        existing = [gradient for gradient in gradients if gradient is not None]
        if self._fast is not None and len(existing) == len(self._members):
            self._fast.step(existing)
            return
        for members, gradient in zip(self._members, gradients, strict=True):
            if gradient is not None:
                for parameter, row in zip(members, gradient.unbind(), strict=True):
                    parameter.grad = row
        for optimizer in self._optimizers:
            optimizer.step()
        for members in self._members:
            for parameter in members:
                parameter.grad = None
        if PerModelAdamW.supports(self._optimizers):
            self._fast = PerModelAdamW(self._optimizers, self._members)


class StackUpdate:
    """One optimizer for the stacks, if all networks have the same settings."""

    def __init__(
        self, stack: NetworkStack, configs: Sequence[FilledConfig], *, total_steps: int
    ) -> None:
        self._parameters = list(stack.parameters.values())
        self._optimizer = build_optimizer(_StackedModel(stack), configs[0].optimizer)
        self._rates = _rates(self._optimizer, configs[0], total_steps)

    def set_rates(self, step: int) -> None:
        """Set learning rate and momentum at a step."""
        self._rates.set(step)

    def rates(self, network: int) -> Rates:  # noqa: ARG002 - one rate for all
        """Return the learning rates, which are the same for each network."""
        return self._rates

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Update all networks."""
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None


class _StackedModel(nn.Module):
    """A model whose parameters are the stacks, in the groups of the first network."""

    def __init__(self, stack: NetworkStack) -> None:
        super().__init__()
        self._stacks = nn.ParameterList(stack.parameters.values())
        self._model = [stack.models[0]]  # in a list, so that it is not registered as a submodule
        members = {name: next(stack.views(name))[0] for name in stack.parameters}
        self._stack_of = {id(members[name]): one for name, one in stack.parameters.items()}

    def param_groups(self, weight_decay: float) -> Sequence[Mapping[str, object]]:
        """Return the stacks in the groups that the first network defines."""
        (model,) = self._model
        groups = []
        for group in collect_param_groups(model, weight_decay):
            kept = [one for one in group["params"] if id(one) in self._stack_of]
            groups.append({**group, "params": [self._stack_of[id(one)] for one in kept]})
        return groups


Update: TypeAlias = PerModelUpdate | StackUpdate


def build_update(
    stack: NetworkStack, configs: Sequence[FilledConfig], *, total_steps: int
) -> Update:
    """Return one optimizer for the stacks if it is equivalent, else one per network."""
    settings: list[Callable[[FilledConfig], object]] = [
        lambda one: one.optimizer,
        lambda one: one.schedule,
        lambda one: one.momentum_schedule,
    ]
    alike = all(get(one) == get(configs[0]) for one in configs for get in settings)
    # Muon does not support stacks of matrices.
    if alike and configs[0].optimizer.name != "muon":
        return StackUpdate(stack, configs, total_steps=total_steps)
    return PerModelUpdate(stack, configs, total_steps=total_steps)


def _rates(optimizer: Optimizer, config: FilledConfig, total_steps: int) -> Rates:
    return Rates(optimizer, config.schedule, config.momentum_schedule, total_steps=total_steps)
