"""From a classifier of average-pooled images to one of full-resolution images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlpkit._checks import Unquoted, check_int, error_message
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.nn import MLP

__all__ = ["Pooling", "find_pooling", "unpooled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooling:
    """The averaging that is part of the first layer of a classifier.

    Attributes:
        factor: Height and width of a block of pixels.
        num_parameters: Number of parameters of the network of averaged images.
    """

    factor: int
    num_parameters: int


def unpooled(model: SoftmaxClassifier, factor: int) -> SoftmaxClassifier:
    r"""Convert a classifier of average-pooled images to an equivalent full-resolution classifier.

    .. math:: f'(x) = f(\operatorname{avg\_pool}(x)), \qquad W'_{ki+a,\;kj+b} = W_{ij} / k^2

    The mean over a block is linear, so it is merged into the weights of the first layer: the result
    is an ordinary classifier with :math:`k^2` times as many inputs. It shares no tensor with
    ``model``, has no hooks, and all its parameters are trainable. In training mode it differs if
    the network has ``input_dropout``.

    Args:
        model: A classifier of images that :func:`mlpkit.data.avg_pool` has averaged.
        factor: Height and width :math:`k` of a block in pixels, as passed to
            :func:`mlpkit.data.avg_pool`, at least 1.

    Raises:
        TypeError: If ``model`` is not a ``SoftmaxClassifier``.
        ValueError: If the classifier takes no images, or its weights are parametrized or pruned.
        ConfigError: If the network has an activation of a class without a name.

    Example:
        >>> import torch
        >>> from mlpkit import SoftmaxClassifier
        >>> from mlpkit.data import avg_pool, digits
        >>> from mlpkit.models import unpooled
        >>> test = digits().test
        >>> small = SoftmaxClassifier.for_data(avg_pool(test, 2), (16,))
        >>> unpooled(small, 2).predict_proba(test.inputs).shape
        torch.Size([360, 10])
    """
    given: object = model
    if not isinstance(given, SoftmaxClassifier):
        raise TypeError(
            error_message("model", "a SoftmaxClassifier", Unquoted(type(given).__name__))
        )
    check_int("factor", factor, minimum=1)
    shape = model.input_shape
    if len(shape) not in (2, 3):
        rule = "(H, W) or (channels, H, W) for averaged images"
        raise ValueError(error_message("model.input_shape", rule, shape))
    *channels, height, width = shape
    assert isinstance(model.network, MLP), "a TabularMLP takes no images"
    full = SoftmaxClassifier(
        _unpooled_network(model.network, shape, factor),
        classes=model.classes,
        mean=_repeat_pixels(model._exact_mean(), shape, factor),
        std=_repeat_pixels(model.std, shape, factor),
        input_shape=(*channels, height * factor, width * factor),
    )
    full.temperature.copy_(model.temperature)
    return full.train(model.training)


def find_pooling(model: SoftmaxClassifier) -> Pooling | None:
    """Return the averaging that :func:`unpooled` has merged into the first layer of a classifier.

    It is found in the weights, so it is known for a loaded model too: all pixels of a block have
    equal weights, until the classifier is trained further.

    Args:
        model: A classifier.

    Returns:
        None if the classifier takes no images, if the pixels of a block have different weights, or
        if all weights are equal.

    Example:
        >>> from mlpkit import SoftmaxClassifier
        >>> from mlpkit.data import avg_pool, digits
        >>> from mlpkit.models import find_pooling, unpooled
        >>> small = SoftmaxClassifier.for_data(avg_pool(digits().train, 2), (16,))
        >>> full = unpooled(small, 2)
        >>> small.network.num_parameters, full.network.num_parameters
        (442, 1210)
        >>> find_pooling(full)
        Pooling(factor=2, num_parameters=442)
    """
    network, shape = model.network, model.input_shape
    if not isinstance(network, MLP) or len(shape) not in (2, 3):
        return None
    weight = _first_linear(network)[1].weight.detach()
    if bool((weight == weight[0, 0]).all()):
        return None
    images = weight.reshape(-1, *shape[-2:])
    for factor in range(max(shape[-2:]), 1, -1):
        if shape[-2] % factor == 0 == shape[-1] % factor:
            one = images[:, ::factor, ::factor]  # the first pixel of each block
            if torch.equal(_repeat_blocks(one, factor), images):
                num_repeated = images.numel() - one.numel()
                return Pooling(factor=factor, num_parameters=network.num_parameters - num_repeated)
    return None


@torch.no_grad()
def _unpooled_network(network: MLP, shape: Sequence[int], factor: int) -> MLP:
    """Return the network of full-resolution images.

    Args:
        network: Takes averaged images, flattened.
        shape: Their shape, (H, W) or (channels, H, W).
        factor: Height and width of a block.
    """
    name, first = _first_linear(network)
    weight = _repeat_pixels(first.weight, shape, factor) / factor**2
    config = dataclasses.replace(network.config, in_features=weight.shape[1])
    full = MLP.from_config(
        config, device=weight.device, dtype=weight.dtype, generator=torch.Generator(weight.device)
    )
    state = network.state_dict()
    differing = sorted(full.state_dict().keys() ^ state.keys())
    if differing:
        cure = "remove parametrizations and pruning first"
        raise ValueError(error_message("network", "one of plain parameters", differing, cure))
    full.load_state_dict({**state, f"{name}.weight": weight})
    return full.train(network.training)


def _repeat_pixels(values: Tensor, shape: Sequence[int], factor: int) -> Tensor:
    """Repeat the values of averaged pixels, (..., features), for each pixel of a block."""
    if values.ndim == 0:
        return values
    images = values.reshape(*values.shape[:-1], *shape)
    return _repeat_blocks(images, factor).flatten(-len(shape))


def _repeat_blocks(images: Tensor, factor: int) -> Tensor:
    """Repeat each pixel of images, (..., H, W), for all pixels of a block."""
    rows = torch.repeat_interleave(images, factor, dim=-2)
    return torch.repeat_interleave(rows, factor, dim=-1)


def _first_linear(network: MLP) -> tuple[str, nn.Linear]:
    """Return the layer that takes the inputs, and its name in the ``state_dict``."""
    if len(network.layers):
        return "layers.0.linear", network.layers[0].linear  # the first has no skip
    assert network.head is not None, "a classifier has outputs"
    return "head", network.head
