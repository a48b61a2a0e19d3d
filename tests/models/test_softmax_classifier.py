"""SoftmaxClassifier: preprocessing, probabilities and calibration."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit import SoftmaxClassifier
from mlpkit.data import Batches, LabeledTensors
from mlpkit.errors import ArtifactError
from mlpkit.nn import MLP, ActivationName, MLPConfig, MLPOptions

sklearn_metrics = importlib.import_module("sklearn.metrics")  # it has no types


def make_model(
    activation: ActivationName = "relu", *, mean: float | Tensor = 33.0, std: float | Tensor = 78.0
) -> SoftmaxClassifier:
    """Return a small classifier of 4 x 3 images, with random weights."""
    network = MLP(12, (8, 6), 3, activation=activation, generator=torch.Generator().manual_seed(1))
    return SoftmaxClassifier(
        network, classes=("a", "b", "c"), mean=mean, std=std, input_shape=(4, 3)
    ).eval()


def images(n: int) -> Tensor:
    """Return random uint8 images."""
    return torch.randint(0, 256, (n, 4, 3), dtype=torch.uint8)


@pytest.fixture
def x() -> Tensor:
    """Some images."""
    return images(5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("of_each_feature", [False, True])
def test_every_type_of_input_is_converted_first(
    x: Tensor, dtype: torch.dtype, *, of_each_feature: bool
) -> None:
    """To the bit: the input minus the mean, in the type of the model, divided by std.

    Numbers that the type of the model cannot represent are subtracted in float64.
    """
    shape = (12,) if of_each_feature else ()
    model = make_model(mean=torch.rand(shape) * 100, std=torch.rand(shape) * 50 + 1).to(dtype)
    every_pixel = torch.arange(264).clamp(max=255).to(torch.uint8).reshape(22, 4, 3)
    given = [every_pixel, every_pixel.int(), every_pixel > 9, every_pixel.double() / 7]
    for raw in given:
        flat = raw.flatten(1)
        if torch.equal(flat.to(dtype).double(), flat.double()):
            expected = (flat.to(dtype) - model.mean) / model.std
        else:
            expected = (flat.double() - model.mean.double()).to(dtype) / model.std
        assert torch.equal(model.standardize(raw), expected)
        assert torch.equal(model.standardize(raw[5]), expected[5])
        with torch.no_grad():
            logits = model.network(expected)
        wide = logits if dtype is torch.float64 else logits.float()
        assert torch.equal(model.predict_proba(raw), wide.softmax(-1))


def test_statistics_that_are_no_buffers_are_used(x: Tensor) -> None:
    """A mean that learns, and a standard deviation that somebody keeps out of state_dict."""
    model, expected = make_model(mean=20.0, std=50.0), make_model()
    del model.mean, model.std
    model.mean = torch.nn.Parameter(torch.tensor(33.0))
    model.std = torch.tensor(78.0)
    assert torch.equal(model.predict_proba(x), expected.predict_proba(x))
    (gradient,) = torch.autograd.grad(model(x).sum(), [model.mean])
    assert gradient != 0.0


def test_probabilities_are_the_softmax_and_sum_to_one() -> None:
    """Oracle: NumPy in float64; the sums in float32 differ from one by at most 1e-6."""
    model = make_model()
    inputs = images(1000)
    probabilities = model.predict_proba(inputs, batch_size=64)
    logits = model(inputs).detach().double().numpy()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    expected = powers / powers.sum(1, keepdims=True)
    assert probabilities.dtype == torch.float32
    np.testing.assert_allclose(probabilities.numpy(), expected, atol=1e-6)
    assert float((probabilities.sum(1) - 1).abs().max()) <= 1e-6
    assert torch.equal(model.predict(inputs), torch.from_numpy(expected.argmax(1)))


def test_predicting_leaves_the_mode_alone_and_uses_no_dropout(x: Tensor) -> None:
    """Dropout is off while predicting, and the model is in training mode afterwards."""
    network = MLP(12, (64,), 3, dropout=0.5)
    model = SoftmaxClassifier(network, classes=("a", "b", "c"), std=255.0).train()
    first = model.predict_proba(x.flatten(1))
    assert torch.equal(first, model.predict_proba(x.flatten(1)))
    assert model.training
    assert model.network.training


def test_a_frozen_module_keeps_its_mode(x: Tensor) -> None:
    """A norm in evaluation mode within a model in training mode stays in evaluation mode."""
    network = MLP(12, (8,), 3, norm="batch", dropout=0.5)
    model = SoftmaxClassifier(network, classes=("a", "b", "c"), std=255.0).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    assert norms
    for norm in norms:
        norm.eval()
    before = {module: module.training for module in model.modules()}
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    flat = x.flatten(1)
    data = LabeledTensors(flat, torch.arange(5) % 3, ("a", "b", "c"))
    model.predict(flat)
    model.predict_proba(flat, batch_size=2)
    model.evaluate(data)
    model.calibrate(data)
    assert {module: module.training for module in model.modules()} == before
    assert True in before.values()
    assert False in before.values()
    for name, value in model.named_buffers():
        assert name == "temperature" or torch.equal(value, statistics[name]), name


def test_one_example_and_none() -> None:
    """One example gives one vector; no examples give no rows."""
    model = make_model()
    one = images(1)[0]
    torch.testing.assert_close(model.predict_proba(one), model.predict_proba(one[None])[0])
    assert model.predict(one).shape == ()
    assert model.predict_proba(images(0)).shape == (0, 3)


def in_float64(probabilities: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return probabilities that sum to 1 in float64, which scikit-learn asks for."""
    wide = probabilities.double()
    return np.asarray(wide / wide.sum(1, keepdim=True))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("batch_size", [7, 4096])
def test_the_evaluation_is_that_of_scikit_learn(temperature: float, batch_size: int) -> None:
    """Loss and metrics of predict_proba, at the fitted temperature; all batches count alike."""
    model = make_model()
    model.temperature.fill_(temperature)
    inputs, targets = images(50), torch.randint(0, 3, (50,))
    found = model.evaluate(LabeledTensors(inputs, targets), batch_size=batch_size)
    probabilities = in_float64(model.predict_proba(inputs))
    true, predicted, labels = targets.numpy(), probabilities.argmax(1), [0, 1, 2]
    loss = sklearn_metrics.log_loss(true, probabilities, labels=labels)
    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(true, predicted))
    expected = sklearn_metrics.confusion_matrix(true, predicted, labels=labels)
    assert found.confusion.tolist() == expected.tolist()
    recalls = sklearn_metrics.recall_score(true, predicted, labels=labels, average=None)
    assert [one.recall for one in found.per_class] == pytest.approx(list(recalls))
    assert [one.name for one in found.per_class] == ["a", "b", "c"]
    assert (found.num_examples, found.objective_loss) == (50, None)


def test_the_evaluation_takes_weights_and_batches() -> None:
    """Weights count in loss and accuracy; batches keep their size and order."""
    model = make_model()
    inputs, targets, weights = images(50), torch.randint(0, 3, (50,)), torch.rand(50)
    data = LabeledTensors(inputs, targets, weights=weights)
    found = model.evaluate(data)
    probabilities = in_float64(model.predict_proba(inputs))
    loss = sklearn_metrics.log_loss(
        targets.numpy(), probabilities, labels=[0, 1, 2], sample_weight=weights.double().numpy()
    )
    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert model.evaluate(Batches(data, 7)).loss == pytest.approx(loss, rel=1e-6)
    loader = DataLoader(TensorDataset(inputs, targets, weights), 9)
    assert model.evaluate(loader).loss == pytest.approx(loss, rel=1e-6)
    low = model.evaluate(data, precision="bf16")
    assert low.loss == pytest.approx(loss, rel=0.02)
    assert low.loss != found.loss
    assert next(model.parameters()).dtype == torch.float32


def test_a_part_in_training_mode_is_evaluated_too() -> None:
    """Only the dropout of a model in evaluation mode is in training mode, as for Monte Carlo."""
    network = MLP(12, (64,), 3, dropout=0.5, input_dropout=0.2)
    model = SoftmaxClassifier(network, classes=("a", "b", "c"), std=255.0).eval()
    inputs = images(9).flatten(1)
    expected = model.predict_proba(inputs)
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for dropout in dropouts:
        dropout.train()
    assert torch.equal(model.predict_proba(inputs), expected)
    assert torch.equal(model.predict(inputs), expected.argmax(1))
    data = LabeledTensors(inputs, torch.arange(9) % 3, ("a", "b", "c"))
    assert model.evaluate(data) == model.evaluate(data)
    assert all(dropout.training for dropout in dropouts)
    assert not model.training


def test_a_classifier_can_be_built_on_the_meta_device() -> None:
    """Directly and for data; with memory and the state of another, it equals that one."""
    data = LabeledTensors(images(20), torch.arange(20) % 3, ("a", "b", "c"))
    original = SoftmaxClassifier.for_data(data, (7,), MLPOptions(norm="batch"))
    with torch.device("meta"):
        empty = [
            SoftmaxClassifier(
                MLP(12, (7,), 3, norm="batch"),
                classes=("a", "b", "c"),
                mean=3.0,
                std=2.0,
                input_shape=(4, 3),
            ),
            SoftmaxClassifier.for_data(data, (7,), MLPOptions(norm="batch")),
        ]
    for model in empty:
        assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
        assert model(torch.zeros(2, 4, 3, device="meta")).shape == (2, 3)
        model.to_empty(device="cpu")
        model.load_state_dict(original.state_dict())
        assert torch.equal(model.predict_proba(data.inputs), original.predict_proba(data.inputs))
    with pytest.raises(ValueError, match=r"^std must be positive, got -1\.0"):
        SoftmaxClassifier(MLP(2, (), 2, device="meta"), classes=("a", "b"), std=-1.0)


def test_values_that_float32_cannot_represent_are_kept_apart() -> None:
    """Numbers around 1.7e9, such as seconds since 1970, differ by one; float32 has steps of 128."""
    values = torch.arange(201)[:, None] + 1_700_000_000
    oracle = values.numpy().astype(np.float64)
    for inputs in (values, values.double(), values.int()):
        data = LabeledTensors(inputs, torch.arange(201) % 2, ("a", "b"))
        model = SoftmaxClassifier.for_data(data, (4,)).eval()
        assert float(model.std) == pytest.approx(float(np.std(oracle)), rel=1e-6)
        expected = (oracle - np.mean(oracle)) / np.std(oracle)
        found = model.standardize(inputs)
        assert found.dtype is torch.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
        assert len(torch.unique(found)) == 201
        probabilities = model.network(found).detach().softmax(1)
        torch.testing.assert_close(model.predict_proba(inputs), probabilities)


def test_pixels_between_0_and_1_for_a_model_of_bytes_are_warned_of_once(x: Tensor) -> None:
    """By each method that predicts or evaluates; raw inputs of any dtype give no warning."""
    targets = torch.arange(5) % 3
    scaled = x / 255

    def evaluate(model: SoftmaxClassifier, inputs: Tensor) -> None:
        model.evaluate(LabeledTensors(inputs, targets))

    def evaluate_loader(model: SoftmaxClassifier, inputs: Tensor) -> None:
        model.evaluate(DataLoader(TensorDataset(inputs, targets), 2))

    def calibrate(model: SoftmaxClassifier, inputs: Tensor) -> None:
        model.calibrate(LabeledTensors(inputs, targets))

    calls: list[Callable[[SoftmaxClassifier, Tensor], object]] = [
        SoftmaxClassifier.predict,
        SoftmaxClassifier.predict_proba,
        evaluate,
        evaluate_loader,
        calibrate,
    ]
    message = "x should be in the units of the training inputs .* pass raw inputs, .* x [*] 255"
    for call in calls:
        model = make_model()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for raw in (x, x.float(), x.double(), x.int()):
                call(model, raw)
        model = make_model()
        call(model, x)
        with pytest.warns(UserWarning, match=message):
            call(model, scaled)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(model, scaled)
            call(model, scaled.double())
            call(model, scaled * 255)  # the cure


def test_what_cannot_be_evaluated_is_named() -> None:
    model = make_model()
    with pytest.raises(TypeError, match="data must be LabeledTensors, Batches or a DataLoader"):
        model.evaluate(images(5))  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(ValueError, match=r"targets must be class indices in \[0, 3\)"):
        model.evaluate(LabeledTensors(images(5), torch.arange(5)))


def test_for_data_measures_the_training_inputs() -> None:
    """Mean and std are those of all values, as NumPy computes them in float64."""
    inputs = images(20_000)
    data = LabeledTensors(inputs, torch.arange(20_000) % 3, ("a", "b", "c"))
    model = SoftmaxClassifier.for_data(data, (7,), MLPOptions(activation="tanh"))
    assert float(model.mean) == pytest.approx(inputs.numpy().astype(np.float64).mean(), rel=1e-6)
    assert float(model.std) == pytest.approx(inputs.numpy().astype(np.float64).std(), rel=1e-6)
    config = model.network.config
    assert isinstance(config, MLPConfig)
    assert config.hidden_features == (7,)
    assert config.activation == "tanh"
    assert model.classes == ("a", "b", "c")
    assert model.input_shape == (4, 3)


def test_for_data_takes_data_without_class_names() -> None:
    """The classes are numbers, of class indices or of distributions."""
    inputs, indices = torch.rand(6, 2), torch.tensor([0, 2, 1, 0, 1, 2])
    one_hot = torch.eye(3)[indices]
    for targets in (indices, one_hot):
        data = LabeledTensors(inputs, targets)
        for model in (
            SoftmaxClassifier.for_data(data, ()),
            SoftmaxClassifier.with_network(MLP(2, (), 3), data),
        ):
            assert model.classes == ("0", "1", "2")
            assert model.evaluate(data).num_examples == 6
    assert SoftmaxClassifier.for_data(LabeledTensors(inputs, indices)).network.config == (
        MLP(2, (512, 256), 3, dropout=0.1).config
    )


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.rand(4), r"train\.targets must be class indices, or .*use Regressor\.for_data"),
        (torch.rand(4, 1), r"over at least two classes, .*train a mlpkit\.Regressor"),
        (torch.rand(4, 3), r"distributions over the classes: .*train a mlpkit\.Regressor"),
        (torch.zeros(4, dtype=torch.int64), r"train\.targets must be of two or more classes, got"),
        (torch.arange(4) * 10**8, r"train\.targets must be class indices below 65536 .*got 3000"),
    ],
)
def test_targets_that_are_no_classes_are_refused(targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxClassifier.for_data(LabeledTensors(torch.rand(4, 2), targets))


def test_for_data_takes_labeled_tensors() -> None:
    splits: object = (torch.rand(4, 2), torch.arange(4))
    with pytest.raises(TypeError, match=r"train must be LabeledTensors, got tuple; .*makes"):
        SoftmaxClassifier.for_data(splits)  # type: ignore[arg-type]  # bad on purpose


def test_each_feature_of_a_table_is_standardized() -> None:
    """Oracle: StandardScaler; one number for all would leave the small features unused."""
    preprocessing = importlib.import_module("sklearn.preprocessing")
    inputs = torch.randn(200, 3) * torch.tensor([1e-3, 1.0, 1e4]) + torch.tensor([5.0, 0, 1e5])
    data = LabeledTensors(inputs, torch.arange(200) % 2, ("a", "b"))
    expected = preprocessing.StandardScaler().fit_transform(inputs.double().numpy())
    model = SoftmaxClassifier.for_data(data)
    np.testing.assert_allclose(model.standardize(inputs).numpy(), expected, atol=2e-3)
    together = SoftmaxClassifier.for_data(data, standardize="global")
    assert (together.mean.shape, together.std.shape) == ((), ())
    untouched = SoftmaxClassifier.for_data(data, standardize=None)
    assert torch.equal(untouched.standardize(inputs), inputs)


def test_for_data_survives_constant_inputs() -> None:
    """A constant data set has std 0, which must not divide anything."""
    data = LabeledTensors(
        torch.full((4, 2), 7, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b")
    )
    assert bool(SoftmaxClassifier.for_data(data, ())(data.inputs).isfinite().all())


def test_calibration_finds_the_temperature_that_made_the_labels() -> None:
    """Labels drawn from softmax(logits / 2.5) give back 2.5, and a slow search agrees."""
    model = make_model()
    inputs = images(20_000)
    logits = model(inputs).detach().double() * 8
    head = model.network.head
    assert head is not None
    head.weight.data.mul_(8)
    head.bias.data.mul_(8)
    targets = torch.multinomial(torch.softmax(logits / 2.5, 1), 1).squeeze(1)
    before = model.predict(inputs)
    found = model.calibrate(LabeledTensors(inputs, targets, ("a", "b", "c")))
    grid = torch.linspace(1.0, 5.0, 4001, dtype=torch.float64)
    losses = [torch.nn.functional.cross_entropy(logits / t, targets) for t in grid[::20]]
    best = float(grid[::20][int(torch.stack(losses).argmin())])
    assert found == pytest.approx(2.5, abs=0.15)
    assert found == pytest.approx(best, abs=0.03)
    assert torch.equal(model.predict(inputs), before)
    expected = torch.softmax(model(inputs) / found, 1)
    torch.testing.assert_close(model.predict_proba(inputs), expected)


def test_calibration_stays_sober_where_every_prediction_is_right() -> None:
    """Oracle: the cross-entropy with 1/(n+1) spread over the classes, searched on a grid."""
    model = make_model()
    inputs = images(150)
    targets = model.predict(inputs)
    found = model.calibrate(LabeledTensors(inputs, targets, ("a", "b", "c")))
    logits = model(inputs).detach().double()
    grid = torch.logspace(-3, 1, 1601, dtype=torch.float64)
    losses = [
        torch.nn.functional.cross_entropy(logits / t, targets, label_smoothing=1 / 151)
        for t in grid
    ]
    assert found == pytest.approx(float(grid[int(torch.stack(losses).argmin())]), rel=0.006)
    assert found > 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b")}, r"^classes must be as many names as the network has outputs"),
        ({"classes": "abc"}, r"^classes must be a sequence of names, got 'abc'"),
        ({"input_shape": (5, 3)}, r"^input_shape must be a shape of 12 features, got \(5, 3\)"),
        ({"mean": torch.zeros(5)}, r"^mean must be one number or one for each of 12 features"),
        ({"std": 0.0}, r"^std must be positive, got 0.0"),
        ({"mean": float("nan")}, r"^mean must be finite, got nan"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    """Each argument that does not fit the network is named with its value."""
    arguments = {"classes": ("a", "b", "c"), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        SoftmaxClassifier(MLP(12, (), 3), **arguments)  # type: ignore[arg-type]  # bad on purpose


def test_predicting_judges_its_arguments(x: Tensor) -> None:
    """Also where one batch would do, and before anything runs."""
    model = make_model()
    for batch_size in (0, 7.5, True, "64"):
        with pytest.raises((TypeError, ValueError), match="batch_size must be a positive integer"):
            model.predict(x, batch_size=batch_size)  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(TypeError, match=r"x must be a tensor of raw inputs, got array.*as_tensor"):
        model.predict_proba(x.numpy())  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(ValueError, match=r"x must be of shape \(N, 4, 3\) .*, got \(\)$"):
        model.predict(torch.tensor(1.0))


class TestDataThatDoNotFit:
    def data(self, *classes: str) -> LabeledTensors:
        return LabeledTensors(images(6), torch.tensor([0, 1, 2, 0, 1, 2]), classes or None)

    def test_other_class_names_are_refused_and_can_be_reordered(self) -> None:
        """``calibrate`` on swapped names would give a huge temperature."""
        model = make_model()
        swapped = self.data("b", "a", "c")
        loader = DataLoader(TensorDataset(swapped.inputs, swapped.targets))
        loader.dataset.classes = ["b", "a", "c"]  # type: ignore[attr-defined]  # as in torchvision
        for use in (model.calibrate, model.evaluate):
            with pytest.raises(ValueError, match=r"those of model .*\['a', 'b', 'c'\].*\['b', 'a'"):
                use(swapped)
        for source in (loader, Batches(swapped, batch_size=2)):
            with pytest.raises(ValueError, match="those of model in the same order"):
                model.evaluate(source)
        assert float(model.temperature) == 1.0
        reordered = swapped.with_classes(model.classes)
        accuracy = (model.predict(swapped.inputs) == reordered.targets).double().mean()
        assert model.evaluate(reordered).accuracy == pytest.approx(float(accuracy))
        model.calibrate(reordered)

    def test_a_target_of_another_class_is_refused(self) -> None:
        model = make_model()
        data = LabeledTensors(images(2), torch.tensor([0, 3]))
        with pytest.raises(ValueError, match=r"val\.targets must be below .* \(3\), got 3"):
            model.calibrate(data)

    def test_calibration_takes_labeled_tensors(self) -> None:
        loader = DataLoader(TensorDataset(images(4), torch.zeros(4, dtype=torch.int64)))
        with pytest.raises(TypeError, match=r"val must be LabeledTensors, got DataLoader"):
            make_model().calibrate(loader)  # type: ignore[arg-type]  # deliberately wrong

    def test_a_weight_counts_as_so_many_examples(self) -> None:
        """Up to the smoothing, which depends on the number of examples."""
        model = make_model()
        inputs, targets = images(300), torch.randint(0, 3, (300,))
        weights = torch.randint(0, 4, (300,))
        repeated = torch.arange(300).repeat_interleave(weights)
        weighted = model.calibrate(LabeledTensors(inputs, targets, weights=weights.float()))
        expected = model.calibrate(LabeledTensors(inputs[repeated], targets[repeated]))
        assert weighted == pytest.approx(expected, rel=0.05)
        unweighted = model.calibrate(LabeledTensors(inputs, targets))
        ones = model.calibrate(LabeledTensors(inputs, targets, weights=torch.ones(300)))
        assert ones == pytest.approx(unweighted, rel=1e-6)
        with pytest.raises(ValueError, match=r"val\.weights must be above 0 for at least one"):
            model.calibrate(LabeledTensors(inputs, targets, weights=torch.zeros(300)))

    def test_an_unknown_precision_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"precision must be one of .*bf16.* got 'bf8'"):
            make_model().evaluate(self.data(), precision="bf8")  # type: ignore[arg-type]  # wrong

    def test_class_names_are_distinct_and_sizes_positive(self) -> None:
        with pytest.raises(ValueError, match="classes must be distinct names"):
            SoftmaxClassifier(MLP(2, (), 2), classes=("a", "a"))
        with pytest.raises(ValueError, match=r"input_shape\[0\] must be a positive integer"):
            SoftmaxClassifier(MLP(4, (), 2), classes=("a", "b"), input_shape=(-2, -2))


# --- what mutants of the source have shown to be untested


def plain_model() -> SoftmaxClassifier:
    """Return a linear classifier of two features whose logits are its inputs."""
    model = SoftmaxClassifier(MLP(2, (), 2), classes=("a", "b"))
    head = model.network.head
    assert head is not None
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()
    return model.eval()


def optimal_temperature(logits: Tensor, targets: Tensor, weights: Tensor) -> float:
    """Return the minimum of the smoothed cross-entropy over T, found by scipy in float64."""
    scores, shares = logits.double().numpy(), (weights.double() / weights.double().sum()).numpy()
    effective = float(weights.double().sum() ** 2 / weights.double().square().sum())
    epsilon = 1 / (effective + 1)
    smoothed = np.full(scores.shape, epsilon / scores.shape[1])
    smoothed[np.arange(len(targets)), targets.numpy()] += 1 - epsilon

    def loss(log_temperature: float) -> float:
        scaled = scores * np.exp(-log_temperature)
        log_probabilities = scaled - special.logsumexp(scaled, axis=1, keepdims=True)
        return float(-(shares[:, None] * smoothed * log_probabilities).sum())

    found = optimize.minimize_scalar(
        loss, bounds=(-6.9, 6.9), method="bounded", options={"xatol": 1e-9}
    )
    return float(np.exp(found.x))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_the_temperature_is_the_optimum_of_the_smoothed_cross_entropy(
    count: int, scale: float, weighted: bool
) -> None:
    """Oracle: scipy's bounded search, for confident and for timid logits and few examples."""
    model = plain_model()
    logits = torch.randn(count, 2) * scale
    targets = torch.where(torch.arange(count) % 5 == 4, logits.argmin(1), logits.argmax(1))
    weights = torch.rand(count) + 0.1 if weighted else torch.ones(count)
    data = LabeledTensors(logits, targets, ("a", "b"), weights=weights if weighted else None)
    found = model.calibrate(data)
    assert found == float(model.temperature)
    expected = optimal_temperature(logits, targets, weights)
    assert 0.002 < expected < 500
    assert found == pytest.approx(expected, rel=2e-5)
    if weighted:
        small = LabeledTensors(logits, targets, weights=weights * 1e-3)
        assert model.calibrate(small) == pytest.approx(found, rel=1e-5)


def test_the_temperature_is_between_a_thousandth_and_a_thousand() -> None:
    """Where every prediction is wrong the optimum is infinite, with tiny logits it is near 0."""
    model = plain_model()
    logits = torch.eye(2).repeat(500, 1)
    wrong = LabeledTensors(logits, logits.argmin(1), ("a", "b"))
    assert model.calibrate(wrong) == pytest.approx(1000.0, rel=1e-6)
    timid = LabeledTensors(logits * 1e-5, logits.argmax(1), ("a", "b"))
    assert model.calibrate(timid) == pytest.approx(0.001, rel=1e-6)
    equal = LabeledTensors(torch.zeros(6, 2), torch.arange(6) % 2, ("a", "b"))
    assert model.calibrate(equal) == 1.0  # every temperature gives the same probabilities


def test_calibration_can_be_reset() -> None:
    model = make_model()
    inputs = images(30)
    before = model.predict_proba(inputs)
    model.calibrate(LabeledTensors(inputs, torch.arange(30) % 3))
    assert float(model.temperature) != 1.0
    assert not torch.equal(model.predict_proba(inputs), before)
    model.reset_calibration()
    assert float(model.temperature) == 1.0
    assert torch.equal(model.predict_proba(inputs), before)


def test_calibration_does_not_depend_on_the_default_device() -> None:
    model = make_model()
    data = LabeledTensors(images(30), torch.arange(30) % 3)
    expected = model.calibrate(data)
    with torch.device("meta"):
        assert model.calibrate(data) == expected


def test_calibration_needs_examples_with_class_indices() -> None:
    model = make_model()
    nothing = LabeledTensors(images(0), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^val must be at least one example, got 0"):
        model.calibrate(nothing)
    numbers = LabeledTensors(images(2), torch.zeros(2, 1))
    with pytest.raises(TypeError, match=r"^val\.targets must be class indices, got torch\.float32"):
        model.calibrate(numbers)
    model.calibrate(LabeledTensors(images(3), torch.arange(3)))


def test_the_argument_with_other_class_names_is_named() -> None:
    """Each method names its own argument."""
    model = make_model()
    other = LabeledTensors(images(3), torch.arange(3), ("c", "b", "a"))
    with pytest.raises(ValueError, match=r"^data\.classes must be those of model"):
        model.evaluate(other)
    with pytest.raises(ValueError, match=r"^val\.classes must be those of model"):
        model.calibrate(other)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "evaluate", "calibrate"])
def test_at_most_4096_examples_are_in_one_forward_pass(method: str) -> None:
    model = make_model()
    sizes: list[int] = []
    model.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    inputs = images(4097)
    takes_targets = method in ("evaluate", "calibrate")
    getattr(model, method)(
        LabeledTensors(inputs, torch.arange(4097) % 3) if takes_targets else inputs
    )
    assert sorted(sizes) == [1, 4096]


def test_the_defaults_do_not_change_the_inputs() -> None:
    """Without mean, std and calibration the logits are those of the bare network."""
    network = MLP(12, (8,), 3)
    model = SoftmaxClassifier(network, classes=("a", "b", "c"))
    inputs = torch.randn(4, 12)
    assert torch.equal(model(inputs), network(inputs))
    assert (float(model.mean), float(model.std), float(model.temperature)) == (0.0, 1.0, 1.0)
    assert model.input_shape == (12,)


def test_the_temperature_has_the_dtype_of_the_network() -> None:
    model = SoftmaxClassifier(MLP(12, (), 3).double(), classes=("a", "b", "c"))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}
    assert model.temperature.shape == ()


def test_the_generator_draws_the_weights_of_for_data() -> None:
    data = LabeledTensors(images(6), torch.arange(6) % 3, ("a", "b", "c"))
    state = torch.get_rng_state()
    first, second, other = (
        SoftmaxClassifier.for_data(data, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    expected = first.predict_proba(data.inputs)
    assert torch.equal(second.predict_proba(data.inputs), expected)
    assert not torch.equal(other.predict_proba(data.inputs), expected)
    assert first.network.hidden_features == (512, 256)


def test_a_network_is_wrapped_with_the_statistics_of_the_data() -> None:
    data = LabeledTensors(images(50), torch.arange(50) % 3, ("a", "b", "c"))
    network = MLP(12, (5,), 3)
    model = SoftmaxClassifier.with_network(network, data)
    values = data.inputs.numpy().astype(np.float64)
    assert model.network is network
    assert (model.classes, model.input_shape) == (("a", "b", "c"), (4, 3))
    assert float(model.mean) == pytest.approx(values.mean(), rel=1e-6)
    assert float(model.std) == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("classes", ["abc", {"a", "b", "c"}, 3, ("a", "b", 3), (0, 1, 2)])
def test_classes_that_are_no_sequence_of_names_are_refused(classes: object) -> None:
    with pytest.raises(TypeError, match=r"^classes must be a sequence of names, got"):
        SoftmaxClassifier(MLP(12, (), 3), classes=classes)  # type: ignore[arg-type]  # deliberate


def test_numpy_names_become_names_of_python() -> None:
    names = [np.str_("a"), np.str_("b"), np.str_("c")]
    model = SoftmaxClassifier(MLP(12, (), 3), classes=names)
    assert model.classes == ("a", "b", "c")
    assert {type(name) for name in model.classes} == {str}


def test_the_class_names_and_the_shape_are_shown() -> None:
    assert make_model().extra_repr() == "classes=('a', 'b', 'c'), input_shape=(4, 3)"


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """With one mean and std for each feature, from the folder or its file, as path or string."""
    model = make_model(mean=torch.rand(12) * 100, std=torch.rand(12) + 50)
    model.temperature.fill_(1.75)
    inputs = images(9)
    folder = tmp_path / "model"
    assert model.save(str(folder)) == folder
    for source in (folder, str(folder), folder / "model.safetensors"):
        loaded = SoftmaxClassifier.load(source, device="cpu")
        assert torch.equal(loaded.predict_proba(inputs), model.predict_proba(inputs))
        assert (loaded.classes, loaded.input_shape) == (model.classes, model.input_shape)
        assert loaded.network.config == model.network.config
        assert not any(module.training for module in loaded.modules())
        assert loaded.state_dict().keys() == model.state_dict().keys()
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), name
            assert value.device.type == "cpu"
    assert SoftmaxClassifier.load(folder, device="meta").mean.is_meta


def test_a_saved_model_that_cannot_be_built_names_the_folder(tmp_path: Path) -> None:
    """The names were changed to invalid ones after the model had been built."""
    model = make_model()
    model.classes = ("a", "b", "b")
    model.save(tmp_path)
    rule = "describes a model that cannot be built: classes must be distinct names"
    with pytest.raises(ArtifactError, match=f"^{re.escape(str(tmp_path))} {rule}") as caught:
        SoftmaxClassifier.load(tmp_path)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_device_that_this_machine_does_not_have_is_refused(tmp_path: Path) -> None:
    """Before the model moves, and before the file is built."""
    model = make_model()
    model.save(tmp_path)
    data = LabeledTensors(images(3), torch.arange(3))
    with pytest.raises(ValueError, match=r"^device must be the name of a torch device.* 'gpu'"):
        model.evaluate(data, device="gpu")
    with pytest.raises(ValueError, match=r"^device must be the name of a torch device.* 'gpu'"):
        SoftmaxClassifier.load(tmp_path, device="gpu")
    assert model.evaluate(data, device="cpu") == model.evaluate(data)


def test_the_model_moves_to_the_device_of_the_evaluation() -> None:
    """On the meta device there is nothing to evaluate, but the model has been moved."""
    model = make_model()
    with pytest.raises((RuntimeError, NotImplementedError)):
        model.evaluate(LabeledTensors(images(3), torch.arange(3)), device="meta")
    assert {value.device.type for value in model.state_dict().values()} == {"meta"}


def test_rows_that_are_no_distributions_are_refused_with_names_too() -> None:
    for names in (("a", "b"), ("a", "b", "c")):
        data = LabeledTensors(torch.rand(4, 2), torch.rand(4, len(names)), names)
        with pytest.raises(ValueError, match="rows of at least 0 that sum to 1"):
            SoftmaxClassifier.for_data(data)


def test_two_classes_and_very_many_need_no_names() -> None:
    two = LabeledTensors(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    assert SoftmaxClassifier.for_data(two, ()).classes == ("0", "1")
    many = LabeledTensors(torch.rand(2, 1), torch.tensor([0, 65535]))
    assert len(SoftmaxClassifier.for_data(many, ()).classes) == 65536
    assert SoftmaxClassifier.task == "classification"
