"""MultilabelClassifier: probabilities, thresholds, calibration and the weights of labels."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.models.kinds import images, make_model
from torch import Tensor

from mlpkit import MultilabelClassifier
from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP
from mlpkit.training import BinaryCrossEntropy, Trainer, TrainerConfig

metrics = importlib.import_module("sklearn.metrics")  # it has no type hints


def labels(*, one: bool = False) -> MultilabelClassifier:
    """Return a small classifier of 4 x 3 images with three labels, or with one."""
    model = make_model("one label" if one else "labels")
    assert isinstance(model, MultilabelClassifier)
    return model


def sharpen(model: MultilabelClassifier, factor: float) -> None:
    """Multiply the logits of a model."""
    assert model.network.head is not None
    model.network.head.weight.data.mul_(factor)
    model.network.head.bias.data.mul_(factor)


@pytest.mark.parametrize("one", [False, True])
def test_probabilities_are_the_sigmoid_at_the_temperature(*, one: bool) -> None:
    """Oracle: NumPy in float64; labels above their threshold are predicted."""
    model = labels(one=one)
    count = 1 if one else 3
    model.temperature.copy_(torch.rand(count) + 0.5)
    model.thresholds.copy_(torch.rand(count))
    x = images(50)
    with torch.no_grad():
        logits = model.network(model.standardize(x)).double().numpy()
    expected = 1 / (1 + np.exp(-logits / model.temperature.double().numpy()))
    found = model.predict_proba(x, batch_size=7)
    shape = (50,) if one else (50, 3)
    assert (found.dtype, found.shape) == (torch.float32, shape)
    np.testing.assert_allclose(found.numpy(), expected.reshape(shape), atol=1e-6)
    above = (found.reshape(50, -1) > model.thresholds).reshape(shape)
    assert torch.equal(model.predict(x), above)
    assert model.predict(x).dtype == torch.bool
    assert model.predict(x[0]).shape == shape[1:]
    assert model(x).shape == shape
    torch.testing.assert_close(model.probabilities(model(x)).detach(), found)
    assert model.predict_proba(x[:0]).shape == (0, *shape[1:])


def test_the_evaluation_is_that_of_scikit_learn() -> None:
    """At the fitted temperatures and thresholds, with weights of the examples."""
    model = labels()
    model.temperature.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x, truth, weights = images(60), torch.randint(0, 2, (60, 3)).float(), torch.rand(60)
    found = model.evaluate(LabeledTensors(x, truth, weights=weights), batch_size=17)
    p, predicted, sample_weight = model.predict_proba(x), model.predict(x), weights.double().numpy()
    losses = F.binary_cross_entropy(p.double(), truth.double(), reduction="none").mean(1)
    assert found.loss == pytest.approx(float((losses * weights).sum() / weights.sum()), rel=1e-5)
    assert found.exact_match == pytest.approx(
        metrics.accuracy_score(truth.numpy(), predicted.numpy(), sample_weight=sample_weight)
    )
    assert found.accuracy == pytest.approx(
        1 - metrics.hamming_loss(truth.numpy(), predicted.numpy(), sample_weight=sample_weight)
    )
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth.numpy(), predicted.numpy(), zero_division=0.0
    )  # counts of examples, without their weights
    for index, each in enumerate(found.per_label):
        assert each.name == model.classes[index]
        assert each.precision == pytest.approx(precision[index])
        assert each.recall == pytest.approx(recall[index])
        assert each.f1 == pytest.approx(f1[index])


def test_calibration_finds_the_temperature_of_each_label() -> None:
    """Labels drawn at T = 0.5, 1 and 3; oracle: the loss with smoothed targets on a grid."""
    model, x = labels(), images(20_000)
    sharpen(model, 8.0)
    logits = model(x).detach().double()
    true = torch.tensor([0.5, 1.0, 3.0])
    truth = torch.bernoulli(torch.sigmoid(logits / true)).float()
    before = model.predict_proba(x) > 0.5
    found = model.calibrate(LabeledTensors(x, truth))
    assert found == tuple(model.temperature.tolist())
    smoothed = (1 - 1 / 20_001) * truth.double() + 0.5 / 20_001
    for label, temperature in enumerate(found):
        assert temperature == pytest.approx(float(true[label]), rel=0.15)
        grid = torch.linspace(0.7, 1.4, 701, dtype=torch.float64) * temperature
        losses = [
            float(F.binary_cross_entropy_with_logits(logits[:, label] / t, smoothed[:, label]))
            for t in grid
        ]
        assert temperature == pytest.approx(float(grid[int(np.argmin(losses))]), rel=0.002)
    assert torch.equal(model.predict_proba(x) > 0.5, before)
    model.reset_calibration()
    assert model.temperature.tolist() == [1.0, 1.0, 1.0]


def test_calibration_takes_one_label_weights_and_soft_targets() -> None:
    model = labels(one=True)
    sharpen(model, 5.0)
    x = images(400)
    p = torch.sigmoid(model(x).detach() / 2)
    (soft,) = model.calibrate(LabeledTensors(x, p))
    assert soft == pytest.approx(2.0, rel=0.05)
    truth = torch.bernoulli(p)
    counts = torch.randint(1, 4, (400,))
    (weighted,) = model.calibrate(LabeledTensors(x, truth, weights=counts.float()))
    repeated = torch.arange(400).repeat_interleave(counts)
    (expected,) = model.calibrate(LabeledTensors(x[repeated], truth[repeated]))
    assert weighted == pytest.approx(expected, rel=0.05)
    (ones,) = model.calibrate(LabeledTensors(x, torch.ones(400)))
    assert 0.001 < ones <= 1000


def test_fitted_thresholds_have_the_largest_f1() -> None:
    """Oracle: scikit-learn's F1 at every probability; a label that never occurs keeps its own."""
    model, x = labels(), images(80)
    p = model.predict_proba(x)
    truth = torch.bernoulli(p)
    truth[:, 2] = 0.0
    found = model.fit_thresholds(LabeledTensors(x, truth))
    assert found == tuple(model.thresholds.tolist())
    assert found[2] == pytest.approx(0.4)
    predicted = model.predict(x)
    for label in range(2):
        score = metrics.f1_score(truth[:, label].numpy(), predicted[:, label].numpy())
        candidates = (p[:, label] >= t for t in p[:, label])
        best = max(metrics.f1_score(truth[:, label].numpy(), one.numpy()) for one in candidates)
        assert score == pytest.approx(best)
    evaluated = model.evaluate(LabeledTensors(x, truth)).per_label[0].f1
    assert evaluated == pytest.approx(
        metrics.f1_score(truth[:, 0].numpy(), predicted[:, 0].numpy())
    )


@pytest.mark.parametrize("shape", [(50, 3), (50, 1), (50,)])
def test_for_data_takes_one_label_or_several(shape: tuple[int, ...]) -> None:
    """Predictions have the shape of the targets."""
    data = LabeledTensors(images(50), torch.randint(0, 2, shape).float())
    model = MultilabelClassifier.for_data(data, (8,))
    count = 1 if len(shape) == 1 else shape[1]
    assert model.classes == tuple(map(str, range(count)))
    assert model.thresholds.tolist() == [0.5] * count
    Trainer(model, TrainerConfig(epochs=1, progress=False)).fit(data, data)
    assert model.predict(data.inputs).shape == shape
    assert model.predict_proba(data.inputs).shape == shape
    assert model.evaluate(data).num_examples == 50
    model.calibrate(data)
    model.fit_thresholds(data)
    named = LabeledTensors(images(4), torch.ones(4, 2), ("x", "y"))
    assert MultilabelClassifier.for_data(named).classes == ("x", "y")


def test_balanced_weights_are_absent_by_present() -> None:
    """And 1 for a label that is always absent or always present."""
    columns = [[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0.5, 0, 0, 0.5]]
    truth = torch.tensor(columns).T.float()
    data = LabeledTensors(torch.rand(4, 2), truth)
    model = MultilabelClassifier.for_data(data, pos_weight="balanced")
    assert model.pos_weight == pytest.approx((3.0, 1 / 3, 1.0, 1.0, 3.0))
    assert model.choose_objective() == BinaryCrossEntropy(pos_weight=model.pos_weight)
    given = BinaryCrossEntropy()
    assert model.choose_objective(given) is given
    one = LabeledTensors(torch.rand(4, 2), truth[:, 0])
    assert MultilabelClassifier.for_data(one, pos_weight="balanced").pos_weight == (3.0,)
    assert MultilabelClassifier.for_data(one, pos_weight=2).pos_weight == 2.0
    network = MLP(2, (), 5)
    assert MultilabelClassifier.with_network(network, data, pos_weight=[1] * 5).pos_weight == (
        (1.0,) * 5
    )


@pytest.mark.parametrize(
    ("truth", "error", "message"),
    [
        (torch.arange(4) % 2, TypeError, r"got class indices; convert them with targets\.float"),
        (torch.arange(4), TypeError, r"got class indices; use SoftmaxClassifier"),
        (torch.rand(4, 3, 2), ValueError, r"of shape \(N, L\).*got \(4, 3, 2\); reshape"),
        (torch.rand(4, 3) * 2 + 1, ValueError, r"in \[0, 1\].*; use Regressor for a regression"),
        (torch.rand(4) - 1, ValueError, r"in \[0, 1\].*; use Regressor for a regression"),
    ],
)
def test_other_targets_are_refused(truth: Tensor, error: type[Exception], message: str) -> None:
    """When the model is built, and when it is calibrated."""
    data = LabeledTensors(images(4), truth)
    with pytest.raises(error, match=rf"^train\.targets must be floating-point .*{message}"):
        MultilabelClassifier.for_data(data)
    for use in (labels().calibrate, labels().fit_thresholds):
        with pytest.raises(error, match=rf"^val\.targets must be floating-point .*{message}"):
            use(data)


def test_held_out_examples_must_fit_the_labels() -> None:
    model, x = labels(), images(4)
    swapped = LabeledTensors(x, torch.ones(4, 3), ("b", "a", "c"))
    other = LabeledTensors(x, torch.ones(4))
    for use in (model.calibrate, model.fit_thresholds):
        with pytest.raises(ValueError, match=r"val\.classes must be those of model in the same"):
            use(swapped)
        with pytest.raises(ValueError, match=r"val\.targets must be of shape \(N, 3\).*got \(4,\)"):
            use(other)
        with pytest.raises(TypeError, match="val must be LabeledTensors, got Tensor"):
            use(x)  # type: ignore[arg-type]  # bad on purpose
        with pytest.raises(ValueError, match="val must be at least one example, got 0"):
            use(other[:0])
    assert model.temperature.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a",)}, r"classes must be as many names as the network has outputs \(3\)"),
        ({"classes": "abc"}, r"classes must be a sequence of names, got 'abc'"),
        ({"classes": ("a", "a", "b")}, r"classes must be distinct names"),
        ({"thresholds": 1.5}, r"thresholds must be probabilities in \[0, 1\], got 1\.5"),
        ({"thresholds": (0.5, -0.1, 0.5)}, r"thresholds must be probabilities in \[0, 1\]"),
        ({"thresholds": float("nan")}, r"thresholds must be probabilities in \[0, 1\], got nan"),
        ({"thresholds": (0.5, 0.5)}, r"thresholds must be one number, or one for each of the 3"),
        ({"thresholds": "half"}, r"thresholds must be a number in \[0, 1\], or one for each label"),
        ({"pos_weight": 0.0}, r"pos_weight must be a finite number greater than 0, got 0\.0"),
        ({"pos_weight": (1.0,)}, r"pos_weight must be one number, or one for each of the 3 labels"),
        ({"target_shape": ()}, r"target_shape must be a shape for which the network has its 3"),
        ({"target_shape": (1, 3)}, r"target_shape must be \(L,\), or \(\) for one label"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    arguments = {"classes": ("a", "b", "c"), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        MultilabelClassifier(MLP(12, (), 3), **arguments)  # type: ignore[arg-type]  # on purpose


def test_no_example_is_refused() -> None:
    data = LabeledTensors(torch.rand(4, 2), torch.ones(4, 2))[:0]
    with pytest.raises(ValueError, match="train must be one example or more"):
        MultilabelClassifier.for_data(data, pos_weight="balanced")


def test_a_wrong_word_for_the_weights_is_refused() -> None:
    data = LabeledTensors(torch.rand(4, 2), torch.ones(4, 2))
    with pytest.raises(ValueError, match="pos_weight must be one of 'balanced', got 'balan"):
        MultilabelClassifier.for_data(data, pos_weight="balancd")  # type: ignore[arg-type]  # wrong
