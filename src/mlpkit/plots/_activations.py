"""Activation functions and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.nn import ActivationConfig, ActivationName, build_activation, expansion
from mlpkit.plots._style import Appearance, Look, add_legend, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["activation_functions"]

_COLUMNS = 4
_LIMIT = 4.0
_POINTS = 801

_FORMULAS: Mapping[ActivationName, str] = {
    "elu": r"$z$ or $\alpha\,(e^z - 1)$",
    "gelu": r"$z\,\Phi(z)$",
    "identity": r"$z$",
    "leaky_relu": r"$\max(a z,\, z)$, $a$ small",
    "maxout": r"$\max_k\,(w_k x + b_k)$, learned",
    "mish": r"$z \tanh(\ln(1 + e^z))$",
    "prelu": r"$\max(0, z) + a\,\min(0, z)$, $a$ learned",
    "relu": r"$\max(0,\, z)$",
    "selu": r"$\lambda$ ELU$(z)$",
    "sigmoid": r"$1\,/\,(1 + e^{-z})$",
    "silu": r"$z\,\sigma(z)$",
    "softplus": r"$\ln(1 + e^z)$",
    "tanh": r"$\tanh z$",
}


def activation_functions(
    names: Sequence[ActivationName | ActivationConfig] = (
        "sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "prelu",
        "maxout",
        "elu",
    ),
    *,
    appearance: Appearance = "light",
) -> Figure:
    """Plot activation functions and their derivatives, computed by autograd.

    Maxout is the maximum of its pieces, which are plotted as thin lines. The pieces of a network
    are learned; the plot uses tangents of a parabola as an example. A gated unit gets the same
    value at its two inputs.

    Args:
        names: Activations as names or configurations.
        appearance: ``"light"`` or ``"dark"`` background.

    Raises:
        TypeError: If ``names`` contains something else.
        ValueError: If ``names`` is empty or contains an unknown name.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> from mlpkit.plots import activation_functions
        >>> figure = activation_functions(("relu", "tanh"))
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['relu', 'tanh']

    References:
        He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers, figure 1 (PReLU). Goodfellow
        et al. (2013), Maxout Networks, figure 1 (pieces that touch a parabola).
    """
    if isinstance(names, str) or not names:
        raise ValueError(error_message("names", "a sequence of at least one activation", names))
    given: Sequence[object] = names
    for name in given:
        if not isinstance(name, str | ActivationConfig):
            rule = "names of activations or instances of ActivationConfig"
            raise TypeError(error_message("names", rule, name))
    configs = [ActivationConfig(name) if isinstance(name, str) else name for name in names]
    columns = min(_COLUMNS, len(configs))
    rows = math.ceil(len(configs) / columns)
    figure, look = new_figure(2.6 * columns + 0.2, 2.55 * rows + 0.4, appearance)
    grid = figure.add_gridspec(rows, columns)
    for index, config in enumerate(configs):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        _panel(axes, config, look)
    add_legend(figure, look, figure.axes[0].get_lines()[-2:], ("value", "derivative"), columns=2)
    return figure


def _panel(axes: Axes, config: ActivationConfig, look: Look) -> None:
    """Plot one activation: the pieces of Maxout, then value and derivative."""
    x = torch.linspace(-_LIMIT, _LIMIT, _POINTS, dtype=torch.float64)
    inputs, value, derivative = _values(config, x)
    axes.axhline(0, color=look.quiet, linewidth=0.8)
    axes.axvline(0, color=look.quiet, linewidth=0.8)
    if config.name == "maxout":
        for piece in inputs.T:
            axes.plot(x.tolist(), piece.tolist(), color=look.quiet, linewidth=0.9, alpha=0.7)
    axes.plot(x.tolist(), value.tolist(), color=look.series[0], linewidth=2.2)
    axes.plot(x.tolist(), derivative.tolist(), "--", color=look.series[1], linewidth=1.6)
    axes.set_xlim(-_LIMIT, _LIMIT)
    axes.set_ylim(-1.6, 2.6)
    axes.set_xlabel(_FORMULAS.get(config.name, ""))
    style_axes(axes, look, title=config.name)


def _values(config: ActivationConfig, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inputs, ``(n, pieces)``, the values and their derivatives with respect to x."""
    activation = build_activation(config, 1, dtype=torch.float64).eval()
    leaf = x.clone().requires_grad_()
    pieces = expansion(activation)
    if config.name == "maxout":
        points = torch.linspace(-1.4, 1.8, pieces, dtype=torch.float64) if pieces > 1 else x[:1]
        # tangents of x^2 / 5 - 0.3 at these points
        inputs = 0.4 * points * leaf[:, None] - points.square() / 5 - 0.3
    else:
        inputs = leaf[:, None].expand(-1, pieces)
    value: Tensor = activation(inputs).squeeze(1)
    (derivative,) = (
        torch.autograd.grad(value.sum(), leaf) if value.requires_grad else (torch.zeros_like(x),)
    )
    return inputs.detach(), value.detach(), derivative
