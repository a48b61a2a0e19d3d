"""MLPOptions: the options of an MLP besides its widths, each checked and documented once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from mlpkit._checks import (
    check_bool,
    check_choice,
    check_float,
    check_probability,
    check_tuple,
    error_message,
    plain_scalar,
)
from mlpkit.nn.activations import Activation, check_activation

__all__ = ["InitName", "MLPOptions", "NormName", "check_options_fit", "keywords", "one_or_tuple"]

NormName: TypeAlias = Literal["batch", "layer", "rms"]
InitName: TypeAlias = Literal["auto", "torch"]

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MLPOptions:
    """The options of an :class:`MLP` besides its widths.

    :class:`MLP` takes the options as keyword arguments. :meth:`MLP.from_options` and
    :meth:`mlpkit.models.SoftmaxClassifier.for_data` take this object. :class:`MLPConfig` adds the
    widths.

    An activation is a name, an :class:`ActivationConfig`, a module instance, a module class or a
    factory. An instance is copied into each layer and never shared. A class is built with the
    defaults of its constructor, except that a parameter ``num_parameters`` gets the width of the
    layer: ``nn.ReLU`` equals ``"relu"``, and ``nn.PReLU`` has one slope per unit. A factory is
    called once for each layer with its width. If an activation takes k features per output
    feature, as Maxout does, the linear layer before it has k outputs per unit; see
    :func:`expansion`.

    Dropout acts on the input of a linear layer, never on the output of the network. The entry of
    ``dropout`` for a hidden layer acts where the output of that layer enters the next linear layer,
    so a skip connection and :meth:`MLP.features` see the output before dropout. The last entry acts
    on the input of the head; in a backbone, which has no head, it has no effect.

    With ``init="auto"`` the weights are normal, with the variance that preserves the second moment
    through the activation that follows (see :func:`layer_scale`), and the biases are zero. With
    ``residual`` the L - 1 layers that have a skip connection start at 1 / (L - 1) of that scale; if
    they have a norm, the weight of the norm starts at 1 / (L - 1) instead. With ``init="torch"``
    weights and biases are initialized as by :class:`torch.nn.Linear`.

    Args:
        activation: Activation of the hidden layers; one for all, or one for each.
        output_activation: Activation of the output; None for logits and for regression.
        norm: Normalization between each linear layer and its activation; None for none.
        dropout: Probability in [0, 1) of zeroing the output of a hidden unit; one for all hidden
            layers, or one for each.
        input_dropout: Probability in [0, 1) of zeroing an input of the network.
        bias: Whether every linear layer, including the head, has a bias.
        residual: Whether hidden layers from the second on add their input to their output, which
            requires equal hidden widths.
        init: Initialization of the weights: for the activations in use, or as in torch.
        max_norm: Largest Euclidean norm of each row of a weight matrix, above 0, enforced after
            each optimizer step; None for no limit, as parametrized and pruned weights need.
        flatten: Whether all axes of the input but the first are flattened, for images.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a value is out of range.

    Example:
        >>> from mlpkit.nn import MLP, MLPOptions
        >>> options = MLPOptions(activation="maxout", dropout=0.5, input_dropout=0.2)
        >>> MLP.from_options(784, (240, 240), 10, options).layers[1]
        Dropout(0.5) -> Linear(240, 480) -> Maxout(num_pieces=2)

    References:
        Srivastava et al. (2014), Dropout, Journal of Machine Learning Research 15, section 4 and,
        for max-norm, section 5.1.
    """

    activation: Activation | tuple[Activation, ...] = "relu"
    output_activation: Activation | None = None
    norm: NormName | None = None
    dropout: float | tuple[float, ...] = 0.0
    input_dropout: float = 0.0
    bias: bool = True
    residual: bool = False
    init: InitName = "auto"
    max_norm: float | None = None
    flatten: bool = False

    def __post_init__(self) -> None:
        norm, max_norm = self.norm, self.max_norm
        checked: dict[str, object] = {
            "activation": _activations(self.activation),
            "output_activation": _output_activation(self.output_activation),
            "norm": None if norm is None else check_choice("norm", norm, get_args(NormName)),
            "dropout": _dropout(self.dropout),
            "input_dropout": _probability("input_dropout", self.input_dropout),
            "bias": check_bool("bias", self.bias),
            "residual": check_bool("residual", self.residual),
            "init": check_choice("init", self.init, get_args(InitName)),
            "max_norm": None
            if max_norm is None
            else check_float("max_norm", max_norm, above=0.0, cure="None for no limit"),
            "flatten": check_bool("flatten", self.flatten),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def keywords(options: MLPOptions) -> dict[str, Any]:
    """Return the options as keyword arguments of MLP; the fields of a subclass are left out."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(MLPOptions)}


def one_or_tuple(value: _Value | Sequence[_Value]) -> _Value | tuple[_Value, ...]:
    """Return a sequence as a tuple, and a single value (a string is one) as it is."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return value


def check_options_fit(
    options: MLPOptions, hidden_features: tuple[int, ...], out_features: int | None
) -> None:
    """Raise unless the options fit the widths: lengths, equal widths, an output to act on."""
    depth = len(hidden_features)
    _check_length("activation", options.activation, depth)
    if options.output_activation is not None and out_features is None:
        cure = "a backbone has no output layer; set the activation of its last hidden layer"
        rule = "None if out_features is None"
        raise ValueError(error_message("output_activation", rule, options.output_activation, cure))
    dropout = options.dropout
    _check_length("dropout", dropout, depth)
    if isinstance(dropout, tuple) and depth and out_features is None and dropout[-1] != 0.0:
        rule = "0 if out_features is None"
        cure = "a backbone has no dropout on its output; add it to the module that follows"
        raise ValueError(error_message(f"dropout[{depth - 1}]", rule, dropout[-1], cure))
    if options.residual and len(set(hidden_features)) > 1:
        rule = "of equal widths if residual is True"
        cure = "make them equal, or pass residual=False"
        raise ValueError(error_message("hidden_features", rule, hidden_features, cure))


def _check_length(argument: str, value: object, depth: int) -> None:
    """Raise if ``value`` is a tuple without exactly one item for each hidden layer."""
    if isinstance(value, tuple) and len(value) != depth:
        rule = f"one value or a sequence of {depth}, one for each hidden layer"
        raise ValueError(error_message(argument, rule, list(value)))


def _activations(value: object) -> Activation | tuple[Activation, ...]:
    """Return one checked activation, or a tuple of them."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(
            check_activation(f"activation[{index}]", item) for index, item in enumerate(value)
        )
    return check_activation("activation", value)


def _output_activation(value: object) -> Activation | None:
    if value is None:
        return None
    if isinstance(value, str) and value.lower().replace("_", "") in ("softmax", "logsoftmax"):
        cure = "the softmax is part of the loss, so the network returns logits"
        raise ValueError(error_message("output_activation", "None for a classifier", value, cure))
    return check_activation("output_activation", value)


def _dropout(value: object) -> float | tuple[float, ...]:
    """Return one checked probability, or a tuple of them."""
    is_array = getattr(value, "ndim", 0) == 1  # of NumPy or torch
    if isinstance(value, str) or not (is_array or isinstance(value, Sequence)):
        return _probability("dropout", value)
    rule = "a probability, or one for each hidden layer"
    return check_tuple("dropout", value, _probability, rule=rule)


def _probability(argument: str, value: object) -> float:
    cure = "it is the probability of zeroing, and 1 would zero everything"
    scalar = plain_scalar(value)
    is_one = isinstance(scalar, int | float) and scalar == 1
    return check_probability(argument, value, cure=cure if is_one else None)
