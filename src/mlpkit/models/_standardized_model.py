"""Base of the models: a network behind the standardization of its raw inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit._checks import check_int, error_message
from mlpkit._devices import evaluation_mode
from mlpkit.models._standardize import check_statistic
from mlpkit.nn import MLP, ParamGroup

__all__ = ["StandardizedModel"]


class StandardizedModel(nn.Module):
    r"""A network that takes raw inputs, which are standardized first.

    .. math:: f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr)

    Args:
        network: The network.
        mean: Subtracted from the raw input, in its units; one number, or one for each feature.
        std: Divides the difference, in the same units; positive.
        input_shape: Shape of one raw example, for instance ``(28, 28)``; None is
            ``(network.in_features,)``.

    Raises:
        TypeError: If ``network`` is no MLP.
        ValueError: If mean, std or input_shape do not fit the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: MLP,
        *,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        if not isinstance(network, MLP):
            raise TypeError(error_message("network", "an mlpkit.nn.MLP", network))
        shape = (network.in_features,) if input_shape is None else tuple(input_shape)
        if math.prod(shape) != network.in_features:
            rule = f"a shape of {network.in_features} features"
            raise ValueError(error_message("input_shape", rule, shape))
        super().__init__()
        self.network = network
        self.input_shape = shape
        weight = next(network.parameters())
        self.register_buffer("mean", check_statistic("mean", mean, network.in_features, weight))
        self.register_buffer("std", check_statistic("std", std, network.in_features, weight))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the network for raw inputs."""
        return self.network(self.standardize(x))

    if TYPE_CHECKING:  # nn.Module declares __call__ as returning Any

        def __call__(self, x: Tensor) -> Tensor:
            """Return the output of the network for raw inputs, running hooks."""

    def standardize(self, x: Tensor) -> Tensor:
        """Return raw inputs as the network takes them: flattened and standardized.

        Args:
            x: Raw inputs of any numeric dtype.

        Shape:
            - Input: ``(N, *input_shape)``, ``(N, 1, *input_shape)``, ``(N, in_features)`` or one
              example of ``input_shape``.
            - Output: ``(N, in_features)``, or ``(in_features,)`` for one example.

        Raises:
            ValueError: If the shape is none of these.
        """
        shape, one = x.shape, self.input_shape
        if shape == one:
            x = x.reshape(-1)
        elif shape[1:] == one or shape[1:] == (1, *one):
            x = x.flatten(1)
        elif shape[1:] != (self.network.in_features,):
            expected = ", ".join(["N", *(str(size) for size in one)])
            rule = f"of shape ({expected}) in its raw units"
            raise ValueError(error_message("x", rule, tuple(shape)))
        mean = fast_buffer(self, "mean")
        if x.dtype is not torch.uint8:  # the subtraction converts pixels
            x = x.to(mean.dtype)
        return (x - mean) / fast_buffer(self, "std")

    def _apply_in_batches(
        self, x: Tensor, batch_size: int, transform: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return ``transform`` of the outputs of each batch, in evaluation mode, concatenated."""
        size = check_int("batch_size", batch_size, minimum=1)
        given: object = x
        if not isinstance(given, Tensor):
            cure = "torch.as_tensor(x) makes one"
            raise TypeError(error_message("x", "a tensor of raw inputs", given, cure))
        with evaluation_mode(self), torch.inference_mode():
            device, shape = fast_buffer(self, "mean").device, x.shape
            if not shape or shape == self.input_shape or shape[0] <= size:
                return transform(self(x.to(device)))
            return torch.cat([transform(self(part.to(device))) for part in torch.split(x, size)])

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the parameter groups for an optimizer; see :meth:`mlpkit.nn.MLP.param_groups`."""
        return self.network.param_groups(weight_decay)

    @property
    def max_norm(self) -> float | None:
        """Largest Euclidean norm of the weights into one linear output; None for no limit."""
        return self.network.max_norm

    def apply_max_norm_(self) -> None:
        """Scale weights down to ``max_norm``; see :meth:`mlpkit.nn.MLP.apply_max_norm_`."""
        self.network.apply_max_norm_()


def fast_buffer(module: nn.Module, name: str) -> Tensor:
    """Return ``module.name``, looked up among the buffers first; ``getattr`` is slower."""
    found = module._buffers.get(name)
    value: Tensor = getattr(module, name) if found is None else found
    return value
