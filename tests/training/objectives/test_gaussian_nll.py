"""The Gaussian negative log-likelihood of each example against torch and scipy."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm
from torch import Tensor, nn

from mlpkit import _serialization
from mlpkit.data import Batch, LabeledTensors
from mlpkit.training import (
    GaussianNLL,
    Objective,
    OptimizerConfig,
    OutputObjective,
    Trainer,
    TrainerConfig,
)

SHAPES = [(5,), (5, 1), (5, 3), (5, 2, 3)]


def random_outputs(shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape[0], 2 * math.prod(shape[1:]), dtype=torch.float64)


def torch_loss(outputs: Tensor, targets: Tensor, eps: float) -> Tensor:
    """Oracle: torch's loss of the means and of the variances themselves."""
    means, log_variances = outputs.chunk(2, dim=1)
    losses = F.gaussian_nll_loss(
        means,
        targets.reshape(means.shape),
        log_variances.exp(),
        full=True,
        eps=eps,
        reduction="none",
    )
    return losses.mean(dim=1)


@pytest.mark.parametrize("scale", [1.0, 8.0])
@pytest.mark.parametrize("min_variance", [1e-6, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torch_in_value_and_gradient(
    shape: tuple[int, ...], min_variance: float, scale: float
) -> None:
    """Also below the bound of the variance, where torch's gradient still flows."""
    outputs = random_outputs(shape, scale).requires_grad_()
    targets = torch.randn(shape, dtype=torch.float64)
    actual = GaussianNLL(min_variance=min_variance).loss(outputs, targets)
    expected = torch_loss(outputs, targets, min_variance)
    torch.testing.assert_close(actual, expected)
    (got,) = torch.autograd.grad(actual.sum(), outputs)
    (wanted,) = torch.autograd.grad(expected.sum(), outputs)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_density_of_scipy(shape: tuple[int, ...]) -> None:
    outputs, targets = random_outputs(shape), torch.randn(shape, dtype=torch.float64)
    means, log_variances = outputs.chunk(2, dim=1)
    density = norm(means.numpy(), (0.5 * log_variances).exp().numpy())
    expected = -density.logpdf(targets.reshape(5, -1).numpy()).mean(axis=1)
    assert GaussianNLL().loss(outputs, targets).tolist() == pytest.approx(expected.tolist())


def test_passes_gradcheck() -> None:
    outputs, targets = random_outputs((5, 3)).requires_grad_(), torch.randn(5, 3).double()

    def loss(given: Tensor) -> Tensor:
        return GaussianNLL().loss(given, targets)

    assert torch.autograd.gradcheck(loss, outputs)


def test_extreme_variances_stay_finite() -> None:
    """exp(200) overflows in float32, and a variance of exp(-200) is below the bound."""
    outputs = torch.tensor([[0.0, 200.0], [0.0, -200.0]], requires_grad=True)
    losses = GaussianNLL().loss(outputs, torch.tensor([1.0, 1e-4]))
    bound = 0.5 * (math.log(1e-6) + 1e-8 / 1e-6 + math.log(2 * math.pi))
    expected = [0.5 * (200.0 + math.log(2 * math.pi)), bound]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(losses.sum())
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert outputs.grad[0, 1].item() == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_widened_first(dtype: torch.dtype) -> None:
    outputs, targets = random_outputs((5, 3)).to(dtype), torch.randn(5, 3)
    actual = GaussianNLL().loss(outputs, targets)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, GaussianNLL().loss(outputs.float(), targets))


def test_many_networks_have_the_losses_of_each() -> None:
    outputs, targets = torch.randn(3, 5, 4), torch.randn(3, 5, 2)
    expected = torch.stack([GaussianNLL().loss(*one) for one in zip(outputs, targets, strict=True)])
    torch.testing.assert_close(torch.vmap(GaussianNLL().loss)(outputs, targets), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_predictions_are_the_means_in_the_shape_of_the_targets(shape: tuple[int, ...]) -> None:
    outputs, targets = random_outputs(shape), torch.randn(shape)
    predictions = GaussianNLL().predictions(outputs, targets)
    assert predictions.shape == targets.shape
    assert torch.equal(predictions.reshape(5, -1), outputs[:, : outputs.shape[1] // 2])


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 3), (4, 6), (5,), (5, 1)])
def test_other_outputs_are_refused(shape: tuple[int, ...]) -> None:
    targets = torch.zeros(5, 3)
    with pytest.raises(ValueError, match=r"outputs must be of shape \(5, 6\).*6 outputs"):
        GaussianNLL().loss(torch.zeros(shape), targets)
    with pytest.raises(ValueError, match=r"outputs must be of shape \(5, 6\).*6 outputs"):
        GaussianNLL().predictions(torch.zeros(shape), targets)


def test_other_targets_are_refused() -> None:
    with pytest.raises(TypeError, match=r"floating-point, got torch\.int64; pass targets\.float"):
        GaussianNLL().loss(torch.zeros(3, 2), torch.arange(3))
    with pytest.raises(ValueError, match=r"targets must be of shape \(N, \.\.\.\), got \(\)"):
        GaussianNLL().loss(torch.zeros(3, 2), torch.zeros(()))


@pytest.mark.parametrize("value", [0.0, -1e-6, math.nan])
def test_bound_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match="min_variance must be a finite number greater than 0"):
        GaussianNLL(min_variance=value)


def test_it_is_an_objective_of_outputs_and_a_plain_configuration() -> None:
    objective = GaussianNLL(min_variance=0.5)
    assert isinstance(objective, Objective)
    assert isinstance(objective, OutputObjective)
    assert objective.task == "regression"
    assert _serialization.from_json(GaussianNLL, _serialization.to_json(objective)) == objective
    model, inputs, targets = nn.Linear(3, 4), torch.randn(5, 3), torch.randn(5, 2)
    expected = objective.loss(model(inputs), targets)
    assert torch.equal(objective(model, Batch(inputs, targets, None, torch.arange(5))), expected)


def test_a_bare_module_learns_mean_and_variance() -> None:
    """Noise of a known size: the predicted standard deviation approaches it."""
    inputs = torch.randn(2048, 1)
    targets = 2.0 * inputs + 0.5 * torch.randn(2048, 1)
    data = LabeledTensors(inputs, targets)
    adamw = OptimizerConfig(lr=0.03)
    config = TrainerConfig(epochs=20, batch_size=64, optimizer=adamw, progress=False)
    trainer = Trainer(nn.Linear(1, 2), config, objective=GaussianNLL())
    trainer.fit(data, data)
    evaluation = trainer.evaluate(data)
    assert evaluation.rmse == pytest.approx(0.5, abs=0.05)
    assert evaluation.r2 > 0.9
    with torch.no_grad():
        std = trainer.model(inputs)[:, 1].mean().mul(0.5).exp()
    assert std.item() == pytest.approx(0.5, abs=0.1)
