"""MLP: the multilayer perceptron."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from mlpkit._checks import check_float, error_message
from mlpkit._protocols import ParamGroup
from mlpkit.nn._build import (
    FactoryKwargs,
    build_head,
    build_layers,
    check_generator,
    each_activation,
)
from mlpkit.nn._config import MLPConfig, NamedActivation, config_of
from mlpkit.nn._hidden_layer import HiddenLayers
from mlpkit.nn._input_errors import check_fits_weight, input_type_error
from mlpkit.nn._options import InitName, MLPOptions, NormName, keywords, one_or_tuple
from mlpkit.nn._reset import check_no_shared_parameters, reset_linears, reset_module
from mlpkit.nn._summary import Summary, summarize
from mlpkit.nn.activations import Activation, ActivationConfig, activation_config

__all__ = ["MLP"]


class MLP(nn.Module):
    r"""Multilayer perceptron: hidden layers of the same kind, followed by a linear head.

    .. math::
        h_0 &= x \\
        h_l &= \phi_l(\mathrm{norm}(W_l \, \mathrm{dropout}(h_{l-1}) + b_l)) \; (+ \; h_{l-1}),
        \qquad l = 1, \dots, L \\
        y &= \phi_\mathrm{out}(W_\mathrm{head} \, \mathrm{dropout}(h_L) + b_\mathrm{head})

    A hidden layer consists of dropout, linear, norm and activation, and with ``residual`` it has a
    skip connection around the four. The output has no activation unless ``output_activation`` is
    given: a classifier returns logits, and the softmax is part of the loss.

    The options, from ``activation`` to ``flatten``, are documented in :class:`MLPOptions`. For one
    value per hidden layer, ``activation`` and ``dropout`` take any sequence.

    The keys of ``state_dict`` do not depend on the options, except that a tensor which the network
    does not have has no key: ``layers.0.linear.weight``, ``layers.0.norm.weight``,
    ``layers.0.activation.weight``, ``head.weight``, ``output_activation.weight`` and so on.

    To compile or export a network, use :func:`torch.compile` and :func:`torch.export.export`.
    :func:`torch.fx.symbolic_trace` and :func:`torch.jit.trace` work in evaluation mode; a symbolic
    trace omits the checks of the input. :func:`torch.jit.script` is not supported.

    Args:
        in_features: Size of the last axis of the input, at least 1.
        hidden_features: Output width of each hidden layer, after its activation, at least 1; empty
            for a linear model.
        out_features: Number of outputs, at least 1; None for a backbone, which has no head and
            returns the output of the last hidden layer.
        device: Device of the parameters; None is torch's default device.
        dtype: Floating dtype of the parameters; None is torch's default dtype.
        generator: Random number generator for the weights; None is torch's global generator.

    Shape:
        - Input: :math:`(*, D)` with D equal to ``in_features``; with ``flatten`` :math:`(N, *)`
          with D values per example, or one example :math:`(D,)`.
        - Output: :math:`(*, C)` with C equal to ``out_features`` or, for a backbone, to the last
          of ``hidden_features``; with ``flatten`` :math:`(N, C)`.

    Raises:
        TypeError: If an argument has the wrong type; in ``forward``, if the input is not a dense
            floating tensor of the dtype of the network. Under autocast other dtypes are accepted.
        ValueError: If an argument is out of range or does not fit the others; in ``forward``, if
            the size of the last axis of the input is not ``in_features``, or the input is on
            another device than the network.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP
        >>> model = MLP(6, (4, 3), 1)
        >>> model.num_parameters
        47
        >>> model(torch.zeros(5, 6)).shape
        torch.Size([5, 1])
        >>> maxout = MLP(784, (240, 240), 10, activation="maxout", dropout=0.5, input_dropout=0.2)
        >>> maxout.layers[1]
        Dropout(0.5) -> Linear(240, 480) -> Maxout(num_pieces=2)

    References:
        Goodfellow, Bengio, Courville (2016), Deep Learning, chapter 6.
    """

    in_features: int
    hidden_features: tuple[int, ...]
    out_features: int | None
    residual: bool
    init: InitName
    max_norm: float | None
    flatten: bool
    layers: HiddenLayers
    head_dropout: nn.Dropout
    head: nn.Linear | None
    output_activation: nn.Module | None

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int],
        out_features: int | None,
        *,
        activation: Activation | Sequence[Activation] = "relu",
        output_activation: Activation | None = None,
        norm: NormName | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        bias: bool = True,
        residual: bool = False,
        init: InitName = "auto",
        max_norm: float | None = None,
        flatten: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        options = MLPOptions(
            activation=one_or_tuple(activation),
            output_activation=output_activation,
            norm=norm,
            dropout=one_or_tuple(dropout),
            input_dropout=input_dropout,
            bias=bias,
            residual=residual,
            init=init,
            max_norm=max_norm,
            flatten=flatten,
        )
        config = config_of(in_features, hidden_features, out_features, options)
        factory_kwargs = FactoryKwargs(device, dtype)
        factory_kwargs.check()
        check_generator(generator)
        self._config = config
        self.in_features = config.in_features
        self.hidden_features = config.hidden_features
        self.out_features = config.out_features
        self.residual = config.residual
        self.init = config.init
        self.max_norm = config.max_norm
        self.flatten = config.flatten
        activations = each_activation(options.activation, len(config.hidden_features))
        self.layers = HiddenLayers(build_layers(config, activations, factory_kwargs))
        last = None
        if options.output_activation is not None and config.out_features is not None:
            last = factory_kwargs.activation(
                "output_activation", options.output_activation, config.out_features
            )
        self.head_dropout, self.head = build_head(config, last, factory_kwargs)
        self.output_activation = last
        check_no_shared_parameters(dict(self.named_activations()))
        reset_linears(self.layers, self.head, init=self.init, generator=generator)

    @classmethod
    def from_options(
        cls,
        in_features: int,
        hidden_features: Sequence[int],
        out_features: int | None,
        options: MLPOptions,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Build a network from its widths and one object with all options.

        Args:
            in_features: Size of the last axis of the input, at least 1.
            hidden_features: Output width of each hidden layer, at least 1.
            out_features: Number of outputs, at least 1; None for a backbone.
            options: The options.
            device: Device of the parameters; None is torch's default device.
            dtype: Floating dtype of the parameters; None is torch's default dtype.
            generator: Random number generator for the weights; None is torch's global generator.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is out of range or does not fit the others.

        Example:
            >>> from mlpkit.nn import MLP, MLPOptions
            >>> MLP.from_options(6, (4, 3), 1, MLPOptions(norm="batch")).layers[0]
            Linear(6, 4) -> BatchNorm -> ReLU()
        """
        given: object = options
        if not isinstance(given, MLPOptions):
            cure = "MLPOptions(activation=...) makes one"
            raise TypeError(error_message("options", "an MLPOptions", given, cure))
        return cls(
            in_features,
            hidden_features,
            out_features,
            device=device,
            dtype=dtype,
            generator=generator,
            **keywords(options),
        )

    @classmethod
    def from_config(
        cls,
        config: MLPConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Build the network that a configuration describes, with new weights.

        Args:
            config: The widths and options.
            device: Device of the parameters; None is torch's default device.
            dtype: Floating dtype of the parameters; None is torch's default dtype.
            generator: Random number generator for the weights; None is torch's global generator.

        Example:
            >>> from mlpkit.nn import MLP, MLPConfig
            >>> config = MLPConfig(in_features=6, hidden_features=(4, 3), out_features=1)
            >>> MLP.from_config(config).config == config
            True
        """
        return cls.from_options(
            config.in_features,
            config.hidden_features,
            config.out_features,
            config,
            device=device,
            dtype=dtype,
            generator=generator,
        )

    @property
    def config(self) -> MLPConfig:
        """The configuration that builds a network like this one.

        Raises:
            ConfigError: If the class of an activation has no name.
        """
        # read from the modules, since an activation may have been replaced
        named = tuple(activation_config(layer.activation) for layer in self.layers)
        output = self.output_activation
        last = None if output is None else activation_config(output)
        given = self._config.activation
        each = given if isinstance(given, tuple) else (given,) * len(named)
        built = tuple(map(_as_built, each, self.hidden_features))
        if named == built and last == _as_built(self._config.output_activation, self.out_features):
            return self._config  # keeps a name as a name
        return dataclasses.replace(
            self._config,
            activation=named[0] if len(set(named)) == 1 else named or self._config.activation,
            output_activation=last,
        )

    @property
    def num_parameters(self) -> int:
        """Number of learnable parameters of the network."""
        return sum(parameter.numel() for parameter in self.parameters())

    def features(self, x: Tensor) -> Tensor:
        """Return the output of the last hidden layer, before the dropout of the head.

        Without hidden layers that is the input, flattened if ``flatten`` is True.

        Args:
            x: The input, as for ``forward``.

        Raises:
            TypeError: If ``x`` is not a dense floating tensor of the dtype of the network.
            ValueError: If the size of its last axis is not ``in_features``, or it is on another
                device than the network.
        """
        h = self._validate_input(x)
        try:
            for layer in self.layers:
                h = layer(h)
        except RuntimeError as error:
            check_fits_weight(x, self._first_weight(), cause=error)
            raise
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the network: logits, unless ``output_activation`` is given."""
        h = self.features(x)
        if self.head is None:
            return h
        try:
            y: Tensor = self.head(self.head_dropout(h))
        except RuntimeError as error:
            check_fits_weight(x, self._first_weight(), cause=error)
            raise
        return y if self.output_activation is None else self.output_activation(y)

    def summary(self) -> Summary:
        """Return a table of the layers with their output widths and numbers of parameters.

        Example:
            >>> from mlpkit.nn import MLP
            >>> print(MLP(6, (4, 3), 1).summary())
            layer     operations              output  parameters
            layers.0  Linear(6, 4) -> ReLU()       4          28
            layers.1  Linear(4, 3) -> ReLU()       3          15
            head      Linear(3, 1)                 1           4
            total                                             47
        """
        return summarize(
            self.layers, self.head, self.output_activation, head_dropout=self.head_dropout.p
        )

    def named_activations(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the name and the module of every activation; that of the output comes last."""
        for index, layer in enumerate(self.layers):
            yield f"layers.{index}.activation", layer.activation
        if self.output_activation is not None:
            yield "output_activation", self.output_activation

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the parameters in two groups for an optimizer: with and without weight decay.

        Weight decay applies to the weights of the linear layers. It does not apply to biases, norms
        and the parameters of activations: it would pull the slopes of PReLU towards 0, which is
        ReLU. For a pruned or parametrized weight it applies to the parameters from which the weight
        is computed, as in torch. This shrinks a weight with pruning or ``weight_norm``; it pulls
        one with ``orthogonal`` to a fixed orthogonal matrix, and does not change the norm of one
        with ``spectral_norm``.

        Args:
            weight_decay: Weight decay of the weights of the linear layers, at least 0.

        Raises:
            TypeError: If ``weight_decay`` is not a number.
            ValueError: If ``weight_decay`` is negative or not finite.

        Example:
            >>> import torch
            >>> from mlpkit.nn import MLP
            >>> model = MLP(6, (4, 3), 1, activation="prelu")
            >>> optimizer = torch.optim.AdamW(model.param_groups(weight_decay=0.01), lr=1e-3)
            >>> [len(group["params"]) for group in optimizer.param_groups]
            [3, 5]
        """
        decay = check_float("weight_decay", weight_decay, minimum=0.0)
        roles = {
            id(parameter)
            for linear in self._linears()
            for name, parameter in linear.named_parameters()
            if "bias" not in name  # its weight, or those from which the weight is computed
        }
        weights = [found for found in self.parameters() if id(found) in roles]
        others = [found for found in self.parameters() if id(found) not in roles]
        groups = [ParamGroup(weights, weight_decay=decay)]
        if others:
            groups.append(ParamGroup(others, weight_decay=0.0))
        return groups if weights else groups[1:]

    @torch.no_grad()
    def apply_max_norm_(self) -> None:
        """Scale down, in place, each row of a weight matrix whose norm exceeds ``max_norm``.

        Call it after each optimizer step; :class:`mlpkit.training.Trainer` does. The rows of the
        head are included, biases are not, and each piece of a Maxout unit is a row. If ``max_norm``
        is None, this does nothing.

        Raises:
            ValueError: If a weight is parametrized or pruned: it is computed from others.
        """
        if self.max_norm is None:
            return
        for linear in self._linears():
            if not isinstance(linear.weight, nn.Parameter):
                rule, cure = "None for parametrized or pruned weights", "make them parameters first"
                raise ValueError(error_message("max_norm", rule, self.max_norm, cure))  # noqa: TRY004 - of the option
            linear.weight.renorm_(p=2, dim=0, maxnorm=self.max_norm)  # each row

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Reset weights, biases, norms with their running statistics, and activations.

        Args:
            generator: Random number generator for the weights; None is torch's global generator.

        Raises:
            TypeError: If an activation has parameters or buffers and no ``reset_parameters``.
        """
        check_generator(generator)
        for name, activation in self.named_activations():
            reset_module(name, activation)
        for index, layer in enumerate(self.layers):
            if layer.norm is not None:
                reset_module(f"layers.{index}.norm", layer.norm)
        reset_linears(self.layers, self.head, init=self.init, generator=generator)

    def extra_repr(self) -> str:
        """Return the widths, and the options that differ from their defaults."""
        config = self._config
        shown = [str(config.in_features), str(config.hidden_features), str(config.out_features)]
        unshown = ("activation", "output_activation")
        for field in dataclasses.fields(config)[len(shown) :]:
            value = getattr(config, field.name)
            if field.name not in unshown and value != field.default:
                shown.append(f"{field.name}={value!r}")
        return ", ".join(shown)

    def _linears(self) -> list[nn.Linear]:
        head = [] if self.head is None else [self.head]
        return [*(layer.linear for layer in self.layers), *head]

    def _first_weight(self) -> object:
        """Return the weight of the first linear layer, which determines dtype and device."""
        return getattr(next(iter(self._linears()), None), "weight", None)

    def _validate_input(self, x: object) -> Tensor:
        """Return the checked input, flattened to (N, in_features) if ``flatten`` is True.

        Its dtype and device are compared with those of the weights only if a product fails, since
        autocast, sharded layers and quantized layers accept others.

        Raises:
            TypeError: If ``x`` is not a dense floating tensor.
            ValueError: If the size of its last axis is not ``in_features``.
        """
        if not isinstance(x, Tensor):
            if isinstance(x, Proxy):  # of torch.fx.symbolic_trace: no dtype and no shape
                return cast("Tensor", x.flatten(1) if self.flatten else x)
            raise input_type_error(x, self._first_weight())
        if x.layout is torch.jagged:
            # its rows have different sizes: they cannot be flattened, nor counted for batch norm
            is_dense = not self.flatten and self._config.norm != "batch"
        else:
            is_dense = x.layout is torch.strided and not x.is_nested
        if not (is_dense and x.is_floating_point()):
            raise input_type_error(x, self._first_weight())
        shape = tuple(x.shape)
        if self.flatten and x.ndim > 1:
            x = x.flatten(1)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            last = "all its axes but the first" if self.flatten else "its last axis"
            rule = f"a tensor with {self.in_features} features in {last}"
            fits = len(shape) > 1 and math.prod(shape[1:]) == self.in_features
            if fits and not self.flatten:
                raise ValueError(error_message("x", rule, shape, "pass flatten=True to MLP"))
            raise ValueError(error_message("x", rule, shape))
        return x

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


def _as_built(activation: NamedActivation | None, width: int | None) -> ActivationConfig | None:
    """Return the configuration that a built activation has: one unit has one shared slope."""
    config = ActivationConfig(activation) if isinstance(activation, str) else activation
    if config is not None and config.per_unit and width == 1:
        return dataclasses.replace(config, per_unit=False)
    return config
