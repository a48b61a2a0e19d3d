"""Regressor: predictions in the units of the targets, their standard deviation, objectives."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from tests.models.kinds import images
from torch import Tensor

from mlpkit import Regressor
from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP
from mlpkit.training import (
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    ScaledTargets,
    Trainer,
    TrainerConfig,
)

metrics = importlib.import_module("sklearn.metrics")  # it has no type hints
preprocessing = importlib.import_module("sklearn.preprocessing")

TARGETS = {
    "one": torch.randn(100) * 50 + 1000,
    "column": torch.randn(100, 1) * 50 + 1000,
    "several": torch.randn(100, 3) * torch.tensor([1e-3, 1.0, 1e5]) + 7,
    "images": torch.randn(100, 2, 2) * 3,
    "float64": torch.randn(100, 2).double() * 1e-8 + 1e-6,
    "half": (torch.randn(100) * 5 + 10).half(),
}


def data_of(name: str) -> LabeledTensors:
    """Return examples with the targets of a name."""
    inputs = torch.randn(100, 4) * torch.tensor([1.0, 10.0, 1e3, 1e-3])
    return LabeledTensors(inputs, TARGETS[name])


@pytest.mark.parametrize("name", list(TARGETS))
def test_predictions_are_those_of_the_network_in_the_units_of_the_targets(name: str) -> None:
    """Oracle: StandardScaler's inverse_transform in float64."""
    data = data_of(name)
    model = Regressor.for_data(data, (8,)).eval()
    flat = data.targets.double().reshape(100, -1).numpy()
    scaler = preprocessing.StandardScaler().fit(flat)
    np.testing.assert_allclose(model.target_mean.numpy(), scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(model.target_std.numpy(), scaler.scale_, rtol=1e-6)
    with torch.no_grad():
        outputs = model.network(model.standardize(data.inputs)).double().numpy()
    expected = scaler.inverse_transform(outputs).reshape(data.targets.shape)
    found = model.predict(data.inputs, batch_size=7)
    assert found.dtype == torch.float32
    spread = float(data.targets.double().std())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5 * spread)
    whole = model(data.inputs).detach()  # products of other shapes round differently
    torch.testing.assert_close(whole, found, rtol=1e-5, atol=1e-5 * spread)
    assert model.predict(data.inputs[0]).shape == data.targets.shape[1:]
    assert model.predict(data.inputs[:0]).shape == (0, *data.targets.shape[1:])


@pytest.mark.parametrize("name", list(TARGETS))
def test_means_and_stds_are_in_the_units_of_the_targets(name: str) -> None:
    """Oracle: the affine map of a normal distribution."""
    data = data_of(name)
    model = Regressor.for_data(data, (8,), predicts_std=True).eval()
    count = math.prod(data.targets.shape[1:])
    with torch.no_grad():
        outputs = model.network(model.standardize(data.inputs)).double()
    mean, std = model.target_mean.double(), model.target_std.double()
    means = outputs[:, :count] * std + mean
    stds = (outputs[:, count:] / 2).exp() * std
    assert model(data.inputs).shape == (100, 2 * count)
    spread = float(std.max())
    shape = data.targets.shape
    found = model.predict(data.inputs)
    torch.testing.assert_close(found.double(), means.reshape(shape), rtol=1e-5, atol=1e-5 * spread)
    found = model.predict_std(data.inputs)
    torch.testing.assert_close(found.double(), stds.reshape(shape), rtol=1e-4, atol=0)
    # The loss is that of the standardized targets, up to the logarithm of the units.
    targets = data.targets.double().reshape(100, -1)
    found_losses = GaussianNLL(min_variance=1e-30).loss(model(data.inputs).double(), targets)
    expected = GaussianNLL(min_variance=1e-30).loss(outputs, (targets - mean) / std)
    expected = expected + std.log().mean()
    torch.testing.assert_close(found_losses.detach(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("predicts_std", [False, True])
def test_the_evaluation_is_that_of_scikit_learn(*, predicts_std: bool) -> None:
    """In the units of the targets, with weights and names."""
    inputs, targets, weights = torch.randn(100, 4), TARGETS["several"], torch.rand(100)
    data = LabeledTensors(inputs, targets, ("small", "middle", "large"), weights=weights)
    model = Regressor.for_data(data, (8,), predicts_std=predicts_std).eval()
    assert model.target_names == ("small", "middle", "large")
    found = model.evaluate(data, batch_size=17)
    predicted, sample_weight = model.predict(inputs).double().numpy(), weights.double().numpy()
    true = targets.double().numpy()
    squared = metrics.mean_squared_error(
        true, predicted, sample_weight=sample_weight, multioutput="raw_values"
    )
    r2 = metrics.r2_score(true, predicted, sample_weight=sample_weight, multioutput="raw_values")
    assert found.rmse == pytest.approx(math.sqrt(np.mean(squared)), rel=1e-5)
    assert found.r2 == pytest.approx(np.mean(r2), rel=1e-4, abs=1e-4)
    for index, each in enumerate(found.per_target):
        assert each.name == ("small", "middle", "large")[index]
        assert each.rmse == pytest.approx(math.sqrt(squared[index]), rel=1e-4)
        assert each.r2 == pytest.approx(r2[index], rel=1e-3, abs=1e-3)
    objective = model.choose_objective()
    assert isinstance(objective, OutputObjective)
    losses = objective.loss(model(inputs), targets).detach()
    expected = float((losses * weights).sum() / weights.sum())
    assert found.loss == pytest.approx(expected, rel=1e-4)


def test_the_units_of_the_targets_do_not_change_the_run() -> None:
    """Dollars or millions of dollars: the predictions agree up to rounding."""
    inputs = torch.randn(200, 3)
    targets = inputs[:, 0] * 2 + inputs[:, 1].sin() + 0.1 * torch.randn(200)
    config = TrainerConfig(epochs=5, batch_size=32, progress=False)
    for predicts_std in (False, True):
        predictions = []
        for factor, offset in ((1.0, 0.0), (2.0**20, 2.0**21), (2.0**-20, 0.0)):
            data = LabeledTensors(inputs, targets * factor + offset)
            generator = torch.Generator().manual_seed(0)
            model = Regressor.for_data(data, (16,), predicts_std=predicts_std, generator=generator)
            Trainer(model, config).fit(data)
            predictions.append((model.predict(inputs).double() - offset) / factor)
        for other in predictions[1:]:
            torch.testing.assert_close(other, predictions[0], rtol=0, atol=0.02)


def test_it_learns_a_function_and_its_noise() -> None:
    """Y = 3 x + 10 + noise of standard deviation 0.2 (1 + x); oracle: the function."""
    torch.manual_seed(0)
    x = torch.rand(4000, 1)
    noise = 0.2 * (1 + x.squeeze(1))
    data = LabeledTensors(x, 3 * x.squeeze(1) + 10 + noise * torch.randn(4000))
    model = Regressor.for_data(data, (32,), predicts_std=True)
    Trainer(model, TrainerConfig(epochs=30, batch_size=128, progress=False)).fit(data)
    grid = torch.linspace(0.1, 0.9, 9)[:, None]
    expected = 3 * grid.squeeze(1) + 10
    torch.testing.assert_close(model.predict(grid), expected, rtol=0, atol=0.06)
    torch.testing.assert_close(
        model.predict_std(grid), 0.2 * (1 + grid.squeeze(1)), rtol=0.2, atol=0
    )
    assert model.evaluate(data).r2 > 0.8


@pytest.mark.parametrize("objective", [MeanSquaredError(), MeanAbsoluteError(), Huber(delta=0.5)])
def test_a_loss_of_the_error_is_in_standard_deviations(
    objective: MeanSquaredError | MeanAbsoluteError | Huber,
) -> None:
    data = data_of("several")
    model = Regressor.for_data(data, (8,)).eval()
    scale = tuple(model.target_std.tolist())
    assert model.choose_objective(objective) == ScaledTargets(objective, scale=scale)
    mixed = model.choose_objective(Mixup(0.3, objective=objective))
    assert isinstance(mixed, Mixup)
    assert (mixed.alpha, mixed.objective) == (0.3, ScaledTargets(objective, scale=scale))
    one = Regressor(MLP(4, (), 1), target_std=7.0)
    assert one.choose_objective(objective) == ScaledTargets(objective, scale=7.0)
    assert one.choose_objective() == ScaledTargets(MeanSquaredError(), scale=7.0)


def test_other_objectives_are_as_they_are() -> None:
    class OwnError(MeanSquaredError):
        pass

    model = Regressor(MLP(4, (), 1), target_std=10.0)
    own: list[Objective] = [OwnError(), ScaledTargets(Huber(), scale=2.0)]
    for objective in own:
        assert model.choose_objective(objective) is objective
    with pytest.raises(ValueError, match=r"objective must be a loss of the error.*_std=True"):
        model.choose_objective(GaussianNLL())
    model = Regressor(MLP(4, (), 2), target_std=10.0, predicts_std=True)
    assert model.choose_objective(own[0]) is own[0]
    for of_error in (MeanSquaredError(), Huber(), ScaledTargets(Huber(), scale=2.0)):
        for given in (of_error, Mixup(objective=of_error)):
            with pytest.raises(ValueError, match=r"objective must be GaussianNLL\(\) .*std=False"):
                model.choose_objective(given)
    default = ScaledTargets(GaussianNLL(), scale=10.0)
    assert model.choose_objective() == model.choose_objective(GaussianNLL()) == default
    assert model.choose_objective(default) is default


def test_one_row_and_constant_targets() -> None:
    """A constant target has std 1, and is predicted where the network gives 0."""
    data = LabeledTensors(torch.rand(1, 3), torch.tensor([1.7e9], dtype=torch.float64))
    model = Regressor.for_data(data, ())
    assert model.target_std.tolist() == [1.0]
    constant = LabeledTensors(torch.rand(5, 3), torch.full((5, 2), 0.1, dtype=torch.float64))
    model = Regressor.for_data(constant, ())
    assert model.target_mean.tolist() == pytest.approx([0.1, 0.1])
    assert model.target_std.tolist() == [1.0, 1.0]
    assert model.evaluate(constant).num_examples == 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_models_of_each_dtype_predict(dtype: torch.dtype) -> None:
    """In half precision the units are restored in float32."""
    targets = torch.tensor([900.0, 1000.0, 1100.0])
    network = MLP(2, (), 1, dtype=dtype)
    model = Regressor.with_network(network, LabeledTensors(torch.rand(3, 2), targets))
    x = torch.rand(4, 2)
    found = model.predict(x)
    wide = torch.promote_types(dtype, torch.float32)
    assert found.dtype == wide
    with torch.no_grad():
        z = model.network(model.standardize(x)).to(wide).squeeze(1)
    expected = z * model.target_std.to(wide) + model.target_mean.to(wide)
    torch.testing.assert_close(found, expected)


def test_autocast_restores_the_units_in_float32() -> None:
    """Bfloat16 has steps of 8 at 1000."""
    model = Regressor(MLP(12, (8,), 1), target_mean=1000.0, target_std=0.5)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(images(40).flatten(1))
    assert found.dtype == torch.float32
    assert len(set(found.tolist())) > 30


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.arange(4), TypeError, r"train\.targets must be floating-point, got class indices; "),
        (
            torch.arange(4).double() + 1.7e9,
            ValueError,
            r"train\.targets must be distinguishable in float32, got a mean of 1\.7e\+09 with a "
            r"standard deviation of 1\.12; subtract an offset",
        ),
        (
            torch.stack([torch.rand(4), torch.rand(4) + 3e4], 1),
            ValueError,
            r"train\.targets\[:, 1\] must be distinguishable",
        ),
        (torch.zeros(4, 0), ValueError, r"train\.targets must be of shape .* got \(4, 0\)"),
    ],
)
def test_targets_that_cannot_be_predicted_are_refused(
    targets: Tensor, error: type[Exception], message: str
) -> None:
    data = LabeledTensors(torch.rand(4, 2), targets)
    with pytest.raises(error, match=message):
        Regressor.for_data(data)


def test_the_cures_of_refused_targets_work() -> None:
    """Class indices as floats, an offset, and a network in float64."""
    x, far = torch.rand(4, 2), torch.arange(4).double() + 1.7e9
    Regressor.for_data(LabeledTensors(x, torch.arange(4).double()))
    Regressor.for_data(LabeledTensors(x, far - far.mean()))
    network = MLP(2, (), 1, dtype=torch.float64)
    model = Regressor.with_network(network, LabeledTensors(x, far))
    assert model.predict(x).std() > 0


def test_units_that_the_weights_cannot_represent_are_named() -> None:
    x, y = torch.rand(4, 2), torch.arange(4).double()
    for factor, word in ((1e300, "large"), (1e-60, "small")):
        with pytest.raises(
            ValueError, match=f"scale the values, since .*float32 has none so {word}"
        ):
            Regressor.for_data(LabeledTensors(x, y * factor))
    with pytest.raises(ValueError, match=r"mean must be finite, .*none so large"):
        Regressor.for_data(LabeledTensors(x.double() * 1e300, y))


def test_predict_std_needs_a_network_that_predicts_it() -> None:
    model = Regressor(MLP(2, (), 1))
    with pytest.raises(ValueError, match=r"predicts_std must be True .*; build the model with"):
        model.predict_std(torch.rand(3, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"target_shape": (2,)},
            r"target_shape must be .*3 outputs, got \(2,\); give the net",
        ),
        ({"target_shape": ()}, r"target_shape must be .*got \(\); give the network 1 outputs"),
        ({"predicts_std": True}, r"target_shape must be .*; give the network 2 for each of 3"),
        ({"predicts_std": 1}, r"predicts_std must be True or False, got 1"),
        ({"target_std": 0.0}, r"target_std must be positive, got 0\.0"),
        ({"target_std": torch.ones(2)}, r"target_std must be one number or one for each of 3 numb"),
        ({"target_mean": math.inf}, r"target_mean must be finite, got inf"),
        (
            {"target_names": ("a",)},
            r"target_names must be as many names as a target has numb",
        ),
        ({"target_names": "abc"}, r"target_names must be a sequence of names"),
        ({"mean": torch.zeros(5)}, r"mean must be one number or one for each of 12 features"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    arguments = {"target_shape": (3,), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        Regressor(MLP(12, (), 3), **arguments)  # type: ignore[arg-type]  # bad on purpose
