"""Base of the models: a network behind the standardization of its raw inputs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from mlpkit._checks import check_int, error_message
from mlpkit._devices import accumulator_dtype, evaluation_mode
from mlpkit.models._input_range import find_range_error
from mlpkit.models._standardize import check_statistic, find_remainder
from mlpkit.nn import MLP, ParamGroup, TabularMLP

__all__ = ["StandardizedModel", "at_least_float32", "fast_buffer"]


@dataclass(slots=True)
class _ExaminedInputs:
    """Which inputs have been compared with the statistics; all instances are equal.

    So models that differ only in what they have predicted are alike for
    :func:`mlpkit.training.fit_many`.

    Attributes:
        dtypes: Data types of the inputs.
        has_warned: Whether a warning was given.
    """

    dtypes: set[torch.dtype] = field(default_factory=set, compare=False)
    has_warned: bool = field(default=False, compare=False)


class StandardizedModel(nn.Module):
    r"""A network that takes raw inputs, which are standardized first.

    .. math:: f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr)

    A :class:`mlpkit.nn.TabularMLP` scales its inputs by itself, so they are not standardized.

    Args:
        network: The network.
        mean: Subtracted from the raw input, in its units; one number, or one for each feature.
        std: Divides the difference, in the same units; positive.
        input_shape: Shape of one raw example, for instance ``(28, 28)``; None is
            ``(network.in_features,)``.

    Raises:
        TypeError: If ``network`` is neither an MLP nor a TabularMLP.
        ValueError: If mean, std or input_shape do not fit the network.
    """

    mean: Tensor
    std: Tensor
    mean_remainder: Tensor | None

    def __init__(
        self,
        network: MLP | TabularMLP,
        *,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        if not isinstance(network, MLP | TabularMLP):
            raise TypeError(error_message("network", "an mlpkit.nn.MLP or TabularMLP", network))
        sizes = (network.in_features,) if input_shape is None else input_shape
        shape = tuple(
            check_int(f"input_shape[{axis}]", size, minimum=1) for axis, size in enumerate(sizes)
        )
        if math.prod(shape) != network.in_features:
            rule = f"a shape of {network.in_features} features"
            raise ValueError(error_message("input_shape", rule, shape))
        if isinstance(network, TabularMLP):
            _check_raw(mean, std, shape)
        super().__init__()
        self.network = network
        self.input_shape = shape
        weight = next(network.parameters())
        self.register_buffer("mean", check_statistic("mean", mean, network.in_features, weight))
        self.register_buffer("std", check_statistic("std", std, network.in_features, weight))
        # Nearly always None: no tensor and no key of the state_dict.
        self.register_buffer("mean_remainder", find_remainder(mean, self.mean, self.std))
        self._examined = _ExaminedInputs()

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the network for raw inputs."""
        return self.network(self.standardize(x))

    if TYPE_CHECKING:  # nn.Module declares __call__ as returning Any

        def __call__(self, x: Tensor) -> Tensor:
            """Return the output of the network for raw inputs, running hooks."""

    def standardize(self, x: Tensor) -> Tensor:
        """Return raw inputs as the network takes them: flattened and standardized.

        If the dtype of the model cannot represent every input, as float32 cannot represent every
        float64 or int64, the mean is subtracted in float64 (in float32 on MPS), and the difference
        is rounded to the dtype of the model. If it cannot represent the mean itself, as float32
        cannot represent 1.7e9 + 100.5, the buffer ``mean_remainder`` is subtracted too; otherwise
        that is None.

        Args:
            x: Raw inputs of any real dtype, on the device of the model.

        Shape:
            - Input: ``(N, *input_shape)``, ``(N, 1, *input_shape)``, ``(N, in_features)`` or one
              example of ``input_shape``.
            - Output: ``(N, in_features)``, or ``(in_features,)`` for one example.

        Raises:
            TypeError: If ``x`` is not a dense tensor of real numbers.
            ValueError: If the shape is none of these, or ``x`` is on another device.
        """
        mean = fast_buffer(self, "mean")
        given: object = x
        if not isinstance(given, Tensor):
            if isinstance(given, Proxy):  # of torch.fx.symbolic_trace: no shape and no dtype
                return self._subtract_widely(cast("Tensor", given.flatten(1)), mean)
            _check_dense(given)
        if x.layout is not torch.strided or x.device != mean.device:
            _check_dense(x)
            _check_device(x, mean.device)
        shape, one = x.shape, self.input_shape
        # The first axis comes last: exporters would fix an N that is compared with a size.
        if len(shape) == len(one) and shape[1:] == one[1:] and shape == one:
            x = x.reshape(-1)
        elif shape[1:] == one or shape[1:] == (1, *one):
            x = x.flatten(1)
        elif shape[1:] != (self.network.in_features,):
            expected = ", ".join(["N", *(str(size) for size in one)])
            rule = f"of shape ({expected}) in its raw units"
            raise ValueError(error_message("x", rule, tuple(shape)))
        if isinstance(self.network, TabularMLP):  # whose scaling subtracts in the dtype of x
            return x
        is_near = self._buffers.get("mean_remainder") is None
        if is_near and (x.dtype is torch.uint8 or x.dtype is mean.dtype):
            return (x - mean) / fast_buffer(self, "std")  # the subtraction converts pixels
        if x.is_complex():
            raise TypeError(error_message("x", "of real numbers", x.dtype, "use x.abs() or x.real"))
        return self._subtract_widely(x, mean)

    def _subtract_widely(self, x: Tensor, mean: Tensor) -> Tensor:
        """Return standardized inputs; where ``x.to(mean.dtype)`` is exact, bits do not change.

        Rounding a sum to float64 and then to float32 or less is rounding it once, since float64 has
        more than twice as many digits.
        """
        difference = x.to(accumulator_dtype(mean.device)) - mean
        remainder = self._buffers.get("mean_remainder")
        if remainder is not None:
            difference = difference - remainder
        return difference.to(mean.dtype) / fast_buffer(self, "std")

    def _apply_in_batches(
        self,
        x: Tensor,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        *,
        model: nn.Module | None = None,
    ) -> Tensor:
        """Return ``transform`` of the outputs of each batch, in evaluation mode, concatenated.

        The outputs are those of ``model``, an ensemble with this member; None is this model.
        """
        model = self if model is None else model
        size = check_int("batch_size", batch_size, minimum=1)
        _check_dense(x)
        self._warn_of_range(x, stacklevel=4)
        with evaluation_mode(model), torch.inference_mode():
            device, shape = fast_buffer(self, "mean").device, x.shape
            if x.is_meta:  # has no values to move
                _check_device(x, device)
            if not shape or shape == self.input_shape or shape[0] <= size:
                return transform(model(x.to(device)))
            return torch.cat([transform(model(part.to(device))) for part in torch.split(x, size)])

    def check_input_range(self, x: Tensor) -> None:
        """Warn once if inputs cannot be in the units of the training inputs.

        Methods that predict or evaluate call it; a call of the model itself does not. Only the
        first inputs of each dtype are examined, which synchronizes with the device.

        Args:
            x: Raw inputs, on any device.

        Warns:
            UserWarning: If the values cannot be in the units of ``mean`` and ``std``, such as
                pixels between 0 and 1 for a model of pixels between 0 and 255.
        """
        self._warn_of_range(x, stacklevel=3)

    def _warn_of_range(self, x: Tensor, *, stacklevel: int) -> None:
        """Warn at the caller of a public method; ``stacklevel`` is its distance from here."""
        if isinstance(self.network, TabularMLP):  # without statistics to compare with
            return
        examined = self._examined
        if x.dtype in examined.dtypes or examined.has_warned or not x.numel():
            return
        error = find_range_error(x.detach(), fast_buffer(self, "mean"), fast_buffer(self, "std"))
        if error.is_conclusive:
            examined.dtypes.add(x.dtype)
        if error.message is not None:
            examined.has_warned = True
            warnings.warn(error.message, UserWarning, stacklevel=stacklevel)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load the statistics, with or without a remainder, whichever this model had."""
        mean, remainder = (state_dict.get(prefix + name) for name in ("mean", "mean_remainder"))
        if mean is not None and remainder is None:
            self.mean_remainder = None
        elif remainder is not None and self.mean_remainder is None:
            self.mean_remainder = torch.zeros_like(self.mean)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - as in torch
        """Convert the tensors, and keep what the mean loses in its new dtype."""
        before, remainder = self._buffers.get("mean"), self._buffers.get("mean_remainder")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not annotate it
        after, std = self._buffers.get("mean"), self._buffers.get("std")
        if before is None or after is None or std is None or before.is_meta:
            return self
        if before.dtype is not after.dtype:
            self._buffers["mean_remainder"] = find_remainder(_exact(before, remainder), after, std)
        return self

    def _exact_mean(self) -> Tensor:
        """Return the mean with what it lost by rounding, in float64 on the CPU."""
        return _exact(fast_buffer(self, "mean"), self._buffers.get("mean_remainder"))

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


def _check_raw(mean: float | Tensor, std: float | Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a TabularMLP gets its inputs as they are: rows of a table."""
    for name, value, expected in (("mean", mean, 0.0), ("std", std, 1.0)):
        if not (isinstance(value, Tensor) and value.is_meta) and bool(
            torch.as_tensor(value, device="cpu").ne(expected).any()
        ):
            rule = f"{expected:g} for a TabularMLP, which scales its inputs"
            raise ValueError(error_message(name, rule, value))
    if len(shape) != 1:
        rule = "(network.in_features,) for a TabularMLP"
        raise ValueError(error_message("input_shape", rule, shape))


def _check_dense(x: object) -> None:
    """Raise TypeError unless ``x`` is a dense tensor."""
    if not isinstance(x, Tensor):
        cure = "torch.as_tensor(x) makes one"
        raise TypeError(error_message("x", "a tensor of raw inputs", x, cure))
    if x.layout is not torch.strided:
        cure = "convert it with x.to_dense()"
        raise TypeError(error_message("x", "a dense tensor", x.layout, cure))


def _check_device(x: Tensor, device: torch.device) -> None:
    """Raise ValueError unless ``x`` is on the device of the model."""
    if x.device == device:
        return
    rule = f"on the device of the model ({device})"
    cure = f"move it with x.to({str(device)!r})"
    if device.type == "meta":
        cure = "give the model memory with to_empty(device=...), then load its weights"
    raise ValueError(error_message("x", rule, str(x.device), cure))


def _exact(mean: Tensor, remainder: Tensor | None) -> Tensor:
    """Return the exact mean in float64 on the CPU; None is no remainder."""
    wide = mean.detach().cpu().double()
    return wide if remainder is None else wide + remainder.detach().cpu().double()


def fast_buffer(module: nn.Module, name: str) -> Tensor:
    """Return ``module.name``, looked up among the buffers first; ``getattr`` is slower."""
    found = module._buffers.get(name)
    value: Tensor = getattr(module, name) if found is None else found
    return value


def at_least_float32(x: Tensor) -> Tensor:
    """Return outputs in float32, unless they are in float64."""
    return x if x.dtype is torch.float64 else x.float()
