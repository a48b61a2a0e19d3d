"""What is special about a few calls under vmap changes no number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit.training.ensemble._vmap_rules import DropoutCall, VmapRules

K = 3

Call = Callable[..., Tensor]


def separate(
    call: Call, arguments: tuple[Tensor | None, ...], dims: tuple[int | None, ...]
) -> Tensor:
    """Call a function once for each network: the oracle."""
    return torch.stack(
        [
            call(
                *(
                    one if one is None or dim is None else one.select(dim, k)
                    for one, dim in zip(arguments, dims, strict=True)
                )
            )
            for k in range(K)
        ]
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (), (2, 4)], ids=["rows", "one example", "axes"])
@pytest.mark.parametrize("axis", [None, 0, -2], ids=["one input", "first axis", "other axis"])
def test_linear_and_its_gradients(axis: int | None, shape: tuple[int, ...], bias: bool) -> None:
    x = torch.randn(*shape, 6)
    if axis is not None:
        x = torch.randn(K, *shape, 6).movedim(0, axis if shape else 0)
    dim = None if axis is None else (x.ndim + axis if axis < 0 and shape else 0)
    x.requires_grad_()
    w = torch.randn(K, 4, 6, requires_grad=True)
    b = torch.randn(K, 4, requires_grad=True) if bias else None
    arguments = (x, w, b)
    dims = (dim, 0, None if b is None else 0)
    wanted = separate(F.linear, arguments, dims)
    with VmapRules():
        found = torch.vmap(F.linear, in_dims=dims)(*arguments)
    torch.testing.assert_close(found, wanted)

    leaves = [one for one in arguments if one is not None]
    pull = torch.randn_like(wanted)
    for one, two in zip(
        torch.autograd.grad(found, leaves, pull),
        torch.autograd.grad(wanted, leaves, pull),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("dims", [(0, None, None), (0, None, 0), (None, None, 0), (0, 0, None)])
def test_linear_where_only_some_is_stacked(dims: tuple[int | None, ...]) -> None:
    shapes = ((5, 6), (4, 6), (4,))
    arguments = tuple(
        torch.randn(*shape) if dim is None else torch.randn(K, *shape)
        for shape, dim in zip(shapes, dims, strict=True)
    )
    with VmapRules():
        found = torch.vmap(F.linear, in_dims=dims)(*arguments)
    torch.testing.assert_close(found, separate(F.linear, arguments, dims))


def test_the_gradient_of_the_weights_lies_as_the_weights_do() -> None:
    """The fused optimizers of torch read both in the order of memory."""
    w = torch.randn(K, 4, 6, requires_grad=True)
    for x, dim in ((torch.randn(5, 6), None), (torch.randn(K, 5, 6), 0)):
        with VmapRules():
            y = torch.vmap(F.linear, in_dims=(dim, 0))(x, w)
        (gradient,) = torch.autograd.grad(y.sum(), w)
        assert gradient.is_contiguous()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 2)])
def test_batch_norm_moves_the_statistics_of_each(shape: tuple[int, ...], training: bool) -> None:
    x = torch.randn(K, *shape, requires_grad=True)
    mean, var = torch.randn(K, 4), torch.rand(K, 4) + 0.5
    weight, bias = torch.randn(K, 4, requires_grad=True), torch.randn(K, 4, requires_grad=True)
    other_mean, other_var = mean.clone(), var.clone()
    wanted = torch.stack(
        [
            F.batch_norm(x[k], other_mean[k], other_var[k], weight[k], bias[k], training, 0.1, 1e-5)
            for k in range(K)
        ]
    )
    with VmapRules():
        found = torch.vmap(
            lambda one, m, v, w, b: F.batch_norm(one, m, v, w, b, training), in_dims=(0,) * 5
        )(x, mean, var, weight, bias)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(mean, other_mean)
    torch.testing.assert_close(var, other_var)
    pull = torch.randn_like(wanted)
    leaves = (x, weight, bias)
    for one, two in zip(
        torch.autograd.grad(found, leaves, pull),
        torch.autograd.grad(wanted, leaves, pull),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("inplace", [True, False])
def test_dropout_draws_the_bits_of_each_generator(inplace: bool) -> None:
    x = torch.randn(K, 40, 30)
    wanted = []
    for k in range(K):
        torch.manual_seed(k)
        wanted.append(F.dropout(F.dropout(x[k], 0.5), 0.1))
    generators = [torch.Generator().manual_seed(k) for k in range(K)]

    calls = VmapRules()

    def network(one: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
        calls.set_masks(masks)
        return F.dropout(F.dropout(one, 0.5, inplace=inplace), 0.1)

    with calls.tracing_dropout() as sites, calls:
        torch.vmap(network)(x, ())
    assert [(site.shape, site.p) for site in sites] == [((40, 30), 0.5), ((40, 30), 0.1)]
    masks = tuple(site.draw(generators) for site in sites)
    with calls:
        found = torch.vmap(network)(x.clone(), masks)
    assert torch.equal(found, torch.stack(wanted))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.5, False)])
def test_dropout_that_draws_nothing_needs_no_mask(p: float, training: bool) -> None:
    x = torch.randn(K, 4)
    calls = VmapRules()
    with calls.tracing_dropout() as sites, calls:
        found = torch.vmap(lambda one: F.dropout(one, p, training))(x)
    assert sites == []
    assert torch.equal(found, F.dropout(x, p, training))


def test_a_mask_of_one_network_depends_on_no_other() -> None:
    site = DropoutCall(torch.Size([7, 5]), torch.float32, 0.3)
    both = site.draw([torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)])
    alone = site.draw([torch.Generator().manual_seed(1)])
    assert torch.equal(both[1], alone[0])
    torch.testing.assert_close(torch.unique(both), torch.tensor([0.0, 1 / 0.7]))
