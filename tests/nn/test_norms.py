"""BatchNorm against torch's on two axes, and against its equation on more axes."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from mlpkit.nn import MLP, BatchNorm, NormName


def test_equals_torch_on_two_axes_for_several_steps() -> None:
    """In value, gradient and running statistics."""
    own, reference = BatchNorm(3, dtype=torch.float64), nn.BatchNorm1d(3, dtype=torch.float64)
    for x in torch.randn(3, 7, 3, dtype=torch.float64):
        torch.testing.assert_close(own(x), reference(x))
        (own_grad,) = torch.autograd.grad(own(x).square().sum(), [own.weight])
        (reference_grad,) = torch.autograd.grad(reference(x).square().sum(), [reference.weight])
        torch.testing.assert_close(own_grad, reference_grad)
    for key, tensor in reference.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], tensor)
    x = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(own.eval()(x), reference.eval()(x))


@pytest.mark.parametrize("shape", [(3, 3), (4, 3, 3), (2, 3, 5, 3)])
def test_leading_axes_count_examples(shape: tuple[int, ...]) -> None:
    """Every feature has mean 0 and variance 1 over all axes but the last."""
    norm = BatchNorm(3, eps=1e-12, dtype=torch.float64)
    x = 5 + 2 * torch.randn(shape, dtype=torch.float64)
    y = norm(x).reshape(-1, 3)
    torch.testing.assert_close(y.mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(3, dtype=torch.float64))
    flat = x.reshape(-1, 3)
    running = 0.9 * 1.0 + 0.1 * flat.var(0, correction=1)
    torch.testing.assert_close(norm.running_var, running)
    torch.testing.assert_close(norm.running_mean, 0.1 * flat.mean(0))


@pytest.mark.parametrize("shape", [(6,), (1, 6), (1, 1, 6)])
def test_one_example_in_training_mode_is_refused(shape: tuple[int, ...]) -> None:
    """Its variance is 0, so every output would be the same; in eval mode it is accepted."""
    model = MLP(6, (5,), 2, norm="batch")
    features = re.escape(str((*shape[:-1], 5)))
    message = (
        rf"^input must be a batch of at least 2 examples in training mode, got {features}; "
        r"call model\.eval\(\) to predict; to train, drop the incomplete last batch or use "
        "norm='layer'$"
    )
    with pytest.raises(ValueError, match=message):
        model(torch.randn(shape))
    assert model.eval()(torch.randn(shape)).shape == (*shape[:-1], 2)


def test_it_is_an_instance_of_batch_norm_1d() -> None:
    """Tools of torch find batch norms by their class."""
    modules = list(MLP(6, (5,), 2, norm="batch").modules())
    assert sum(isinstance(module, nn.BatchNorm1d) for module in modules) == 1


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5), (2, 3, 4, 5), (3, 1, 2, 2, 5)])
@pytest.mark.parametrize("order", ["rows", "reversed", "channels_last", "strided"])
@pytest.mark.parametrize("training", [True, False])
def test_leading_axes_in_a_network_of_any_memory_format(
    shape: tuple[int, ...], order: str, training: bool
) -> None:
    """Output, gradient and statistics are those of the flattened input, computed by hand."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    if order == "channels_last" and len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    if order == "reversed":
        x = x.permute(*reversed(range(x.ndim))).contiguous().permute(*reversed(range(x.ndim)))
    if order == "strided":
        x = torch.randn(*shape[:-1], 2 * shape[-1], generator=generator)[..., ::2]
    assert x.shape == shape
    model = MLP(5, (4, 4), 2, norm="batch", activation="maxout", residual=True)
    model.train(training)
    flat_model = copy.deepcopy(model)
    x.requires_grad_()
    flat = x.detach().clone().reshape(-1, 5).requires_grad_()
    y = model(x)
    y_flat = flat_model(flat)
    torch.testing.assert_close(y, y_flat.view(*shape[:-1], 2))
    torch.autograd.backward(y.square().sum())
    torch.autograd.backward(y_flat.square().sum())
    assert x.grad is not None
    assert flat.grad is not None
    torch.testing.assert_close(x.grad, flat.grad.view(shape))
    for ours, theirs in zip(model.parameters(), flat_model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, flat_model.get_buffer(name))


def test_two_examples_are_enough_in_training_mode() -> None:
    """Their variance is not 0."""
    x = torch.tensor([[1.0, 5.0], [3.0, 1.0]])
    expected = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    torch.testing.assert_close(BatchNorm(2, eps=1e-12)(x), expected)


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", BatchNorm), ("layer", nn.LayerNorm), ("rms", nn.RMSNorm)]
)
def test_each_name_builds_its_layer(norm: NormName, kind: type[nn.Module]) -> None:
    """Of the size, dtype and device of its hidden layer."""
    for options in ({"dtype": torch.float64}, {"device": "meta"}):
        model = MLP(6, (5,), 2, norm=norm, **options)
        (built,) = [module for module in model.modules() if isinstance(module, kind)]
        assert next(parameter.shape for parameter in built.parameters()) == (5,)
        weight = next(model.parameters())
        for parameter in built.parameters():
            assert (parameter.dtype, parameter.device) == (weight.dtype, weight.device)
