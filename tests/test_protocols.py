"""Parameter groups, and the registration of hand-written gradients by the type of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit._protocols import (
    HasMaxNorm,
    HasParamGroups,
    collect_max_norms,
    collect_param_groups,
    find_backpropagation,
    find_stacked_backpropagation,
)
from mlpkit.data import Batch, LabeledTensors
from mlpkit.nn import MLP, ParamGroup


def test_an_optimizer_of_torch_accepts_a_group() -> None:
    """It uses the weight decay of the group, and ignores lr_factor."""
    linear = nn.Linear(2, 1, bias=False)
    group = ParamGroup(linear.parameters(), weight_decay=0.5, lr_factor=3.0)
    assert group.params == [linear.weight]
    assert (group.weight_decay, group.lr_factor) == (0.5, 3.0)
    before = linear.weight.detach().clone()
    linear.weight.grad = torch.zeros_like(before)
    torch.optim.SGD([group], lr=0.1).step()
    torch.testing.assert_close(linear.weight.detach(), before * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(
    ("weight_decay", "lr_factor", "kind", "message"),
    [
        (-0.1, 1.0, ValueError, "weight_decay must be a finite number at least 0, got -0.1"),
        (math.nan, 1.0, ValueError, "weight_decay must be a finite number at least 0, got nan"),
        (True, 1.0, TypeError, "weight_decay must be a finite number at least 0, got True"),
        (0.0, 0.0, ValueError, "lr_factor must be a finite number greater than 0, got 0.0"),
    ],
)
def test_a_group_checks_its_numbers(
    weight_decay: float, lr_factor: float, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        ParamGroup([], weight_decay=weight_decay, lr_factor=lr_factor)


@pytest.mark.parametrize(
    "model", [MLP(2, (3,), 2), SoftmaxClassifier(MLP(2, (), 2), classes=("a", "b"))]
)
def test_the_networks_implement_the_protocols(model: nn.Module) -> None:
    assert isinstance(model, HasParamGroups)
    assert isinstance(model, HasMaxNorm)
    assert not isinstance(nn.Linear(2, 2), HasParamGroups | HasMaxNorm)


def test_a_batch_is_a_tuple_of_four() -> None:
    batch = Batch(torch.ones(1, 2), torch.zeros(1), None, torch.tensor([5]))
    inputs, targets, weights, indices = batch
    assert inputs is batch.inputs
    assert targets is batch.targets
    assert weights is None
    assert indices is batch.indices


class _Subclass(MLP):
    pass


def test_gradients_are_found_for_registered_types_only() -> None:
    """A subclass of MLP and a module of torch are differentiated by autograd."""
    model = MLP(4, (3,), 2)
    stacks = {each: nn.Parameter(torch.stack((each, each)).detach()) for each in model.parameters()}
    assert find_backpropagation(model) is not None
    assert find_stacked_backpropagation(model, stacks, shared=True) is not None
    for other in (_Subclass(4, (3,), 2), nn.Linear(4, 2)):
        assert find_backpropagation(other) is None
        assert find_stacked_backpropagation(other, stacks, shared=True) is None


class Forwarding(nn.Module):
    """A wrapper that forwards missing attributes to the module inside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> object:  # type: ignore[override]  # as wrappers do
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, x: Tensor) -> Tensor:
        """Return something else than the inner module."""
        outputs: Tensor = -self.inner(x)
        return outputs


def compiled_by_torch(model: nn.Module) -> nn.Module:
    """Return the module that torch.compile makes."""
    return cast("nn.Module", torch.compile(model, backend="eager"))


def test_a_wrapper_has_no_gradients_of_the_network_inside_it() -> None:
    """Although it has all its attributes, and also if torch has compiled the network."""
    compiled = MLP(4, (3,), 2)
    compiled.compile(backend="eager")
    wrappers: list[nn.Module] = [
        Forwarding(MLP(4, (3,), 2)),
        nn.Sequential(MLP(4, (3,), 2)),
        compiled_by_torch(MLP(4, (3,), 2)),
        compiled,
    ]
    for model in wrappers:
        stacks = {p: nn.Parameter(torch.stack((p, p)).detach()) for p in model.parameters()}
        assert find_backpropagation(model) is None
        assert find_stacked_backpropagation(model, stacks, shared=True) is None


def test_hooks_on_a_compiled_network_are_called_in_training() -> None:
    """On the network itself and on the module that torch.compile returns."""
    data = LabeledTensors(torch.randn(6, 4), torch.arange(6) % 2)
    config = TrainerConfig(epochs=1, batch_size=3, device="cpu", progress=False)
    for model in (
        compiled_by_torch(MLP(4, (3,), 2)),
        Forwarding(MLP(4, (3,), 2)),
        MLP(4, (3,), 2),
    ):
        calls: list[object] = []
        model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        Trainer(model, config).fit(data)
        assert len(calls) == 2


def ids(groups: Sequence[Mapping[str, object]]) -> list[tuple[list[int], object]]:
    """Return the parameters and the weight decay of each group."""
    return [
        ([id(one) for one in cast("list[nn.Parameter]", group["params"])], group["weight_decay"])
        for group in groups
    ]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: one,
        Forwarding,
        nn.Sequential,
        nn.DataParallel,
        compiled_by_torch,
        lambda one: nn.Sequential(nn.ModuleDict({"a": Forwarding(one)})),
    ],
    ids=["itself", "forwarding", "sequential", "data_parallel", "compiled", "nested"],
)
def test_the_groups_of_a_network_are_found_in_every_wrapper(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    """They are those that the network returns itself."""
    for inner in (
        MLP(4, (3,), 2, activation="prelu", max_norm=0.5),
        SoftmaxClassifier(MLP(4, (3,), 2, norm="batch", max_norm=0.5), classes=("a", "b")),
    ):
        model = wrap(inner)
        assert ids(collect_param_groups(model, 0.1)) == ids(inner.param_groups(0.1))
        assert collect_max_norms(model) == [inner]


def test_parameters_outside_of_the_networks_decay() -> None:
    """Each parameter is in one group, also if two modules share it."""
    first, second = MLP(4, (3,), 5), MLP(5, (3,), 2)
    second.layers[0].linear.bias = first.layers[0].linear.bias  # 3 values each
    linear = nn.Linear(2, 2)
    model = nn.Sequential(first, nn.ReLU(), second, linear, first)
    groups = collect_param_groups(model, 0.1)
    found = [each for members, _ in ids(groups) for each in members]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())
    assert ids(groups)[-1] == ([id(linear.weight), id(linear.bias)], 0.1)
    assert [decay for _, decay in ids(groups)] == [0.1, 0.0, 0.1, 0.0, 0.1]
    assert ids(collect_param_groups(linear, 0.2)) == [([id(linear.weight), id(linear.bias)], 0.2)]


def test_max_norms_of_nested_networks_are_found_once() -> None:
    """Those without a constraint are left out; torch's Embedding has another max_norm."""
    limited, free = MLP(2, (3,), 2, max_norm=0.5), MLP(2, (3,), 2)
    model = nn.Sequential(free, limited, nn.Sequential(limited), nn.Embedding(2, 2, max_norm=1.0))
    assert collect_max_norms(model) == [limited]
    for module in collect_max_norms(model):
        module.apply_max_norm_()
    assert float(limited.layers[0].linear.weight.detach().norm(dim=1).max()) <= 0.5 + 1e-6
    assert collect_max_norms(free) == []
    free.child = MLP(2, (), 2, max_norm=0.3)  # a module inside
    assert collect_max_norms(free) == [free.child]


class Unrelated(nn.Module):
    """A module with a method of the same name for another purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MLP(4, (3,), 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y

    def param_groups(self) -> list[str]:
        """Return the names of the parameters."""
        return [name for name, _ in self.named_parameters()]


class UnrelatedWithArgument(Unrelated):
    def param_groups(self, lr: float = 0.1) -> list[str]:
        """Return something for another optimizer."""
        return [str(lr)]


class KeywordOnly(Unrelated):
    def param_groups(self, *, weight_decay: float) -> list[ParamGroup]:  # type: ignore[override]
        """Return one group with twice the weight decay."""
        return [ParamGroup(self.parameters(), weight_decay=2 * weight_decay)]


@pytest.mark.parametrize("kind", [Unrelated, UnrelatedWithArgument])
def test_a_method_of_the_same_name_with_other_arguments_is_ignored(kind: type[Unrelated]) -> None:
    """The groups are those of the network inside, and a run trains the model."""
    model = kind()
    groups = collect_param_groups(model, 0.1)
    assert [list(map(id, cast("list[Tensor]", group["params"]))) for group in groups] == [
        list(map(id, group.params)) for group in model.network.param_groups(0.1)
    ]
    data = LabeledTensors(torch.randn(8, 4), torch.arange(8) % 2)
    Trainer(model, TrainerConfig(epochs=1, batch_size=4, progress=False)).fit(data)


def test_the_weight_decay_is_passed_by_its_name() -> None:
    for model in (KeywordOnly(), nn.Sequential(KeywordOnly())):
        (group,) = collect_param_groups(model, 0.1)
        assert group["weight_decay"] == 0.2
