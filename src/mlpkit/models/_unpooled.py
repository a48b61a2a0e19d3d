"""The weights of whole pictures, from those of pictures whose blocks of pixels were averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.nn import MLP

__all__ = ["unpooled_network", "unpooled_values"]


@torch.no_grad()
def unpooled_network(network: MLP, shape: Sequence[int], kernel_size: int) -> MLP:
    """Return the network of whole pictures that equals one of averaged pictures.

    Args:
        network: Takes averaged pictures, flattened.
        shape: Their shape, (H, W) or (channels, H, W).
        kernel_size: Height and width of the block that a pixel is the mean of.

    Raises:
        ValueError: If weights are parametrized or pruned.
    """
    name, first = _first_linear(network)
    weight = unpooled_values(first.weight, shape, kernel_size) / kernel_size**2
    config = dataclasses.replace(network.config, in_features=weight.shape[1])
    whole = MLP.from_config(
        config, device=weight.device, dtype=weight.dtype, generator=torch.Generator(weight.device)
    )
    state = network.state_dict()
    differing = sorted(whole.state_dict().keys() ^ state.keys())
    if differing:
        cure = "remove parametrizations and pruning first"
        raise ValueError(error_message("network", "one of plain parameters", differing, cure))
    whole.load_state_dict({**state, f"{name}.weight": weight})
    return whole.train(network.training)


def unpooled_values(values: Tensor, shape: Sequence[int], kernel_size: int) -> Tensor:
    """Repeat values of averaged pixels, (..., features), for each pixel; a single number stays."""
    if values.ndim == 0:
        return values
    pictures = values.reshape(*values.shape[:-1], *shape)
    rows = torch.repeat_interleave(pictures, kernel_size, dim=-2)
    return torch.repeat_interleave(rows, kernel_size, dim=-1).flatten(-len(shape))


def _first_linear(network: MLP) -> tuple[str, nn.Linear]:
    """Return what the input enters, and its name in the state dict."""
    if len(network.layers):
        return "layers.0.linear", network.layers[0].linear  # the first has no skip
    assert network.head is not None, "a classifier has outputs"
    return "head", network.head
