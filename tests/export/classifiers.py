"""Classifiers for the tests of exports; every parameter changes their outputs."""

from __future__ import annotations

import typing

import torch

from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP, Activation, ActivationConfig, ActivationName, NormName

DIGITS = tuple("0123456789")
NAMES: tuple[ActivationName, ...] = typing.get_args(ActivationName)
NORMS: tuple[NormName | None, ...] = (None, *typing.get_args(NormName))


def classifier(
    activation: typing.Sequence[Activation] = ("relu",),
    norm: NormName | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> SoftmaxClassifier:
    """Return a classifier of 8x8 images with random statistics and slopes and a temperature."""
    generator = torch.Generator().manual_seed(0)
    network = MLP(
        64,
        (12,) * len(activation),
        10,
        activation=activation,
        norm=norm,
        residual=True,
        dropout=0.5,
        generator=generator,
        dtype=dtype,
    )
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point() and value.ndim == 1:  # biases, norms, slopes
                value.add_(torch.rand(value.shape, generator=generator) - 0.5)
    model = SoftmaxClassifier(network, classes=DIGITS, mean=4.9, std=6.0, input_shape=(8, 8))
    model.temperature.fill_(1.7)
    return model


def by_name(name: ActivationName) -> Activation:
    """Return a named activation, with the options that have no default."""
    return ActivationConfig(name, threshold=0.1, value=-0.5) if name == "threshold" else name
