"""The misclassified examples with the largest cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors, digits
from mlpkit.plots import find_mistakes, worst_mistakes


@pytest.fixture(scope="module")
def data() -> LabeledTensors:
    """The test set of the digits."""
    return digits().test


@pytest.fixture(scope="module")
def model(data: LabeledTensors) -> SoftmaxClassifier:
    """An untrained classifier, which misclassifies most examples."""
    return SoftmaxClassifier.for_data(data, (8,), generator=torch.Generator().manual_seed(0))


def test_mistakes_against_the_loss(model: SoftmaxClassifier, data: LabeledTensors) -> None:
    """Oracle: the cross-entropy of torch. Exactly the mistakes are returned, in its order."""
    found = find_mistakes(model, data)
    logits = model.eval()(data.inputs).detach()
    wrong = torch.nonzero(logits.argmax(-1) != data.targets).flatten().tolist()
    losses = F.cross_entropy(logits, data.targets, reduction="none")
    assert [mistake.index for mistake in found] == sorted(
        wrong, key=lambda index: -float(losses[index])
    )
    for mistake in found[:20]:
        probabilities = logits[mistake.index].softmax(-1)
        assert mistake.true == data.targets[mistake.index]
        assert mistake.predicted == probabilities.argmax()
        assert mistake.probability == pytest.approx(float(probabilities.max()), rel=1e-5)
        assert mistake.true_probability == pytest.approx(
            float(probabilities[mistake.true]), rel=1e-5
        )
    assert find_mistakes(model, data, count=3) == found[:3]


def test_the_plot_has_images_and_captions(model: SoftmaxClassifier, data: LabeledTensors) -> None:
    """Each mistake has its image, its classes and its probability."""
    mistakes = find_mistakes(model, data, count=7)
    figure = worst_mistakes(model, data, count=7)
    for axes, mistake in zip(figure.axes, mistakes, strict=True):
        (image,) = axes.get_images()
        shown = data.inputs[mistake.index] / data.inputs.max()
        np.testing.assert_array_equal(np.asarray(image.get_array()), shown)
        assert axes.get_xlabel() == (
            f"{mistake.true} \N{RIGHTWARDS ARROW} {mistake.predicted}, "
            f"{100 * mistake.probability:.1f} %"
        )
    figure.draw_without_rendering()


def test_color_images_and_a_perfect_classifier(data: LabeledTensors) -> None:
    """RGB images are plotted in RGB; without mistakes the plot is a sentence."""
    inputs = torch.rand(6, 3, 4, 4)
    color = LabeledTensors(inputs, torch.arange(6) % 2, classes=("cat", "dog"))
    model = SoftmaxClassifier.for_data(color, ())
    predicted = model.predict(inputs)
    wrong = LabeledTensors(inputs, 1 - predicted, classes=("cat", "dog"))
    axes = worst_mistakes(model, wrong, count=1).axes[0]
    (mistake,) = find_mistakes(model, wrong, count=1)
    shown = np.asarray(axes.get_images()[0].get_array())
    scaled = inputs[mistake.index].movedim(0, -1) / inputs.max()
    np.testing.assert_allclose(shown, scaled.numpy(), rtol=1e-6)
    right = LabeledTensors(inputs, predicted, classes=("cat", "dog"))
    figure = worst_mistakes(model, right)
    assert [text.get_text() for text in figure.texts] == ["no mistakes in 6 examples"]


def test_invalid_arguments_raise(model: SoftmaxClassifier, data: LabeledTensors) -> None:
    """Flat inputs, soft targets, other classes and a count of 0 raise."""
    flat = LabeledTensors(data.inputs.flatten(1), data.targets)
    with pytest.raises(ValueError, match=r"inputs of data must be of shape .*got \(360, 64\)"):
        worst_mistakes(model, flat)
    soft = LabeledTensors(data.inputs, F.one_hot(data.targets).float())
    with pytest.raises(TypeError, match=r"targets of data must be class indices, got torch"):
        find_mistakes(model, soft)
    names = tuple(reversed(model.classes))
    other = LabeledTensors(data.inputs, data.targets, classes=names)
    with pytest.raises(ValueError, match=r"data\.classes must be those of model in the same or"):
        find_mistakes(model, other)
    with pytest.raises(ValueError, match="count must be a positive integer, got 0"):
        find_mistakes(model, data, count=0)
