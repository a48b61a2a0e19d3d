"""What saturated values and dead units mean for an activation, against measurements."""

from __future__ import annotations

import pytest
import torch

from mlpkit.nn import MLP, Activation, ActivationStatistics, activation_statistics
from mlpkit.report._activation_notes import activation_notes, saturation_word


def values_and_statistics(activation: Activation) -> tuple[torch.Tensor, ActivationStatistics]:
    """Return the hidden values of 200 examples, of which many are saturated."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(6, (50,), 2, activation=activation, generator=generator)
    x = 6 * torch.randn(200, 6, generator=generator)
    with torch.no_grad():
        return model.layers[0](x), activation_statistics(model, x)


def test_inactive_is_an_output_of_zero() -> None:
    """For ReLU the fraction of zeros is what the statistics call saturated, here near one half."""
    values, statistics = values_and_statistics("relu")
    assert statistics.layers[0].saturated == pytest.approx(float((values == 0).double().mean()))
    assert 0.4 < statistics.layers[0].saturated < 0.6
    assert saturation_word(statistics) == "inactive"
    text = activation_notes(statistics)
    assert "Inactive: values of 0" in text
    assert "That is no fault" in text
    assert "for all 200 examples" in text
    assert "Saturated" not in text


@pytest.mark.parametrize(
    ("activation", "low", "high", "margin"),
    [
        ("sigmoid", 0.0, 1.0, 0.0527864),  # h (1 - h) < 0.05
        ("tanh", -1.0, 1.0, 0.0253206),  # 1 - h**2 < 0.05
        ("hardtanh", -1.0, 1.0, 0.0),
        ("relu6", 0.0, 6.0, 0.0),
    ],
)
def test_both_ends_of_the_range(
    activation: Activation, low: float, high: float, margin: float
) -> None:
    """Oracle: the values at which the derivative, as a function of the value, is below 0.05."""
    values, statistics = values_and_statistics(activation)
    near = (values <= low + margin) | (values >= high - margin)
    assert statistics.layers[0].saturated == pytest.approx(float(near.double().mean()))
    assert statistics.layers[0].saturated > 0.3
    assert "is saturated at both ends of its range" in activation_notes(statistics)


@pytest.mark.parametrize(
    ("activation", "bound"),
    [
        ("elu", -0.95),  # h + 1 < 0.05
        ("celu", -0.95),
        ("selu", 0.05 - 1.7580993),
        ("softplus", 0.0512933),  # 1 - exp(-h) < 0.05
    ],
)
def test_the_negative_end(activation: Activation, bound: float) -> None:
    """Oracle: the values below the bound."""
    values, statistics = values_and_statistics(activation)
    expected = float((values < bound).double().mean())
    assert statistics.layers[0].saturated == pytest.approx(expected)
    assert 0.2 < expected < 0.5
    assert "for strongly negative pre-activations" in activation_notes(statistics)


def test_maxout_is_never_saturated() -> None:
    """The note says so."""
    _, statistics = values_and_statistics("maxout")
    assert (statistics.layers[0].saturated, statistics.layers[0].dead) == (0.0, 0.0)
    assert "no value is saturated, and no unit is dead" in activation_notes(statistics)


def test_a_small_slope_counts_as_saturated() -> None:
    """Negative values of LeakyReLU and PReLU: slope 0.01 is below the threshold, 0.25 is not."""
    values, statistics = values_and_statistics("leaky_relu")
    assert statistics.layers[0].saturated == pytest.approx(float((values < 0).double().mean()))
    assert "saturated if it is below 0.05" in activation_notes(statistics)
    _, statistics = values_and_statistics("prelu")
    assert statistics.layers[0].saturated == 0.0
    assert "where its size is below 0.05" in activation_notes(statistics)


def test_several_activations_have_a_note_each() -> None:
    """A network of ReLU and sigmoid keeps the general word, and each activation has one note."""
    model = MLP(4, (8, 8, 8), 2, activation=["relu", "sigmoid", "relu"])
    statistics = activation_statistics(model, torch.randn(30, 4))
    text = activation_notes(statistics)
    assert saturation_word(statistics) == "saturated"
    assert text.count("For ReLU, a saturated value is an output of 0") == 1
    assert text.count("Sigmoid is saturated at both ends") == 1
    assert "{" not in text


def test_an_activation_without_a_note() -> None:
    """The general definition remains."""
    _, statistics = values_and_statistics("tanhshrink")
    assert activation_notes(statistics).startswith("Saturated: values at which the derivative")
