"""Weight scales that preserve the second moment of the hidden values, for any activation."""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, check_int, error_message
from mlpkit.nn._draw import normal_
from mlpkit.nn.activations import (
    ActivationConfig,
    ActivationName,
    Gated,
    Maxout,
    PReLU,
    activation_config,
    build_activation,
    expansion,
    is_known,
)

__all__ = [
    "ActivationFunction",
    "LayerScale",
    "layer_scale",
    "reset_linear_",
    "second_moment",
    "second_moment_gain",
]

ActivationFunction: TypeAlias = (
    ActivationName | ActivationConfig | nn.Module | Callable[[Tensor], Tensor]
)

_Moment: TypeAlias = Callable[[float], float]

# Trapezoid rule on [-12, 12]: the normal density is 2e-32 at the ends, 0 is a node, and the error
# at a kink elsewhere is of the order of the squared step, 2e-6, times the density at the kink; at a
# jump, as of hardshrink, it is of the order of the step.
_LIMIT = 12.0
_NODES = 2**14 + 1
# Number of values sampled for a module without a name, which may mix features.
_SAMPLES = 2**16
_WIDEST = 6  # the pre-activation variance is searched in [2**-6, 2**6]


class LayerScale(NamedTuple):
    """The target variance of the pre-activations of a layer, and the resulting second moment.

    Attributes:
        preactivation_variance: Target variance of the pre-activations.
        second_moment: Second moment of the activations at that variance.
    """

    preactivation_variance: float
    second_moment: float


def second_moment(
    activation: ActivationFunction, preactivation_variance: float = 1.0, *, width: int = 1
) -> float:
    r"""Return the second moment of an activation's output for normal pre-activations.

    .. math:: V(t) = \mathrm{E}\, f(\sqrt{t} Z)^2, \qquad Z \sim \mathcal N(0, 1)

    The expectation is computed by quadrature, with an error of about 1e-7, or 1e-4 for a function
    with jumps such as hardshrink, for names, configurations, element-wise functions and modules
    whose class has a name. Maxout uses the order
    statistics of its pieces, PReLU its current slopes, and ``rrelu`` its random slope in training.
    For modules of other classes it is estimated from samples, with an error of about 1 %.

    Args:
        activation: A name, a configuration, a module, or an element-wise function of tensors.
        preactivation_variance: The variance t of each pre-activation, above 0.
        width: Number of output features; used only for a module whose class has no name.

    Raises:
        ValueError: If the second moment is 0 or not finite.

    Example:
        >>> from mlpkit.nn import second_moment
        >>> round(second_moment("relu", 2.0), 6)
        1.0
    """
    variance = check_float("preactivation_variance", preactivation_variance, above=0.0)
    return _checked(activation, _moment(activation, width)(variance))


def second_moment_gain(activation: ActivationFunction, *, width: int = 1) -> float:
    r"""Return the factor that scales an activation's output to second moment 1.

    .. math:: \mathrm{gain} = 1 / \sqrt{\mathrm{E} f(Z)^2}, \qquad Z \sim \mathcal N(0, 1)

    For a positively homogeneous activation, such as ReLU, PReLU and Maxout, weights of variance
    ``gain**2 / fan_in`` preserve the second moment. For other activations it also depends on the
    variance of the pre-activations; see :func:`layer_scale`.

    Args:
        activation: A name, a configuration, a module, or an element-wise function of tensors.
        width: Number of output features; used only for a module whose class has no name.

    Raises:
        ValueError: If the second moment is 0 or not finite.

    Example:
        >>> from mlpkit.nn import second_moment_gain
        >>> round(second_moment_gain("relu"), 6)
        1.414214

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, arXiv:1502.01852, section 2.2.
    """
    return 1 / math.sqrt(second_moment(activation, width=width))


def layer_scale(activation: ActivationFunction, *, width: int = 1) -> LayerScale:
    r"""Return the pre-activation variance for which the activation's output has second moment 1.

    With independent weights of variance :math:`t / (n q)`, for n inputs of second moment q, the
    pre-activations have variance t, and the hidden values have the second moment :math:`V(t)` of
    :func:`second_moment`. If :math:`V(t) = 1` has a solution in [1/64, 64], t is the solution
    nearest to 1, and the hidden values keep the second moment 1 of standardized inputs. For ReLU
    t = 2, which is He initialization. For an activation bounded by 1 (tanh, sigmoid, hardtanh,
    hardsigmoid, softsign) there is no solution. Then t = 1, and the weights of the next layer
    compensate for :math:`V(1)`, so that the pre-activations of every layer have variance 1.

    Args:
        activation: A name, a configuration, a module, or an element-wise function of tensors.
        width: Number of output features; used only for a module whose class has no name.

    Raises:
        ValueError: If the second moment is 0 or not finite.

    Example:
        >>> from mlpkit.nn import layer_scale
        >>> scale = layer_scale("relu")
        >>> round(scale.preactivation_variance, 6), round(scale.second_moment, 6)
        (2.0, 1.0)

    References:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli (2016), Exponential expressivity in deep
        neural networks through transient chaos, arXiv:1606.05340, equation 3: the map V.
    """
    if isinstance(activation, nn.Module) and not isinstance(activation, PReLU | nn.PReLU):
        activation = activation_config(activation) if is_known(activation) else activation
    if isinstance(activation, str):
        activation = ActivationConfig(activation)
    if isinstance(activation, ActivationConfig):
        return _named_scale(activation)
    return _solve(activation, _moment(activation, width))


@functools.lru_cache(maxsize=256)
def _named_scale(config: ActivationConfig) -> LayerScale:
    return _solve(config, _moment(config, 1))


def _solve(activation: ActivationFunction, moment: _Moment) -> LayerScale:
    """Solve moment(t) = 1 by bisection of log t, in the bracket of powers of 2 nearest to 1."""
    at_one = _checked(activation, moment(1.0))
    if math.isclose(at_one, 1.0, abs_tol=1e-9):
        return LayerScale(1.0, at_one)
    for step in range(_WIDEST):
        for sign in (1, -1):
            near, far = 2.0 ** (sign * step), 2.0 ** (sign * (step + 1))
            above = moment(near) > 1
            if (moment(far) > 1) is above:
                continue
            for _ in range(48):
                middle = math.sqrt(near * far)
                if (moment(middle) > 1) is above:
                    near = middle
                else:
                    far = middle
            return LayerScale(near, moment(near))
    return LayerScale(1.0, at_one)


def _checked(activation: ActivationFunction, moment: float) -> float:
    if not 0.0 < moment < math.inf:
        rule = "a function with a positive, finite second moment for normal inputs"
        cure = f"its second moment is {moment:g}; pass init='torch'"
        raise ValueError(error_message("activation", rule, activation, cure))
    return moment


def _moment(activation: ActivationFunction, width: int) -> _Moment:
    """Return the map from the pre-activation variance to the second moment of the output."""
    width = check_int("width", width, minimum=1)
    if isinstance(activation, str):
        activation = ActivationConfig(activation)
    if isinstance(activation, nn.Module):
        if isinstance(activation, PReLU | nn.PReLU):
            return _prelu_moment(activation)
        if not is_known(activation):
            return _sampled_moment(activation, width)
        activation = activation_config(activation)
    if not isinstance(activation, ActivationConfig):
        return _quadrature(activation)
    if activation.name == "prelu":
        return functools.partial(_linear, factor=(1 + (activation.init or 0.0) ** 2) / 2)
    if activation.name == "rrelu":
        low, high = activation.lower or 0.0, activation.upper or 0.0
        slope_squared = (low**2 + low * high + high**2) / 3  # E a^2 of a uniform slope
        return functools.partial(_linear, factor=(1 + slope_squared) / 2)
    module = build_activation(activation, 1, device="cpu")
    if isinstance(module, Maxout):
        return functools.partial(_linear, factor=_maxout_second_moment(module.num_pieces))
    if isinstance(module, Gated):
        gate = _quadrature(module.gate)
        return lambda variance: variance * gate(variance)
    return _quadrature(module)


def _linear(variance: float, *, factor: float) -> float:
    """Return the second moment of a positively homogeneous activation."""
    return factor * variance


def _prelu_moment(module: PReLU | nn.PReLU) -> _Moment:
    slopes = module.weight.detach()
    mean_square = module.init**2 if slopes.is_meta else float(slopes.double().square().mean())
    return functools.partial(_linear, factor=(1 + mean_square) / 2)


def _normal_rule() -> tuple[Tensor, Tensor]:
    """Return nodes and weights of the quadrature for the standard normal density, each (n,)."""
    nodes = torch.linspace(-_LIMIT, _LIMIT, _NODES, dtype=torch.float64, device="cpu")
    step = 2 * _LIMIT / (_NODES - 1)
    return nodes, torch.exp(-nodes.square() / 2) * (step / math.sqrt(2 * math.pi))


def _quadrature(function: Callable[[Tensor], Tensor]) -> _Moment:
    nodes, weights = _normal_rule()

    def moment(variance: float) -> float:
        with torch.no_grad():
            values = function(math.sqrt(variance) * nodes)
        if values.shape != nodes.shape:
            rule = "an element-wise function"
            raise ValueError(error_message("activation", rule, function, "pass a module instead"))
        return float((weights * values.double().square()).sum())

    return moment


def _maxout_second_moment(num_pieces: int) -> float:
    """Return E max(Z_1, ..., Z_k)^2; the maximum has the density k phi(z) Phi(z)^(k-1)."""
    nodes, weights = _normal_rule()
    density = num_pieces * weights * torch.special.ndtr(nodes) ** (num_pieces - 1)
    return float((density * nodes.square()).sum())


def _sampled_moment(module: nn.Module, width: int) -> _Moment:
    """Average over inputs whose columns are random permutations of the same normal quantiles.

    For an element-wise module this is quadrature. A module that mixes features gets independent
    features.
    """
    features = width * expansion(module)
    tensors = itertools.chain(module.parameters(), module.buffers())
    like = next(tensors, torch.empty(0, device="cpu"))
    if like.is_meta:
        cure = "call model.to_empty(device=...) first"
        raise ValueError(error_message("activation", "on a device other than meta", module, cure))
    rows = max(256, _SAMPLES // features)
    generator = torch.Generator("cpu").manual_seed(0)
    quantiles = (torch.arange(rows, dtype=torch.float64, device="cpu") + 0.5) / rows
    normal = torch.special.ndtri(quantiles)
    normal /= normal.square().mean().sqrt()
    order = torch.rand(features, rows, generator=generator, device="cpu").argsort(dim=1)
    inputs = normal[order].T.contiguous().to(like.device)
    probe = copy.deepcopy(module).eval().double()

    def moment(variance: float) -> float:
        with torch.no_grad():
            values: Tensor = probe(math.sqrt(variance) * inputs)
        return float(values.double().square().mean())

    return moment


def reset_linear_(
    linear: nn.Linear,
    *,
    preactivation_variance: float = 1.0,
    input_second_moment: float = 1.0,
    generator: torch.Generator | None = None,
) -> None:
    r"""Draw normal weights for a given variance of the pre-activations, and set the bias to zero.

    .. math:: W_{ij} \sim \mathcal N(0, t / (n q)), \qquad b = 0

    Args:
        linear: The layer, with n inputs; it is changed in place.
        preactivation_variance: Variance t of its outputs, above 0.
        input_second_moment: Second moment q of its inputs, above 0; 1 for standardized inputs.
        generator: Random number generator for the weights, on any device; None is torch's global
            generator.

    Raises:
        ValueError: If a variance is not above 0.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.nn import layer_scale, reset_linear_
        >>> layer = nn.Linear(1000, 1000)
        >>> variance = layer_scale("relu").preactivation_variance
        >>> generator = torch.Generator().manual_seed(0)
        >>> reset_linear_(layer, preactivation_variance=variance, generator=generator)
        >>> round(layer.weight.var().item(), 4)
        0.002
    """
    variance = check_float("preactivation_variance", preactivation_variance, above=0.0)
    moment = check_float("input_second_moment", input_second_moment, above=0.0)
    normal_(linear.weight, math.sqrt(variance / (linear.in_features * moment)), generator)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
