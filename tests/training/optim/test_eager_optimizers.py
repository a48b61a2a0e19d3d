"""torch's optimizers without the compiler's wrapping against torch's own, to the last bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from tests.training.scenario import differences
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer, RMSprop
from torch.optim.lr_scheduler import StepLR
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from mlpkit.training.optim import EagerAdamW, can_fuse
from mlpkit.training.optim._eager_optimizers import (
    EagerAdam,
    EagerMuon,
    EagerRMSprop,
    EagerSGD,
)

# Each takes parameters, or groups of them, and torch's options.
Build = Callable[..., Optimizer]
KINDS: dict[str, tuple[Build, Build]] = {
    "adam": (EagerAdam, Adam),
    "adamw": (EagerAdamW, AdamW),
    "rmsprop": (EagerRMSprop, RMSprop),
    "sgd": (EagerSGD, SGD),
    "muon": (EagerMuon, Muon),
}
CASES: list[tuple[str, dict[str, object]]] = [
    ("adamw", {"lr": 0.01, "weight_decay": 0.1}),
    ("adamw", {"lr": 0.01, "amsgrad": True, "foreach": False}),
    ("adamw", {"lr": 0.01, "fused": True}),
    ("sgd", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    ("sgd", {"lr": 0.01, "maximize": True, "fused": True}),
    ("muon", {"lr": 0.01, "ns_steps": 3}),
    ("adam", {"lr": 0.01, "weight_decay": 0.1, "fused": True}),
    ("rmsprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
]


def weights(seed: int = 0) -> list[nn.Parameter]:
    """Return two matrices, which each of the optimizers takes."""
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (2, 3))]


def loss_of(parameters: list[nn.Parameter]) -> Tensor:
    """Return a loss that is not quadratic, so that every step has another gradient."""
    first, second = parameters
    return (second @ first.tanh()).cosh().sum()


def make_steps(parameters: list[nn.Parameter], optimizer: Optimizer, steps: int) -> None:
    """Make some steps down the same loss."""
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(parameters))
        optimizer.step()


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_steps_groups_and_state_are_those_of_torch(kind: str, options: dict[str, object]) -> None:
    """With a group that is added later and has a rate of its own."""
    results = []
    for build in KINDS[kind]:
        parameters = weights()
        optimizer = build(parameters[:1], **options)
        optimizer.add_param_group({"params": parameters[1:], "lr": 0.1})
        make_steps(parameters, optimizer, 4)
        results.append((parameters, optimizer.state_dict()))
    eager, own = results
    assert differences(eager, own) == []
    assert all(not torch.equal(one, start) for one, start in zip(eager[0], weights(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to_torch", [False, True])
def test_either_goes_on_from_the_state_of_the_other(kind: str, to_torch: bool) -> None:
    """Also with the learning rate of the state, not its own."""
    eager, own = KINDS[kind]
    first, second = (eager, own) if to_torch else (own, eager)
    parameters = weights()
    optimizer = first(parameters, lr=0.02)
    make_steps(parameters, optimizer, 2)
    others = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    other = second(others, lr=9.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    make_steps(parameters, optimizer, 2)
    make_steps(others, other, 2)
    assert differences(others, parameters) == []


def hooks_called(build: Build) -> list[str]:
    """Return the order in which the hooks of every kind are called in one round."""
    called: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: called.append(name)

    with ExitStack() as stack:
        stack.callback(register_optimizer_step_pre_hook(note("any before")).remove)
        stack.callback(register_optimizer_step_post_hook(note("any after")).remove)
        parameters = weights()
        optimizer = build(parameters, lr=0.1)
        optimizer.register_step_pre_hook(note("before"))
        optimizer.register_step_post_hook(note("after"))
        optimizer.register_state_dict_pre_hook(note("before the state"))
        optimizer.register_state_dict_post_hook(note("after the state"))
        optimizer.register_load_state_dict_pre_hook(note("before loading"))
        optimizer.register_load_state_dict_post_hook(note("after loading"))
        make_steps(parameters, optimizer, 1)
        optimizer.load_state_dict(optimizer.state_dict())
    return called


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_is_called_when_torch_calls_it(kind: str) -> None:
    """Once each: unwrapping must neither lose the hooks nor call them twice."""
    eager, own = KINDS[kind]
    assert len(hooks_called(eager)) == 8
    assert hooks_called(eager) == hooks_called(own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_closure_is_called_once_with_gradients_and_its_loss_returned(kind: str) -> None:
    """Though the update itself runs without them, and leaves the caller's mode as it was."""
    parameters = weights()
    optimizer = KINDS[kind][0](parameters, lr=0.1)
    losses: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(parameters)
        torch.autograd.backward(loss)
        losses.append(loss.item())
        return losses[-1]

    assert optimizer.step(closure) == losses[0] == loss_of(weights()).item()
    assert len(losses) == 1
    assert loss_of(parameters).item() < losses[0]
    assert torch.is_grad_enabled()
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_forgotten_or_set_to_zero(kind: str) -> None:
    """As the argument says; forgotten unless told otherwise."""
    parameters = weights()
    optimizer = KINDS[kind][0](parameters, lr=0.1)
    torch.autograd.backward(loss_of(parameters))
    gradients = [parameter.grad for parameter in parameters]
    optimizer.zero_grad(set_to_none=False)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert gradient is not None
        assert parameter.grad is gradient
        assert torch.equal(gradient, torch.zeros_like(parameter))
    optimizer.zero_grad()
    assert [parameter.grad for parameter in parameters] == [None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_of_torch_drives_it(kind: str) -> None:
    """Torch's schedules wrap the step of the object; one that they miss makes them warn."""
    parameters = weights()
    optimizer = KINDS[kind][0](parameters, lr=0.8)
    schedule = StepLR(optimizer, step_size=1, gamma=0.5)
    for _ in range(2):
        make_steps(parameters, optimizer, 1)
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.2]


MIXED = (torch.float32, torch.bfloat16, torch.float64)


@pytest.mark.parametrize("separate", [False, True])
def test_parameters_of_several_dtypes_are_left_to_torch(
    separate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA one call of the fused kernel takes tensors of one dtype; its calls are recorded."""
    kernel = torch._fused_adamw_
    dtypes: list[set[torch.dtype]] = []

    def recorded(tensors: list[Tensor], *others: Any, **options: Any) -> None:
        dtypes.append({tensor.dtype for tensor in tensors})
        kernel(tensors, *others, **options)

    monkeypatch.setattr(torch, "_fused_adamw_", recorded)
    monkeypatch.setattr("mlpkit.training.optim._eager_optimizers._is_on_cuda", lambda _: True)
    results = []
    for build in (EagerAdamW, AdamW):
        parameters = [nn.Parameter(torch.ones(3, 2, dtype=dtype)) for dtype in MIXED]
        groups = [{"params": [each]} for each in parameters] if separate else parameters
        optimizer = build(groups, lr=0.1, fused=True)
        for _ in range(3):
            for parameter in parameters:
                parameter.grad = parameter.detach() + 1
            optimizer.step()
        results.append(parameters)
    assert all(len(found) == 1 for found in dtypes)
    assert len(dtypes) == 2 * 3 * len(MIXED)
    eager, own = results
    assert differences(eager, own) == []


def test_one_dtype_is_one_call() -> None:
    """Groups of one dtype share a launch; those of several do not."""
    for dtype in MIXED:
        parameters = [nn.Parameter(torch.ones(2, dtype=dtype)) for _ in range(3)]
        assert can_fuse(EagerAdamW(parameters, lr=0.1, fused=True))
    parameters = [nn.Parameter(torch.ones(2, dtype=dtype)) for dtype in MIXED]
    assert not can_fuse(EagerAdamW(parameters, lr=0.1, fused=True))


def test_the_momentum_of_rmsprop_may_begin_at_0() -> None:
    """Torch allocates the buffer in the first step only; a buffer of zeros is the same."""
    parameters, others = weights(), weights()
    eager, own = EagerRMSprop(parameters), RMSprop(others, momentum=0.5)
    make_steps(parameters, eager, 1)
    own.param_groups[0]["momentum"] = 0.0
    make_steps(others, own, 1)
    for optimizer in (eager, own):
        optimizer.param_groups[0]["momentum"] = 0.5
    for one in others:
        own.state[one]["momentum_buffer"] = torch.zeros_like(one)
    make_steps(parameters, eager, 2)
    make_steps(others, own, 2)
    assert differences(parameters, others) == []
