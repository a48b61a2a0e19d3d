"""unpooled: an equivalent classifier of full-resolution images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors, avg_pool
from mlpkit.models import Pooling, find_pooling, unpooled
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
    """Return a classifier of averaged images in float64, with random weights."""
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


@pytest.mark.parametrize("factor", [1, 2, 3])
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
def test_it_is_the_classifier_of_the_averages(model: SoftmaxClassifier, factor: int) -> None:
    """Oracle: torch's avg_pool2d before the classifier of averaged images."""
    model.temperature.fill_(1.7)
    whole = unpooled(model, factor)
    *channels, height, width = model.input_shape
    assert whole.input_shape == (*channels, height * factor, width * factor)
    x = torch.rand(5, *whole.input_shape, dtype=torch.float64)
    averaged = F.avg_pool2d(x if channels else x.unsqueeze(1), factor)
    expected = model(averaged.view(5, *model.input_shape))
    torch.testing.assert_close(whole(x), expected, rtol=1e-12, atol=1e-12)
    assert float(whole.temperature) == float(model.temperature)
    assert whole.classes == model.classes
    assert not whole.training


def test_it_shares_nothing_and_can_be_saved(tmp_path: Path) -> None:
    """Changing the one leaves the other, and the artifact is that of any classifier."""
    model = classifier()
    whole = unpooled(model, 2)
    kept = {name: value.clone() for name, value in whole.state_dict().items()}
    for value in model.state_dict().values():
        value.zero_()
    assert all(torch.equal(value, kept[name]) for name, value in whole.state_dict().items())
    loaded = SoftmaxClassifier.load(whole.save(tmp_path))
    assert loaded.network.in_features == 24
    x = torch.rand(2, 4, 6, dtype=torch.float64)
    assert torch.equal(loaded(x), whole(x))


def test_what_cannot_be_unpooled_is_named() -> None:
    """A vector has no blocks, and parametrized weights are computed from others."""
    with pytest.raises(
        ValueError, match=r"model\.input_shape must be \(H, W\) or \(channels, H, W\)"
    ):
        unpooled(classifier(shape=(6,)), 2)
    with pytest.raises(TypeError, match="model must be a SoftmaxClassifier, got MLP"):
        unpooled(MLP(6, (), 3), 2)  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(ValueError, match="factor must be a positive integer, got 0"):
        unpooled(classifier(), 0)
    model = classifier()
    nn.utils.parametrizations.weight_norm(model.network.layers[0].linear)
    with pytest.raises(ValueError, match="network must be one of plain parameters"):
        unpooled(model, 2)
    pruned = classifier()
    prune.l1_unstructured(pruned.network.layers[1].linear, "weight", amount=0.5)  # type: ignore[no-untyped-call]  # torch types it so
    with pytest.raises(ValueError, match="network must be one of plain parameters"):
        unpooled(pruned, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_bytes_and_options(dtype: torch.dtype, *, bias: bool) -> None:
    """What avg_pool makes of bytes is what the whole network sees in them; options stay."""
    images = torch.randint(0, 256, (50, 6, 8), dtype=torch.uint8)
    data = LabeledTensors(images, torch.arange(50) % 3, ("a", "b", "c"))
    pooled = avg_pool(data, 2)
    network = MLP(
        12, (7,), 3, bias=bias, max_norm=1.0, input_dropout=0.3, dropout=0.2, dtype=dtype,
        generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    model = SoftmaxClassifier.with_network(network, pooled).eval()
    whole = unpooled(model, 2)
    assert whole.max_norm == 1.0
    assert whole.network.config == dataclasses.replace(network.config, in_features=48)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(
        whole.predict_proba(images), model.predict_proba(pooled.inputs), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("hidden", [(8, 6), ()])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pooling_is_found(hidden: tuple[int, ...], factor: int) -> None:
    """The factor is that of `unpooled`, the parameters are those of the averaged network."""
    small = classifier(hidden)
    found = find_pooling(unpooled(small, factor))
    assert found == Pooling(factor=factor, num_parameters=small.network.num_parameters)
    color = classifier(hidden, shape=(3, 2, 4))
    found = find_pooling(unpooled(color, factor))
    assert found == Pooling(factor=factor, num_parameters=color.network.num_parameters)


def test_other_classifiers_have_no_pooling() -> None:
    """No images, different weights, a weight that was trained since, and equal weights: None."""
    assert find_pooling(classifier()) is None
    assert find_pooling(classifier(shape=(6,))) is None
    assert find_pooling(unpooled(classifier(), 1)) is None
    model = unpooled(classifier(), 2)
    with torch.no_grad():
        assert isinstance(model.network, MLP)
        model.network.layers[0].linear.weight[0, 0] += 1e-9
    assert find_pooling(model) is None
    equal = classifier(shape=(4, 4))
    with torch.no_grad():
        assert isinstance(equal.network, MLP)
        equal.network.layers[0].linear.weight.zero_()
    assert find_pooling(equal) is None
