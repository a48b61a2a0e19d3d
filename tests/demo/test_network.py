"""The forward pass of the page, run in Node, against Python."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.kinds import make_tabular
from torch import nn

from mlpkit.demo import write_demo
from mlpkit.demo._network import Weights, describe_network
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP, Activation, ActivationConfig, ActivationName, NormName

RunNode = Callable[..., object]
TOLERANCE = 1e-5
SIDE = 8
DIGITS = tuple("0123456789")

NAMES: tuple[ActivationName, ...] = typing.get_args(ActivationName)
NORMS: tuple[NormName | None, ...] = (None, *typing.get_args(NormName))
OPTIONS: dict[str, Activation] = {
    "celu alpha": ActivationConfig("celu", alpha=0.3),
    "elu alpha": ActivationConfig("elu", alpha=2.0),
    "gelu tanh": ActivationConfig("gelu", approximate="tanh"),
    "hardshrink lambd": ActivationConfig("hardshrink", lambd=0.1),
    "hardtanh range": ActivationConfig("hardtanh", min_val=-0.2, max_val=3.0),
    "leaky_relu slope": ActivationConfig("leaky_relu", negative_slope=0.3),
    "maxout 5 pieces": ActivationConfig("maxout", num_pieces=5),
    "prelu per unit": ActivationConfig("prelu", per_unit=True),
    "rrelu range": ActivationConfig("rrelu", lower=0.1, upper=0.9),
    "softplus beta": ActivationConfig("softplus", beta=3.0, threshold=1.0),
    "softshrink lambd": ActivationConfig("softshrink", lambd=0.1),
}


def by_name(name: ActivationName) -> Activation:
    """Return a named activation, with the options that have no default."""
    return ActivationConfig(name, threshold=0.1, value=-0.5) if name == "threshold" else name


def scrambled(network: MLP) -> MLP:
    """Randomize all parameters and running statistics, and enlarge the logits."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                tensor.copy_(noise + 0.5)
            elif "linear" not in name and "head" not in name:
                tensor.add_(noise - 0.5)
            elif name.endswith("bias"):
                tensor.copy_(noise - 0.5)
        if network.head is not None:
            network.head.weight.mul_(3.0)
    return network


def classifier(network: MLP, *, side: int = SIDE) -> SoftmaxClassifier:
    """Return a classifier of square images with values of 0 to 16."""
    model = SoftmaxClassifier(
        scrambled(network), classes=DIGITS, mean=4.9, std=6.0, input_shape=(side, side)
    )
    return model.eval()


def small(activation: Activation, norm: NormName | None = None) -> SoftmaxClassifier:
    """Return a classifier with two hidden layers."""
    generator = torch.Generator().manual_seed(0)
    network = MLP(SIDE * SIDE, (14, 12), 10, activation=activation, norm=norm, generator=generator)
    return classifier(network)


def random_images(count: int = 100, features: int = SIDE * SIDE) -> torch.Tensor:
    """Return random flat images with values of 0 to 16."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 17, (count, features), generator=generator, dtype=torch.uint8)


def run_pages(
    models: list[SoftmaxClassifier], x: torch.Tensor, folder: Path, run_node: RunNode, ink: float
) -> list[list[dict[str, list[list[float]]]]]:
    """Write a page for each model, and return its hidden activations and probabilities."""
    inputs = folder / "inputs.json"
    inputs.write_text(json.dumps(x.tolist()), encoding="utf-8")
    pages = [
        write_demo(model, folder / f"demo{index}.html", ink=ink)
        for index, model in enumerate(models)
    ]
    results = run_node("run_network.js", inputs, *pages)
    assert isinstance(results, list)
    assert [len(result) for result in results] == [len(x)] * len(models)
    return results


def largest_difference(
    models: list[SoftmaxClassifier],
    x: torch.Tensor,
    folder: Path,
    run_node: RunNode,
    ink: float = 16,
) -> float:
    """Return the largest difference of the probabilities; assert that hidden units agree."""
    differences = []
    for model, results in zip(models, run_pages(models, x, folder, run_node, ink), strict=True):
        found = np.array([result["probabilities"] for result in results])
        differences.append(float(np.abs(found - model.predict_proba(x).numpy()).max()))
        with torch.no_grad():
            h = model.standardize(x)
            for index, layer in enumerate(model.network.layers):
                h = layer(h)
                units = np.array([result["hidden"][index] for result in results])
                np.testing.assert_allclose(units, h.numpy(), rtol=1e-4, atol=1e-4)
    return max(differences)


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_under_every_norm(
    name: ActivationName, tmp_path: Path, run_node: RunNode
) -> None:
    """The probabilities of the page and of Python agree on 100 images, for each name and norm."""
    models = [small(by_name(name), norm) for norm in NORMS]
    assert largest_difference(models, random_images(), tmp_path, run_node) < TOLERANCE


def test_every_option_of_an_activation(tmp_path: Path, run_node: RunNode) -> None:
    """Options with values other than the default have an effect on the page."""
    models = [small(activation) for activation in OPTIONS.values()]
    assert largest_difference(models, random_images(), tmp_path, run_node) < TOLERANCE


def _networks() -> dict[str, MLP]:
    draw = torch.Generator().manual_seed(3)
    features = SIDE * SIDE
    return {
        "linear": MLP(features, (), 10, generator=draw),
        "residual": MLP(features, (9, 9, 9), 10, residual=True, generator=draw),
        "residual norm": MLP(features, (9, 9), 10, residual=True, norm="rms", generator=draw),
        "output activation": MLP(features, (9,), 10, output_activation="tanh", generator=draw),
        "no bias": MLP(features, (9,), 10, bias=False, norm="layer", generator=draw),
        "flatten": MLP(features, (9,), 10, flatten=True, generator=draw),
        "dropout": MLP(features, (9,), 10, dropout=0.5, input_dropout=0.2, generator=draw),
        "mixed": MLP(features, (9, 8), 10, activation=("maxout", "swiglu"), generator=draw),
        "float64": MLP(features, (9,), 10, norm="rms", dtype=torch.float64, generator=draw),
    }


def test_every_option_of_the_network(tmp_path: Path, run_node: RunNode) -> None:
    """Networks with each option agree, among them one without hidden layers."""
    models = [classifier(network) for network in _networks().values()]
    assert largest_difference(models, random_images(), tmp_path, run_node) < TOLERANCE


def test_temperature_and_a_mean_for_each_feature(tmp_path: Path, run_node: RunNode) -> None:
    """The page applies the temperature, and a mean and standard deviation per feature."""
    generator = torch.Generator().manual_seed(4)
    model = SoftmaxClassifier(
        scrambled(MLP(64, (9,), 10, generator=generator)),
        classes=DIGITS,
        mean=torch.rand(64, generator=generator) * 16,
        std=torch.rand(64, generator=generator) + 3,
        input_shape=(1, 8, 8),
    ).eval()
    model.temperature.fill_(1.7)
    assert largest_difference([model], random_images(), tmp_path, run_node) < TOLERANCE


def test_a_network_of_usual_size(tmp_path: Path, run_node: RunNode) -> None:
    """784-512-256-10 on uint8 images agrees, with its long sums and large logits."""
    generator = torch.Generator().manual_seed(5)
    network = scrambled(MLP(784, (512, 256), 10, generator=generator))
    model = SoftmaxClassifier(
        network, classes=DIGITS, mean=33.3, std=78.6, input_shape=(28, 28)
    ).eval()
    x = random_images(features=784) * 15
    assert largest_difference([model], x, tmp_path, run_node, ink=255) < TOLERANCE


def test_the_comparison_can_fail(tmp_path: Path, run_node: RunNode) -> None:
    """A weight that is changed before the page is written makes a visible difference."""
    model = small("relu")
    x = random_images()
    before = model.predict_proba(x)
    with torch.no_grad():
        model.network.layers[0].linear.weight[0, 0] += 1.0
    (results,) = run_pages([model], x, tmp_path, run_node, 16)
    found = np.array([result["probabilities"] for result in results])
    assert np.abs(found - before.numpy()).max() > 1e-3


def test_weights_are_concatenated_as_little_endian_float32() -> None:
    """Each tensor is at the returned offset."""
    weights = Weights()
    first = weights.add("first", torch.tensor([1.0, -2.5]))
    second = weights.add("second", torch.tensor([[3.0], [4.0]], dtype=torch.float64))
    assert first == {"offset": 0, "length": 2}
    assert second == {"offset": 2, "length": 2}
    assert np.frombuffer(weights.to_bytes(), dtype="<f4").tolist() == [1.0, -2.5, 3.0, 4.0]


def test_a_weight_that_is_not_finite_raises() -> None:
    """The error names the tensor."""
    model = small("relu")
    with torch.no_grad():
        model.network.layers[1].linear.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"network\.layers\.1\.linear\.bias must be finite"):
        describe_network(model, Weights())


class Sine(nn.Module):
    """A custom activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sine."""
        return x.sin()


def test_a_custom_activation_raises() -> None:
    """The page cannot run custom modules."""
    model = small(Sine())
    with pytest.raises(ValueError, match=r"layers\.0\.activation must be a named activation, "):
        describe_network(model, Weights())


def test_a_tabular_network_raises() -> None:
    model = make_tabular()
    assert isinstance(model, SoftmaxClassifier)
    with pytest.raises(ValueError, match="model must be a classifier whose network is an MLP with"):
        describe_network(model, Weights())
