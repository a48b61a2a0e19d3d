"""One small model of each kind, for tests of what all kinds share."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.nn import MLP, ActivationName, TabularMLP

KindName: TypeAlias = Literal[
    "classifier", "labels", "one label", "regressor", "vector", "with std"
]
AnyModel: TypeAlias = SoftmaxClassifier | MultilabelClassifier | Regressor

KINDS: tuple[KindName, ...] = get_args(KindName)
NAMES = ("a", "b", "c")


def make_model(
    kind: KindName = "classifier",
    activation: ActivationName = "relu",
    *,
    mean: float | Tensor = 33.0,
    std: float | Tensor = 78.0,
    network: MLP | TabularMLP | None = None,
) -> AnyModel:
    """Return a small model of 4 x 3 images, with random weights, in eval mode.

    A network that is given has other inputs.
    """
    outputs = {"one label": 1, "regressor": 1, "with std": 6}.get(kind, 3)
    generator = torch.Generator().manual_seed(1)
    shape = (4, 3) if network is None else (network.in_features,)
    network = network or MLP(12, (8, 6), outputs, activation=activation, generator=generator)
    if kind == "classifier":
        model: AnyModel = SoftmaxClassifier(
            network, classes=NAMES, mean=mean, std=std, input_shape=shape
        )
    elif kind in ("labels", "one label"):
        model = MultilabelClassifier(
            network,
            classes=NAMES[:outputs],
            thresholds=0.4,
            pos_weight=2.0 if kind == "one label" else (0.5, 2.0, 3.0),
            mean=mean,
            std=std,
            input_shape=shape,
            target_shape=() if kind == "one label" else None,
        )
    else:
        model = Regressor(
            network,
            target_mean=1000.0 if kind == "regressor" else torch.tensor([1000.0, 0.0, -3.0]),
            target_std=50.0 if kind == "regressor" else torch.tensor([50.0, 1.0, 0.01]),
            target_shape=() if kind == "regressor" else (3,),
            predicts_std=kind == "with std",
            target_names=NAMES if kind == "vector" else None,
            mean=mean,
            std=std,
            input_shape=shape,
        )
    return model.eval()


def make_classifier(
    activation: ActivationName = "relu", *, mean: float | Tensor = 33.0, std: float | Tensor = 78.0
) -> SoftmaxClassifier:
    """Return a small classifier of 4 x 3 images, with random weights, in eval mode."""
    model = make_model("classifier", activation, mean=mean, std=std)
    assert isinstance(model, SoftmaxClassifier)
    return model


def rows(n: int = 40) -> Tensor:
    """Return a number, one of 3 categories and one of 40."""
    generator = torch.Generator().manual_seed(n)
    codes = torch.rand(n, 3, generator=generator) * torch.tensor([0.0, 3.0, 40.0])
    return codes.floor() + torch.randn(n, 1, generator=generator) * torch.tensor([100.0, 0, 0])


def make_tabular(kind: KindName = "classifier", seed: int = 0) -> AnyModel:
    """Return a small model of such rows, with random weights, in eval mode."""
    outputs = {"one label": 1, "regressor": 1, "with std": 6}.get(kind, 3)
    generator = torch.Generator().manual_seed(seed)
    network = TabularMLP.for_data(
        *(rows(), (0, 3, 40), (8, 6), outputs), numbers="piecewise_linear", generator=generator
    )
    assert network.head is not None
    torch.nn.init.normal_(network.head.weight, generator=generator)
    return make_model(kind, mean=0.0, std=1.0, network=network)


def images(n: int) -> Tensor:
    """Return random uint8 images."""
    return torch.randint(0, 256, (n, 4, 3), dtype=torch.uint8)


def targets(kind: KindName, n: int) -> Tensor:
    """Return random targets for a model of a kind."""
    if kind == "classifier":
        return torch.randint(0, 3, (n,))
    if kind in ("labels", "one label"):
        found = torch.randint(0, 2, (n, 3)).float()
        return found[:, 0] if kind == "one label" else found
    return torch.randn(n) * 50 + 1000 if kind == "regressor" else torch.randn(n, 3) * 50 + 1000
