"""Networks of one structure whose parameters lie in one stack and which are run as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit._checks import error_message
from mlpkit._protocols import Batch, find_stacked_backpropagation
from mlpkit.training._named_tensors import named_tensors
from mlpkit.training.batches import BatchLike
from mlpkit.training.ensemble._vmap_rules import DropoutSite, VmapRules
from mlpkit.training.fast import StackedGradients
from mlpkit.training.objectives import CrossEntropy, MeanSquaredError, Objective

__all__ = ["NetworkStack"]

# Their loss of an example depends on its output alone, so that rows of all networks are one batch.
_ROW_WISE = (CrossEntropy, MeanSquaredError)

_CURE = "train them one after the other with Trainer"


class NetworkStack:
    """K networks of one structure, run as one by passes of their own or by ``torch.vmap``.

    Within a ``with`` block the parameters of each network, and the buffers that training writes
    to, are views of the stacks, ``(K, ...)``: whatever happens to the one happens to the other.
    Afterwards every network has memory of its own again, with the same values. The parameters
    and buffers stay the objects that they are.

    Args:
        models: The networks, on one device, in training mode.
        objective: Loss of each example.

    Raises:
        ValueError: If the networks differ in more than their values, or cannot be run as one.
    """

    def __init__(self, models: Sequence[nn.Module], objective: Objective) -> None:
        for number, model in enumerate(models):
            _check_plain(number, model)
            _check_alike(number, model, models[0])
        _check_separate(models)
        self.models = tuple(models)
        self._objective = objective
        self._template = _Called(models[0], objective)
        self._each = [named_tensors(model) for model in models]
        self._calls = VmapRules()
        self._sites: dict[torch.Size, list[DropoutSite]] = {}
        names = self._each[0]
        self.parameters = {
            name: nn.Parameter(self._stack(name))
            for name, tensor in names.items()
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad
        }
        self._others = {name: self._stack(name) for name in names if name not in self.parameters}
        self._written: set[str] = set()
        self._shared: dict[str, Tensor] = {}

    def _stack(self, name: str) -> Tensor:
        return torch.stack([tensors[name].detach() for tensors in self._each])

    def probe(self, batch: BatchLike, *, shared: bool) -> None:
        """Find out, without leaving a trace, whether and how the networks can be run as one.

        Args:
            batch: The first batch, of shape ``(N, ...)`` for all or ``(K, N, ...)``.
            shared: Whether it is the same for all.

        Raises:
            ValueError: If the networks cannot be run as one.
        """
        kept = {name: stack.clone() for name, stack in self._others.items()}
        self._sites_of(batch, shared=shared)
        for number, model in enumerate(self.models[1:], start=1):
            _check_alike(number, model, self.models[0])  # the first has been run, the others not
        for name, stack in self._others.items():
            if not torch.equal(stack, kept[name]):  # batch norm leaves its mark on no version
                stack.copy_(kept[name])
                self._written.add(name)
            elif all(torch.equal(row, stack[0]) for row in stack[1:]):
                self._shared[name] = stack[0].clone()
        for name in self._shared:
            del self._others[name]

    def hand_written_gradients(self, batch: BatchLike, *, shared: bool) -> StackedGradients | None:
        """Return hand-written gradients for batches like this one; None leaves them to autograd.

        Ask after :meth:`probe`, which finds out what is one for all networks: they read everything
        but the parameters from the first network.
        """
        model, objective = self.models[0], self._objective
        if not isinstance(objective, _ROW_WISE):
            return None
        if self._others or not self._template.is_row_wise:
            return None
        first, stacks = self._each[0], self.parameters
        of_first = {cast("nn.Parameter", first[name]): stack for name, stack in stacks.items()}
        passes = find_stacked_backpropagation(model, of_first, shared=shared)
        if passes is None or not passes.can_run(batch.inputs):
            return None
        return StackedGradients(passes, objective, list(stacks.values()), shared=shared)

    def _sites_of(self, batch: BatchLike, *, shared: bool) -> list[DropoutSite]:
        """Return the calls of dropout for batches of this shape, found by one pass."""
        shape = batch.inputs.shape
        if shape not in self._sites:
            kept = {name: stack.clone() for name, stack in self._others.items()}
            try:
                with torch.no_grad(), self._calls.recording() as sites:
                    self._run(batch, (), shared=shared)
            except RuntimeError as error:
                rule = "networks that torch.vmap can run as one"
                reason = f"{str(error).splitlines()[0]}; {_CURE}"
                raise ValueError(
                    error_message("models", rule, _name(self.models[0]), reason)
                ) from error
            finally:
                for name in self._written:
                    self._others[name].copy_(kept[name])
            if sites and batch.inputs.device.type != "cpu":
                rule = '"cpu" for networks with dropout'
                raise ValueError(error_message("device", rule, str(batch.inputs.device), _CURE))
            self._sites[shape] = sites
        return self._sites[shape]

    def losses(
        self, batch: BatchLike, generators: Sequence[torch.Generator], *, shared: bool
    ) -> Tensor:
        """Return the loss of each example of each network, ``(K, N)``.

        Args:
            batch: One batch for all networks, ``(N, ...)``, or one for each, ``(K, N, ...)``.
            generators: What each network draws its dropout from.
            shared: Whether it is one for all.
        """
        sites = self._sites_of(batch, shared=shared)
        return self._run(batch, [site.draw(generators) for site in sites], shared=shared)

    def _run(self, batch: BatchLike, masks: Sequence[Tensor], *, shared: bool) -> Tensor:
        stacked: dict[str, Tensor] = {**self.parameters, **self._others}
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
        """Return the losses of one network, or its outputs where their rows are independent."""
        self._calls.use(masks)
        held = {f"model.{name}": tensor for name, tensor in tensors.items()}
        with self._calls:
            found: Tensor = functional_call(self._template, held, (Batch(*parts),))
        for name, tensor in tensors.items():
            if held[f"model.{name}"] is not tensor:
                rule = "networks that change their buffers in place or not at all"
                raise ValueError(error_message("models", rule, f"another tensor as {name}", _CURE))
        return found

    def views(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the tensor of this name of each network with its place in the stack."""
        stack = self.parameters.get(name)
        rows = self._others[name] if stack is None else stack.detach()
        for tensors, row in zip(self._each, rows.unbind(), strict=True):
            yield tensors[name], row

    @property
    def _moved(self) -> list[str]:
        return [*self.parameters, *(name for name in self._others if name in self._written)]

    def __enter__(self) -> Self:
        for name in self._moved:
            for tensor, row in self.views(name):
                tensor.data = row
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for name in self._moved:
            for tensor, row in self.views(name):
                tensor.data = row.clone()


class _Called(nn.Module):
    """A network with its objective, as one module: a batch in, losses or outputs out."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective
        self.is_row_wise = type(objective) in _ROW_WISE

    def forward(self, batch: BatchLike) -> Tensor:
        if self.is_row_wise:
            outputs: Tensor = self.model(batch.inputs)
            return outputs
        return self._objective(self.model, batch)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row."""
        assert isinstance(self._objective, _ROW_WISE)
        return self._objective.loss(outputs, targets)


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _check_plain(number: int, model: nn.Module) -> None:
    """Refuse what one run for all would do once instead of K times."""
    for name, module in model.named_modules():
        where = f"models[{number}]" + (f".{name}" if name else "")
        for attribute, value in vars(module).items():
            if attribute.endswith("_hooks") and value:
                rule = "a module without hooks"
                raise ValueError(error_message(where, rule, attribute.strip("_"), _CURE))
        if isinstance(module, _BatchNorm) and module.momentum is None:
            rule = "a number for networks that are trained together"
            raise ValueError(error_message(f"{where}.momentum", rule, None, _CURE))


def _check_separate(models: Sequence[nn.Module]) -> None:
    """Refuse networks that share a parameter or a buffer."""
    owners: dict[int, int] = {}
    for number, model in enumerate(models):
        for name, tensor in named_tensors(model).items():
            owner = owners.setdefault(id(tensor), number)
            if owner != number:
                rule = f"a network of its own, with no tensor of models[{owner}]"
                cure = "copy it with copy.deepcopy"
                raise ValueError(error_message(f"models[{number}]", rule, f"its {name}", cure))


def _check_alike(number: int, model: nn.Module, first: nn.Module) -> None:
    """Refuse a network that differs from the first in more than the values of its tensors."""
    difference = _difference(model, first)
    if difference is not None:
        rule = "of the same structure as models[0]"
        raise ValueError(error_message(f"models[{number}]", rule, difference, _CURE))


class _Described(str):
    """Text that an error shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _difference(model: nn.Module, first: nn.Module) -> _Described | None:
    """Return the first difference in structure in words, or None."""
    modules, others = dict(model.named_modules()), dict(first.named_modules())
    for name in [*others, *modules]:
        own, other = modules.get(name), others.get(name)
        label = name or "the module itself"
        if own is None or other is None:
            return _Described(f"{label} in one of them only")
        if type(own) is not type(other):
            return _Described(f"{_name(own)} instead of {_name(other)} as {label}")
    tensors, expected = named_tensors(model), named_tensors(first)
    for name in [*expected, *tensors]:
        if name not in tensors or name not in expected:
            return _Described(f"{name} in one of them only")
        described, wanted = _form(tensors[name]), _form(expected[name])
        if described != wanted:
            return _Described(f"{described} instead of {wanted} as {name}")
    for name, module in modules.items():
        own_state, other_state = _state(module), _state(others[name])
        for attribute in [*other_state, *own_state]:
            pair = own_state.get(attribute), other_state.get(attribute)
            if not _equal(*pair):
                where = f"{name}.{attribute}" if name else attribute
                return _Described(f"{pair[0]!r} instead of {pair[1]!r} as {where}")
    return None


def _form(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    fixed = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
    return f"{kind} {[*tensor.shape]}" + (" that is not trained" if fixed else "")


def _state(module: nn.Module) -> dict[str, object]:
    """Return the attributes of a module besides its tensors and its parts."""
    parts = ("_parameters", "_buffers", "_modules")
    return {name: value for name, value in vars(module).items() if name not in parts}


def _equal(one: object, other: object) -> bool:
    """Return whether two attributes are equal; what cannot be told is not."""
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
