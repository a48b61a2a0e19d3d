"""MLP: the multilayer perceptron."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message
from mlpkit._protocols import ParamGroup
from mlpkit.nn._build import (
    FactoryKwargs,
    build_head,
    build_layers,
    check_generator,
    each_activation,
    named_activation,
    named_activations,
    stored_dropout,
)
from mlpkit.nn._config import (
    InitName,
    MLPConfig,
    NamedActivation,
    NormName,
    check_has_output,
    widths,
)
from mlpkit.nn._hidden_layer import HiddenLayers
from mlpkit.nn._inference import apply_head, apply_layers, is_inference
from mlpkit.nn._reset import check_no_shared_parameters, reset_linears, reset_module
from mlpkit.nn._summary import Summary, summarize
from mlpkit.nn.activations import Activation, ActivationConfig, activation_config

__all__ = ["MLP"]


class MLP(nn.Module):
    r"""Multilayer perceptron: hidden layers of one shape, and a linear head.

    .. math::
        h_0 &= x \\
        h_l &= \phi_l(\mathrm{norm}(W_l \, \mathrm{dropout}(h_{l-1}) + b_l)) \; (+ \; h_{l-1}),
        \qquad l = 1, \dots, L \\
        y &= \phi_\mathrm{out}(W_\mathrm{head} \, \mathrm{dropout}(h_L) + b_\mathrm{head})

    A hidden layer is dropout, linear, norm, activation, and with ``residual`` a skip around the
    four. The output has no activation unless ``output_activation`` says so: a classifier returns
    logits, and its softmax is inside the loss.

    Dropout sits on the input of a linear layer, never after the output of the network.
    ``input_dropout`` zeroes inputs of the network; ``dropout`` zeroes what leaves a hidden layer,
    on the way into the next linear layer, be it hidden or the head. So ``dropout`` has one entry
    for each hidden layer, the entry belongs to the units of that layer, and a skip or
    :meth:`features` sees them all. The last one of a backbone, which has no head, does nothing.

    The keys of ``state_dict`` depend on no option, only the presence of a tensor does:
    ``layers.0.linear.weight``, ``layers.0.norm.weight``, ``layers.0.activation.weight``,
    ``head.weight``, ``output_activation.weight``, and the like.

    Args:
        in_features: Features in the last axis of the input, at least 1.
        hidden_features: What leaves each hidden layer, after its activation, first to last; empty
            for a linear model.
        out_features: Features of the output; None for a backbone, whose output is what leaves the
            last hidden layer.
        activation: The hidden non-linearity, one for all or one for each hidden layer: a name, an
            :class:`ActivationConfig`, an instance (copied into each layer, never shared), or a
            factory (called once for each layer with its width). One that takes several features
            for each that it gives (Maxout, gated units) says so by its ``expansion``, and the
            linear layer before it is so much wider.
        output_activation: Applied to what leaves the head; None for logits and for regression.
        norm: ``"batch"``, ``"layer"`` or ``"rms"`` normalization of the last axis between linear
            layer and activation; None for none.
        dropout: Probability in [0, 1) of zeroing what leaves a hidden layer on its way into the
            next linear layer, one for all or one for each hidden layer.
        input_dropout: Probability in [0, 1) of zeroing an input of the network.
        bias: Whether every linear layer, the head included, has a bias.
        residual: Whether each hidden layer from the second on adds its input to its output; all
            hidden widths must then be equal.
        init: ``"auto"``: weights from a normal distribution whose scale keeps the second moment
            through the activation that follows (1 for the head), biases zero; with ``residual``
            the L - 1 layers that have a skip start at 1 / (L - 1) of that scale, or of the scale of
            their norm where they have one. ``"torch"``: as :class:`torch.nn.Linear` starts.
        max_norm: Largest Euclidean norm, above 0, of the weights into one linear output (each
            piece of Maxout has its own), which :meth:`apply_max_norm_` enforces after a step; None
            for no limit.
        flatten: Whether the first axis counts examples and all others are flattened, so that
            images come in as they are. Without it all axes but the last are leading axes.
        device: Device of the parameters; None is torch's default device.
        dtype: Floating dtype of the parameters; None is torch's default dtype.
        generator: Draws the weights; None is torch's global generator.

    Shape:
        - Input: :math:`(*, D)` with D equal to ``in_features``; with ``flatten`` :math:`(N, *)`
          with D numbers for each example, or one example :math:`(D,)`.
        - Output: :math:`(*, C)`, with C equal to ``out_features`` or, for a backbone, to the last
          of ``hidden_features``; with ``flatten`` :math:`(N, C)`.

    Raises:
        TypeError: If an argument has the wrong type; in ``forward``, if the input is no floating
            tensor.
        ValueError: If an argument is out of range or does not fit the others; in ``forward``, if
            the last axis of the input does not have ``in_features`` features.

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
        Goodfellow, Bengio, Courville (2016), Deep Learning, chapter 6. Srivastava et al. (2014),
        Dropout, Journal of Machine Learning Research 15, section 4 and, for max-norm, section 5.1.
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
        hidden = widths("hidden_features", hidden_features)
        activations = each_activation(activation, len(hidden))
        check_has_output(output_activation, out_features)
        output = None if output_activation is None else named_activation(output_activation)
        config = MLPConfig(
            in_features=in_features,
            hidden_features=hidden,
            out_features=out_features,
            activation=named_activations(activation),
            output_activation=output,
            norm=norm,
            dropout=stored_dropout(dropout),
            input_dropout=input_dropout,
            bias=bias,
            residual=residual,
            init=init,
            max_norm=max_norm,
            flatten=flatten,
        )
        making = FactoryKwargs(device, dtype)
        making.check()
        check_generator(generator)
        self._config = config
        self.in_features = config.in_features
        self.hidden_features = config.hidden_features
        self.out_features = config.out_features
        self.residual = config.residual
        self.init = config.init
        self.max_norm = config.max_norm
        self.flatten = config.flatten
        self.layers = HiddenLayers(build_layers(config, activations, making))
        last = None
        if output_activation is not None and config.out_features is not None:
            last = making.activation("output_activation", output_activation, config.out_features)
        self.head_dropout, self.head = build_head(config, last, making)
        self.output_activation = last
        check_no_shared_parameters(dict(self.named_activations()))
        reset_linears(self.layers, self.head, init=self.init, generator=generator)

    @classmethod
    def from_config(
        cls,
        config: MLPConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Build the network that a configuration describes, with fresh weights.

        Args:
            config: What to build.
            device: Device of the parameters; None is torch's default device.
            dtype: Floating dtype of the parameters; None is torch's default dtype.
            generator: Draws the weights; None is torch's global generator.

        Example:
            >>> from mlpkit.nn import MLP, MLPConfig
            >>> config = MLPConfig(in_features=6, hidden_features=(4, 3), out_features=1)
            >>> MLP.from_config(config).config == config
            True
        """
        return cls(
            config.in_features,
            config.hidden_features,
            config.out_features,
            activation=config.activation,
            output_activation=config.output_activation,
            norm=config.norm,
            dropout=config.dropout,
            input_dropout=config.input_dropout,
            bias=config.bias,
            residual=config.residual,
            init=config.init,
            max_norm=config.max_norm,
            flatten=config.flatten,
            device=device,
            dtype=dtype,
            generator=generator,
        )

    @property
    def config(self) -> MLPConfig:
        """What builds a network like this one.

        Raises:
            ConfigError: If an activation is of a class that has no name.
        """
        # read off the modules, which somebody may have replaced
        named = tuple(activation_config(layer.activation) for layer in self.layers)
        output = self.output_activation
        last = None if output is None else activation_config(output)
        given = self._config.activation
        each = given if isinstance(given, tuple) else (given,) * len(named)
        spelled = self._config.output_activation
        if named == tuple(map(_as_config, each)) and last == _as_config(spelled):
            return self._config  # with each activation as it was spelled
        return dataclasses.replace(
            self._config,
            activation=named[0] if len(set(named)) == 1 else named or self._config.activation,
            output_activation=last,
        )

    @property
    def num_parameters(self) -> int:
        """Learnable parameters of the whole network."""
        return sum(parameter.numel() for parameter in self.parameters())

    def features(self, x: Tensor) -> Tensor:
        """Return what leaves the last hidden layer, before the dropout of the head.

        Without hidden layers that is the input, flattened where ``flatten`` says so.

        Args:
            x: The input, as for the network itself.

        Raises:
            TypeError: If ``x`` is no floating tensor.
            ValueError: If its last axis does not have ``in_features`` features.
        """
        h = self._validate_input(x)
        if is_inference(self):
            return apply_layers(self.layers, h)
        for layer in self.layers:
            h = layer(h)
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the network: logits, unless ``output_activation`` is given."""
        h = self.features(x)
        head = self.head
        if head is None:
            return h
        y: Tensor = (
            apply_head(self.head_dropout, head, h)
            if is_inference(self)
            else head(self.head_dropout(h))
        )
        return y if self.output_activation is None else self.output_activation(y)

    def summary(self) -> Summary:
        """Return a table of the layers with their output widths and parameters.

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

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the parameters in groups for an optimizer, by their role.

        The weights of the linear layers decay. Biases, norms and whatever an activation learns, a
        PReLU's slopes above all, do not: decay would pull them to a value that means something.

        Args:
            weight_decay: Weight decay of the group that decays, at least 0.

        Raises:
            TypeError: If ``weight_decay`` is no number.
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
        roles = {id(linear.weight) for linear in self._linears()}
        weights = [found for found in self.parameters() if id(found) in roles]
        others = [found for found in self.parameters() if id(found) not in roles]
        groups = [ParamGroup(weights, weight_decay=decay)]
        if others:
            groups.append(ParamGroup(others, weight_decay=0.0))
        return groups if weights else groups[1:]

    @torch.no_grad()
    def apply_max_norm_(self) -> None:
        """Scale down the weights into each linear output whose norm exceeds ``max_norm``.

        Call it after each step of the optimizer; :class:`mlpkit.training.Trainer` does. The head is
        included, biases are not, and every piece of Maxout has its own norm. With ``max_norm`` None
        it does nothing.
        """
        if self.max_norm is None:
            return
        for linear in self._linears():
            linear.weight.renorm_(p=2, dim=0, maxnorm=self.max_norm)  # rows of (outputs, inputs)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start anew: weights, biases, norms with their running statistics, and activations.

        Args:
            generator: Draws the weights; None is torch's global generator.

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
        """Return the arguments that are not the default."""
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

    def named_activations(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the name and the module of every activation, the output's as the last."""
        for index, layer in enumerate(self.layers):
            yield f"layers.{index}.activation", layer.activation
        if self.output_activation is not None:
            yield "output_activation", self.output_activation

    def _validate_input(self, x: object) -> Tensor:
        """Return the input with its features in the last axis.

        Args:
            x: What shall enter the network.

        Raises:
            TypeError: If ``x`` is no floating tensor.
            ValueError: If its last axis does not have ``in_features`` features.
        """
        if not isinstance(x, Tensor):
            rule = "a floating tensor"
            cure = "torch.as_tensor(x, dtype=torch.float32) makes one"
            raise TypeError(error_message("x", rule, x, cure))
        if not x.is_floating_point():
            cure = "convert it with x.float(), pixels with x.float() / 255"
            raise TypeError(error_message("x", "a floating tensor", x.dtype, cure))
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


def _as_config(activation: NamedActivation | None) -> ActivationConfig | None:
    return ActivationConfig(activation) if isinstance(activation, str) else activation
