"""Networks with the same architecture and stacked parameters, computed in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit._checks import Unquoted, error_message
from mlpkit._protocols import Batch, find_stacked_backpropagation
from mlpkit.training._named_tensors import named_tensors
from mlpkit.training.batches import BatchLike
from mlpkit.training.ensemble._vmap_rules import DropoutCall, VmapRules
from mlpkit.training.fast import StackedGradients
from mlpkit.training.objectives import Objective, is_loss_of_outputs

__all__ = ["NetworkStack"]

_CURE = "train them one after another with Trainer"


class NetworkStack:
    """K networks with the same architecture, computed in one call.

    They are computed by ``torch.vmap``, or by hand-written gradients where these are supported.
    Within a ``with`` block the parameters of each network, and the buffers that training updates,
    are views of the stacks, ``(K, ...)``, so an update of a stack updates the networks. On exit
    every network gets separate memory again, with the same values. The identity of the parameters
    and buffers does not change.

    Args:
        models: The networks, on one device, in training mode.
        objective: Loss of each example.

    Attributes:
        models: The networks.
        parameters: The stacked trainable parameters by name, ``(K, ...)``.

    Raises:
        ValueError: If the networks differ in more than their values, or are not supported.
    """

    def __init__(self, models: Sequence[nn.Module], objective: Objective) -> None:
        for number, model in enumerate(models):
            _check_supported(number, model)
            _check_alike(number, model, models[0])
        _check_separate(models)
        self.models = tuple(models)
        self._objective = objective
        self._template = _ModelWithObjective(models[0], objective)
        self._tensors = [named_tensors(model) for model in models]
        self._rules = VmapRules()
        self._dropout_calls: dict[torch.Size, list[DropoutCall]] = {}
        names = self._tensors[0]
        self.parameters = {
            name: nn.Parameter(self._stack(name))
            for name, tensor in names.items()
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad
        }
        self._untrained = {name: self._stack(name) for name in names if name not in self.parameters}
        self._written: set[str] = set()
        self._shared: dict[str, Tensor] = {}

    def _stack(self, name: str) -> Tensor:
        return torch.stack([tensors[name].detach() for tensors in self._tensors])

    def probe(self, batch: BatchLike, *, shared: bool) -> None:
        """Run a forward pass to find the buffers that it updates and the calls of dropout.

        The pass does not change any parameter, buffer or random state.

        Args:
            batch: The first batch, ``(N, ...)`` if it is shared, else ``(K, N, ...)``.
            shared: Whether all networks have the same batch.

        Raises:
            ValueError: If the networks are not supported.
        """
        before = {name: stack.clone() for name, stack in self._untrained.items()}
        self._find_dropout_calls(batch, shared=shared)
        for number, model in enumerate(self.models[1:], start=1):
            _check_alike(number, model, self.models[0])  # vmap runs the first network only
        for name, stack in self._untrained.items():
            # Values are compared: batch norm does not increase the version counter of its buffers.
            if not torch.equal(stack, before[name]):
                stack.copy_(before[name])
                self._written.add(name)
            elif all(torch.equal(row, stack[0]) for row in stack[1:]):
                self._shared[name] = stack[0].clone()
        for name in self._shared:
            del self._untrained[name]

    def hand_written_gradients(
        self, batch: BatchLike, generators: Sequence[torch.Generator] = (), *, shared: bool
    ) -> StackedGradients | None:
        """Return hand-written gradients for batches of this kind; None if autograd is required.

        Their dropout masks are drawn from the generators of the networks. It must be called after
        :meth:`probe`, which finds the buffers that are equal in all networks: hand-written
        gradients read buffers from the first network only.
        """
        model, objective = self.models[0], self._objective
        if not is_loss_of_outputs(objective):
            return None
        if self._untrained or not self._template.is_row_wise:
            return None
        first = self._tensors[0]
        stacks = {cast("nn.Parameter", first[name]): one for name, one in self.parameters.items()}
        backpropagation = find_stacked_backpropagation(
            model, stacks, shared=shared, generators=generators
        )
        if backpropagation is None or not backpropagation.can_run(batch.inputs):
            return None
        return StackedGradients(backpropagation, objective, list(stacks.values()), shared=shared)

    def _find_dropout_calls(self, batch: BatchLike, *, shared: bool) -> list[DropoutCall]:
        """Return the calls of dropout for batches of this shape, found by a forward pass."""
        shape = batch.inputs.shape
        if shape not in self._dropout_calls:
            before = {name: stack.clone() for name, stack in self._untrained.items()}
            try:
                with torch.no_grad(), self._rules.tracing_dropout() as calls:
                    self._run(batch, (), shared=shared)
            except RuntimeError as error:
                rule = "networks that torch.vmap supports"
                reason = f"{str(error).splitlines()[0]}; {_CURE}"
                raise ValueError(
                    error_message("models", rule, _name(self.models[0]), reason)
                ) from error
            finally:
                for name in self._written:
                    self._untrained[name].copy_(before[name])
            if calls and batch.inputs.device.type != "cpu":
                rule = '"cpu" for networks with dropout'
                raise ValueError(error_message("device", rule, str(batch.inputs.device), _CURE))
            self._dropout_calls[shape] = calls
        return self._dropout_calls[shape]

    def losses(
        self, batch: BatchLike, generators: Sequence[torch.Generator], *, shared: bool
    ) -> Tensor:
        """Return the loss of each example of each network, ``(K, N)``.

        Args:
            batch: One batch for all networks, ``(N, ...)``, or one per network, ``(K, N, ...)``.
            generators: The generator of each network, from which its dropout masks are drawn, or
                one whose masks all networks have.
            shared: Whether all networks have the same batch.
        """
        calls = self._find_dropout_calls(batch, shared=shared)
        # One mask may be that of all networks.
        masks = [call.draw(generators).expand(len(self.models), *call.shape) for call in calls]
        return self._run(batch, masks, shared=shared)

    def _run(self, batch: BatchLike, masks: Sequence[Tensor], *, shared: bool) -> Tensor:
        stacked: dict[str, Tensor] = {**self.parameters, **self._untrained}
        dims = {**dict.fromkeys(stacked, 0), **dict.fromkeys(self._shared)}
        axis = None if shared else 0
        parts = (batch.inputs, batch.targets, batch.weights, batch.indices)
        found = torch.vmap(
            self._one,
            in_dims=(dims, tuple(None if part is None else axis for part in parts), 0),
        )({**stacked, **self._shared}, parts, tuple(masks))
        if not self._template.is_row_wise:
            return found
        count, rows = found.shape[:2]
        targets = batch.targets
        if shared:
            targets = targets.expand(count, *targets.shape)
        losses = self._template.loss(found.flatten(0, 1), targets.flatten(0, 1))
        return losses.view(count, rows)

    def _one(
        self,
        tensors: Mapping[str, Tensor],
        parts: tuple[Tensor, Tensor, Tensor | None, Tensor],
        masks: tuple[Tensor, ...],
    ) -> Tensor:
        """Return the losses of one network, or its outputs for a row-wise objective."""
        self._rules.set_masks(masks)
        state = {f"model.{name}": tensor for name, tensor in tensors.items()}
        with self._rules:
            found: Tensor = functional_call(self._template, state, (Batch(*parts),))
        for name, tensor in tensors.items():
            if state[f"model.{name}"] is not tensor:
                rule = "networks that update their buffers in place"
                raise ValueError(
                    error_message("models", rule, Unquoted(f"a new tensor as {name}"), _CURE)
                )
        return found

    def views(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each network, the tensor with this name and its row of the stack."""
        stack = self.parameters.get(name)
        rows = self._untrained[name] if stack is None else stack.detach()
        for tensors, row in zip(self._tensors, rows.unbind(), strict=True):
            yield tensors[name], row

    @property
    def _viewed(self) -> list[str]:
        """Names of the tensors that are views of the stacks within the ``with`` block."""
        return [*self.parameters, *(name for name in self._untrained if name in self._written)]

    def __enter__(self) -> Self:
        for name in self._viewed:
            for tensor, row in self.views(name):
                tensor.data = row
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for name in self._viewed:
            for tensor, row in self.views(name):
                tensor.data = row.clone()


class _ModelWithObjective(nn.Module):
    """A module that returns the losses of a batch, or the outputs for a row-wise objective."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective
        self.is_row_wise = is_loss_of_outputs(objective)

    def forward(self, batch: BatchLike) -> Tensor:
        if self.is_row_wise:
            outputs: Tensor = self.model(batch.inputs)
            return outputs
        return self._objective(self.model, batch)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row."""
        assert is_loss_of_outputs(self._objective), "only row-wise losses are computed here"
        return self._objective.loss(outputs, targets)


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _check_supported(number: int, model: nn.Module) -> None:
    """Raise for what would run once instead of K times, and for cumulative batch norm."""
    for name, module in model.named_modules():
        where = f"models[{number}]" + (f".{name}" if name else "")
        for attribute, value in {**module._modules, **vars(module)}.items():
            if (attribute.endswith("_hooks") and value) or attribute == "parametrizations":
                rule = "a module without hooks and parametrizations"
                raise ValueError(error_message(where, rule, attribute.strip("_"), _CURE))
        if isinstance(module, _BatchNorm) and module.momentum is None:
            rule = "a number for networks that are trained together"
            raise ValueError(error_message(f"{where}.momentum", rule, None, _CURE))


def _check_separate(models: Sequence[nn.Module]) -> None:
    """Raise if two networks share a parameter or a buffer."""
    owners: dict[int, int] = {}
    for number, model in enumerate(models):
        for name, tensor in named_tensors(model).items():
            owner = owners.setdefault(id(tensor), number)
            if owner != number:
                rule = f"a network that shares no tensor with models[{owner}]"
                cure = "copy it with copy.deepcopy"
                raise ValueError(
                    error_message(f"models[{number}]", rule, Unquoted(f"its {name}"), cure)
                )


def _check_alike(number: int, model: nn.Module, first: nn.Module) -> None:
    """Raise if a network differs from the first in more than the values of its tensors."""
    difference = _difference(model, first)
    if difference is not None:
        rule = "of the same architecture as models[0]"
        raise ValueError(error_message(f"models[{number}]", rule, difference, _CURE))


def _difference(model: nn.Module, first: nn.Module) -> Unquoted | None:
    """Return a description of the first difference in architecture; None if there is none."""
    modules, others = dict(model.named_modules()), dict(first.named_modules())
    for name in [*others, *modules]:
        module, other = modules.get(name), others.get(name)
        label = name or "the module itself"
        if module is None or other is None:
            return Unquoted(f"{label} in one of them only")
        if type(module) is not type(other):
            return Unquoted(f"{_name(module)} instead of {_name(other)} as {label}")
    tensors, expected = named_tensors(model), named_tensors(first)
    for name in [*expected, *tensors]:
        if name not in tensors or name not in expected:
            return Unquoted(f"{name} in one of them only")
        described, wanted = _description(tensors[name]), _description(expected[name])
        if described != wanted:
            return Unquoted(f"{described} instead of {wanted} as {name}")
    for name, module in modules.items():
        attributes, other_attributes = _attributes(module), _attributes(others[name])
        for attribute in [*other_attributes, *attributes]:
            pair = attributes.get(attribute), other_attributes.get(attribute)
            if not _equal(*pair):
                where = f"{name}.{attribute}" if name else attribute
                return Unquoted(f"{pair[0]!r} instead of {pair[1]!r} as {where}")
    return None


def _description(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    fixed = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
    return f"{kind} {[*tensor.shape]}" + (" that is not trained" if fixed else "")


def _attributes(module: nn.Module) -> dict[str, object]:
    """Return the attributes of a module except parameters, buffers and submodules."""
    parts = ("_parameters", "_buffers", "_modules")
    return {name: value for name, value in vars(module).items() if name not in parts}


def _equal(one: object, other: object) -> bool:
    """Return whether two attributes are equal; False if they cannot be compared."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    try:
        return bool(one == other)
    except (RuntimeError, TypeError, ValueError):
        return False
