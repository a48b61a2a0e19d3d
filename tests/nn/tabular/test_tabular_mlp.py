"""TabularMLP against its parts, and its rates against the neural tangent parametrization."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit.nn import (
    MLP,
    FeatureEmbedding,
    MLPOptions,
    NumberEmbedding,
    TabularMLP,
    activation_statistics,
)

COUNTS = (0, 3, 0, 40, 2)


def rows(count: int = 64) -> Tensor:
    """Numbers in the columns 0 and 2, codes in the others."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, generator=generator) * torch.tensor([100.0, 1, 0.01, 1, 1])
    for column, number in enumerate(COUNTS):
        if number:
            x[:, column] = torch.randint(number, (count,), generator=generator).float()
    return x


def network(
    numbers: NumberEmbedding = "piecewise_linear", options: MLPOptions | None = None
) -> TabularMLP:
    generator = torch.Generator().manual_seed(1)
    return TabularMLP.for_data(
        rows(), COUNTS, (8, 6), 3, options, numbers=numbers, generator=generator
    )


def test_for_data_draws_embedding_weights_and_biases_in_this_order() -> None:
    generator = torch.Generator().manual_seed(1)
    embedding = FeatureEmbedding(rows(), COUNTS, generator=generator)
    mlp = MLP(embedding.out_features, (8, 6), 3, activation="selu", generator=generator)
    for layer in mlp.layers:
        nn.init.normal_(layer.linear.bias, generator=generator)
    assert mlp.head is not None
    nn.init.zeros_(mlp.head.weight)
    found = network(options=MLPOptions(activation="selu"))
    assert found.state_dict().keys() == TabularMLP(embedding, mlp).state_dict().keys()
    for name, value in TabularMLP(embedding, mlp).state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert not found(rows()).any()
    nn.init.normal_(mlp.head.weight)
    assert torch.equal(TabularMLP(embedding, mlp)(rows()), mlp(embedding(rows())))


@pytest.mark.parametrize("numbers", ["periodic", "piecewise_linear"])
def test_reset_parameters_draws_as_for_data(numbers: NumberEmbedding) -> None:
    found = network(numbers, MLPOptions(norm="batch", activation="prelu"))
    expected = {name: value.clone() for name, value in found.state_dict().items()}
    with torch.no_grad():
        for value in found.parameters():
            value.fill_(9.0)
    found.reset_parameters(torch.Generator().manual_seed(1))
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(("count", "expected"), [(499, "none"), (500, "piecewise_linear")])
def test_numbers_of_few_examples_are_not_embedded(count: int, expected: NumberEmbedding) -> None:
    found = TabularMLP.for_data(rows(count), COUNTS, (8,), 3)
    assert (found.config.numbers, found.embedding.numbers) == (expected, expected)


def test_options_without_biases_and_head() -> None:
    assert network(options=MLPOptions(bias=False))(rows()).shape == (64, 3)


def test_the_attributes_are_those_of_the_parts() -> None:
    found = network(options=MLPOptions(max_norm=0.5))
    assert (found.in_features, found.out_features, found.max_norm) == (5, 3, 0.5)
    assert found.hidden_features == (8, 6)
    assert found.layers is found.mlp.layers
    assert found.head is found.mlp.head
    found.apply_max_norm_()
    norms = found.layers[0].linear.weight.norm(dim=1)
    assert bool((norms <= 0.5 + 1e-6).all())
    summary = found.summary()
    assert [row.name for row in summary.rows] == ["embedding", "layers.0", "layers.1", "head"]
    parameters = sum(value.numel() for value in found.parameters())
    assert summary.num_parameters == found.num_parameters == parameters
    assert "FeatureEmbedding(5 features)" in str(summary)


def test_scaled_rates_are_those_of_the_neural_tangent_parametrization() -> None:
    """Signs of gradients, as Adam's first step, on weights that are divided by sqrt(fan_in)."""
    found = network()
    groups = found.param_groups(weight_decay=0.3)
    linear, lr = found.layers[1].linear, 0.01
    (of_weight,) = [group for group in groups if group.params[0] is linear.weight]
    (of_bias,) = [group for group in groups if group.params[0] is linear.bias]
    # The oracle: V = sqrt(D) W makes the step lr sign(dL/dV) - lr decay V.
    scale = math.sqrt(linear.in_features)
    variance_one = (linear.weight.detach() * scale).requires_grad_()
    x = torch.randn(7, linear.in_features)
    loss = F.linear(x, variance_one / scale, linear.bias).square().sum()
    step = torch.autograd.grad(loss, variance_one)[0].sign()
    expected = (variance_one * (1 - lr * 0.3) - lr * step) / scale
    rate = lr * of_weight.lr_factor
    weight = linear.weight * (1 - rate * of_weight.weight_decay) - rate * step
    torch.testing.assert_close(weight, expected)
    assert (of_bias.lr_factor, of_bias.weight_decay) == (0.1, 0.0)


@pytest.mark.parametrize("scaled", [True, False])
def test_each_parameter_is_in_one_group(*, scaled: bool) -> None:
    """Those of norms and activations have no decay, and weights have it."""
    options = MLPOptions(activation="prelu", norm="batch")
    parts = network("periodic", options)
    found = TabularMLP(parts.embedding, parts.mlp, scaled_rates=scaled)
    nn.utils.parametrizations.weight_norm(found.layers[0].linear)
    groups = found.param_groups(weight_decay=0.1)
    given = [id(value) for group in groups for value in group.params]
    assert sorted(given) == sorted(map(id, found.parameters()))
    decayed = {id(value) for group in groups if group.weight_decay for value in group.params}
    linears = [each for each in found.mlp.modules() if isinstance(each, nn.Linear)]
    assert decayed == {
        id(value) for linear in linears for value in linear.parameters() if value is not linear.bias
    }
    factors = {group.lr_factor for group in groups}
    assert (1 / math.sqrt(8) in factors) == scaled
    assert {6.0, 0.1} <= factors  # of the scaling and the frequencies


@pytest.mark.parametrize("numbers", ["none", "periodic", "piecewise_linear"])
def test_it_can_be_built_on_the_meta_device(numbers: NumberEmbedding) -> None:
    """With memory and the state of another it equals that one, which has memory all the same."""
    model = network(numbers)
    assert model.head is not None
    nn.init.normal_(model.head.weight)
    inputs = rows()
    with torch.device("meta"):
        empty = TabularMLP.for_data(inputs, COUNTS, (8, 6), 3, numbers=numbers)
        in_memory = TabularMLP.from_config(model.config, device="cpu")
    assert all(value.is_meta for value in empty.state_dict().values())
    empty.to_empty(device="cpu")
    for found in (empty, in_memory):
        found.load_state_dict(model.state_dict())
        assert torch.equal(found(rows()), model(rows()))


@pytest.mark.parametrize("numbers", ["none", "periodic", "piecewise_linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_from_config_takes_the_state(numbers: NumberEmbedding, dtype: torch.dtype) -> None:
    """The state is finite, and has the names, shapes and types of another such network."""
    model = network(numbers, MLPOptions(norm="batch")).to(dtype).eval()
    nn.init.normal_(model.mlp.layers[0].linear.weight)
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    bare = TabularMLP.from_config(model.config, device="meta", dtype=dtype)
    assert all(value.is_meta for value in bare.state_dict().values())
    bare.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(bare.eval()(rows()), model(rows()))
    for name, value in TabularMLP.from_config(model.config, dtype=dtype).state_dict().items():
        assert value.dtype is model.state_dict()[name].dtype, name


def test_a_number_that_float32_cannot_hold_is_scaled_in_its_dtype() -> None:
    seconds = torch.tensor([0.0, 1, 2, 3], dtype=torch.float64)[:, None] + 1.7e9
    far = TabularMLP.for_data(seconds, None, (4,), 1, generator=torch.Generator().manual_seed(0))
    near = TabularMLP.for_data(
        seconds - 1.7e9, None, (4,), 1, generator=torch.Generator().manual_seed(0)
    )
    first = far.embedding(seconds)
    assert len(torch.unique(first, dim=0)) == 4
    torch.testing.assert_close(first, near.embedding(seconds - 1.7e9), atol=1e-4, rtol=1e-4)


def test_activation_statistics_are_those_of_the_mlp() -> None:
    found = network()
    expected = activation_statistics(found.mlp, found.embedding(rows()).detach())
    assert activation_statistics(found, rows()) == expected


def test_refusals() -> None:
    found = network()
    with pytest.raises(ValueError, match="mlp must be an MLP with 28 inputs, as the embedding has"):
        TabularMLP(found.embedding, MLP(5, (4,), 1))
    with pytest.raises(TypeError, match=r"mlp must be an mlpkit\.nn\.MLP, got Linear"):
        TabularMLP(found.embedding, nn.Linear(28, 1))  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(TypeError, match=r"embedding must be an mlpkit\.nn\.FeatureEmbedding, got"):
        TabularMLP(found.mlp, found.mlp)  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(ValueError, match=r"x must be a tensor of shape \(\*, 5\), got \(2, 4\)"):
        found(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="weight_decay must be"):
        found.param_groups(-1.0)


def test_an_exported_program_equals_it(tmp_path: Path) -> None:
    model = network().eval()
    shapes = ({0: torch.export.Dim("N")},)
    program = torch.export.export(model, (rows(8),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    x = rows(50)
    x[0, 1], x[0, 3], x[-1, 0] = -1.0, 77.0, 1e6  # unknown categories and an outlier
    torch.testing.assert_close(loaded(x), model(x))
