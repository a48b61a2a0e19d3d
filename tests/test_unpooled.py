"""SoftmaxClassifier.unpooled: the same classifier, of whole pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlpkit import SoftmaxClassifier
from mlpkit.nn import MLP, ActivationName, NormName


def classifier(
    hidden: tuple[int, ...] = (8, 6),
    *,
    shape: tuple[int, ...] = (2, 3),
    activation: ActivationName = "relu",
    norm: NormName | None = None,
    statistics: tuple[float | Tensor, float | Tensor] = (0.4, 0.3),
    residual: bool = False,
) -> SoftmaxClassifier:
    """Return a classifier of averaged pictures in float64, with random weights."""
    network = MLP(
        int(torch.tensor(shape).prod()),
        hidden,
        3,
        activation=activation,
        norm=norm,
        residual=residual,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1),
    )
    mean, std = statistics
    return SoftmaxClassifier(
        network, classes=("a", "b", "c"), mean=mean, std=std, input_shape=shape
    ).eval()


EACH_PIXEL = (torch.linspace(0, 1, 6), torch.linspace(0.2, 1, 6))


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize(
    "model",
    [
        classifier(),
        classifier(()),
        classifier(activation="maxout", norm="batch"),
        classifier((6, 6), activation="prelu", norm="layer", residual=True),
        classifier(statistics=EACH_PIXEL),
        classifier(shape=(3, 2, 3)),
    ],
    ids=["relu", "linear", "maxout", "prelu", "each pixel", "channels"],
)
def test_it_is_the_classifier_of_the_averages(model: SoftmaxClassifier, kernel_size: int) -> None:
    """Oracle: torch's avg_pool2d before the classifier of averaged pictures."""
    model.temperature.fill_(1.7)
    whole = model.unpooled(kernel_size)
    *channels, height, width = model.input_shape
    assert whole.input_shape == (*channels, height * kernel_size, width * kernel_size)
    x = torch.rand(5, *whole.input_shape, dtype=torch.float64)
    averaged = F.avg_pool2d(x if channels else x.unsqueeze(1), kernel_size)
    expected = model(averaged.view(5, *model.input_shape))
    torch.testing.assert_close(whole(x), expected, rtol=1e-12, atol=1e-12)
    assert float(whole.temperature) == float(model.temperature)
    assert whole.classes == model.classes
    assert not whole.training


def test_it_shares_nothing_and_can_be_saved(tmp_path: Path) -> None:
    """Changing the one leaves the other, and the artefact is that of any classifier."""
    model = classifier()
    whole = model.unpooled(2)
    kept = {name: value.clone() for name, value in whole.state_dict().items()}
    for value in model.state_dict().values():
        value.zero_()
    assert all(torch.equal(value, kept[name]) for name, value in whole.state_dict().items())
    loaded = SoftmaxClassifier.load(whole.save(tmp_path))
    assert loaded.network.in_features == 24
    x = torch.rand(2, 4, 6, dtype=torch.float64)
    assert torch.equal(loaded(x), whole(x))


def test_what_cannot_be_unpooled_is_named() -> None:
    """A vector has no blocks, and parametrised weights are computed from others."""
    with pytest.raises(ValueError, match=r"input_shape must be \(H, W\) or \(channels, H, W\)"):
        classifier(shape=(6,)).unpooled(2)
    with pytest.raises(ValueError, match="kernel_size must be a positive integer, got 0"):
        classifier().unpooled(0)
    model = classifier()
    nn.utils.parametrizations.weight_norm(model.network.layers[0].linear)
    with pytest.raises(ValueError, match=r"the first layer must be a plain torch\.nn\.Linear"):
        model.unpooled(2)
