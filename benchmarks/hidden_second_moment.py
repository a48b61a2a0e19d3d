"""The second moment of the hidden values through depth, for every activation that has a name.

Prints the table of docs/decisions/0002-init-auto.md. An initialization is one draw of all weights;
a set is 64 of them, over which the second moment is averaged. With weights that are independent
normal numbers and drawn afresh in every layer, W x given x is exactly normal with independent
entries, so the pre-activations are drawn directly; tests/nn/test_init.py multiplies matrices.

Usage: python benchmarks/hidden_second_moment.py [--sets 100] [--width 1024] [--depth 20]
"""

from __future__ import annotations

import argparse
import math
import platform
from typing import NamedTuple, get_args

import torch

from mlpkit.nn import (
    ActivationConfig,
    ActivationName,
    build_activation,
    expansion,
    layer_scale,
    second_moment,
    second_moment_gain,
)

INITIALISATIONS = 64  # in a set


class Measured(NamedTuple):
    """What happened to an activation, relative to the second moment that it should keep.

    Attributes:
        mean: Mean after the last layer, over all initializations.
        spread: Standard deviation of the same.
        within: Share of the sets whose average stays within 10 % in every layer.
        layers: Depth up to which that holds for 95 % of the sets.
    """

    mean: float
    spread: float
    within: float
    layers: int


def elasticity(config: ActivationConfig, variance: float) -> float:
    """Return d ln V / d ln t, by which a relative deviation grows in each layer."""
    step = 1.01
    high, low = second_moment(config, variance * step), second_moment(config, variance / step)
    return math.log(high / low) / (2 * math.log(step))


@torch.no_grad()
def measure(config: ActivationConfig, *, sets: int, width: int, depth: int) -> Measured:
    """Send inputs of second moment 1 through ``depth`` layers, ``sets`` * 64 times."""
    generator = torch.Generator().manual_seed(0)
    scale = layer_scale(config)
    module = build_activation(config, width)
    runs = sets * INITIALISATIONS
    moment = torch.ones(runs)  # of what enters the layer
    expected = 1.0
    worst = torch.zeros(sets)
    within, layers = 1.0, 0
    for _ in range(depth):
        std = (scale.preactivation_variance * moment / expected).sqrt()
        z = torch.randn(runs, width * expansion(module), generator=generator)
        moment = module(std[:, None] * z).square().mean(1)
        expected = scale.second_moment
        means = moment.view(sets, INITIALISATIONS).mean(1) / expected
        worst = worst.maximum((means - 1).abs())
        within = (worst < 0.1).float().mean().item()
        layers += within >= 0.95
    relative = moment / expected
    return Measured(relative.mean().item(), relative.std().item(), within, layers)


def by_gain(config: ActivationConfig, depth: int) -> float:
    """Return the second moment after ``depth`` layers of weights of variance gain^2 / fan_in."""
    variance, moment = second_moment_gain(config) ** 2, 1.0
    for _ in range(depth):
        if not 1e-12 < variance * moment < 1e12:
            return moment
        moment = second_moment(config, variance * moment)
    return moment


def main() -> None:
    """Print one line of the table for each activation."""
    parser = argparse.ArgumentParser(description="second moment of hidden values through depth")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--depth", type=int, default=20)
    args = parser.parse_args()
    print(f"width {args.width}, depth {args.depth}, {args.sets} sets of {INITIALISATIONS}")
    print(f"torch {torch.__version__}, Python {platform.python_version()}, CPU\n")
    columns = [
        "activation",
        "t",
        "V(t)",
        "elasticity",
        "mean",
        "spread",
        "within",
        "layers",
        "by gain",
    ]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    configs = [ActivationConfig(n) for n in get_args(ActivationName) if n != "threshold"]
    configs.append(ActivationConfig("maxout", num_pieces=5))
    for config in sorted(configs, key=lambda config: config.name):
        scale = layer_scale(config)
        growth = elasticity(config, scale.preactivation_variance)
        found = measure(config, sets=args.sets, width=args.width, depth=args.depth)
        pieces = "" if config.num_pieces is None else f" ({config.num_pieces})"
        cells = [
            f"{config.name}{pieces}",
            f"{scale.preactivation_variance:.4f}",
            f"{scale.second_moment:.3f}",
            f"{growth:.3f}",
            *(f"{value:.2g}" if math.isfinite(value) else "overflow" for value in found[:2]),
            f"{found.within:.0%}",
            f"{found.layers}",
            f"{by_gain(config, args.depth):.3g}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
