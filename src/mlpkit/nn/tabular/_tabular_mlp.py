"""TabularMLP: an MLP behind the embedding of the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from mlpkit._checks import check_bool, check_float, error_message
from mlpkit._protocols import ParamGroup
from mlpkit.nn._draw import normal_
from mlpkit.nn._hidden_layer import HiddenLayers
from mlpkit.nn._mlp import MLP
from mlpkit.nn._options import MLPOptions
from mlpkit.nn._summary import Summary, SummaryRow
from mlpkit.nn.tabular._feature_embedding import FeatureEmbedding, NumberEmbedding
from mlpkit.nn.tabular._input_checks import device_for
from mlpkit.nn.tabular._tabular_config import TabularMLPConfig

__all__ = ["TabularMLP"]

_BIAS_LR_FACTOR = 0.1
_FEWEST_EMBEDDED = 500  # examples, from which the function of a number can be learned


class TabularMLP(nn.Module):
    r"""An MLP behind the embedding of the columns of a table.

    .. math:: y = \mathrm{MLP}(\mathrm{embed}(x))

    Inputs are numbers in their units and codes of categories: the embedding scales them, so they
    are not standardized before. :meth:`for_data` builds one for training inputs, and
    ``SoftmaxClassifier.for_data(train, preset="tabular")`` a classifier with its options.

    With ``scaled_rates`` a weight matrix with :math:`D` inputs has the learning rate
    :math:`\eta / \sqrt{D}`, a bias :math:`0.1\, \eta`, and the embedding :math:`\eta` times the
    factors of its layers. Adam then makes the steps that it makes with :math:`\eta` in the neural
    tangent parametrization, whose weights have variance 1 and are divided by :math:`\sqrt{D}`.
    The weight decay :math:`\lambda` of a matrix is :math:`\lambda \sqrt{D}`, so that AdamW, which
    multiplies it by the learning rate, subtracts :math:`\eta \lambda W`.

    Args:
        embedding: The embedding of the features.
        mlp: The MLP, which has as many inputs as the embedding has outputs.
        scaled_rates: Whether each layer of the MLP has its own learning rate, as above.

    Shape:
        - Input: :math:`(*, F)` with F equal to ``in_features``.
        - Output: :math:`(*, C)` with C equal to ``out_features``.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the MLP does not fit the embedding; in ``forward``, if the size of the last
            axis is not F.

    Example:
        >>> import torch
        >>> from mlpkit.nn import TabularMLP
        >>> rows = torch.tensor([[20.0, 0.0, 7.0], [30.0, 1.0, 12.0], [55.0, 2.0, 0.0]])
        >>> network = TabularMLP.for_data(rows, (0, 3, 50), (64, 64), 2)
        >>> network.in_features, network.mlp.in_features, network(rows).shape
        (3, 12, torch.Size([3, 2]))

    References:
        Jacot, Gabriel, Hongler (2018), Neural Tangent Kernel, arXiv:1806.07572, section 3.
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and
        Boosted Trees on Tabular Data, arXiv:2407.04491, section 3.
    """

    def __init__(self, embedding: FeatureEmbedding, mlp: MLP, *, scaled_rates: bool = True) -> None:
        for name, value, kind in (
            ("embedding", embedding, FeatureEmbedding),
            ("mlp", mlp, MLP),
        ):
            if not isinstance(value, kind):
                raise TypeError(error_message(name, f"an mlpkit.nn.{kind.__name__}", value))
        if mlp.in_features != embedding.out_features:
            rule = f"an MLP with {embedding.out_features} inputs, as the embedding has outputs"
            raise ValueError(error_message("mlp", rule, mlp.in_features))
        super().__init__()
        self.embedding = embedding
        self.mlp = mlp
        self.scaled_rates = check_bool("scaled_rates", scaled_rates)

    @classmethod
    def for_data(
        cls,
        inputs: Tensor,
        num_categories: Sequence[int] | None,
        hidden_features: Sequence[int],
        out_features: int,
        options: MLPOptions | None = None,
        *,
        numbers: NumberEmbedding | None = None,
        generator: torch.Generator | None = None,
    ) -> Self:
        """Return a network for training inputs, from which medians and quantiles are taken.

        The biases of the hidden layers are standard normal, and the weights of the head are 0, so
        the first steps do not have to undo random outputs.

        Args:
            inputs: The training inputs, ``(N, F)``, finite.
            num_categories: Number of categories of each feature, 0 for a number; None means
                numbers only. ``TableEncoder.num_categories`` has them.
            hidden_features: Output width of each hidden layer, at least 1.
            out_features: Number of outputs, at least 1.
            options: The options of the MLP; None is ``MLPOptions()``.
            numbers: How numbers are embedded; see :class:`FeatureEmbedding`. None means
                ``"piecewise_linear"`` for 500 examples or more and ``"none"`` for fewer, which
                are not enough to learn a function of each number.
            generator: Random number generator for the parameters; None is torch's global generator.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is out of range.
        """
        if numbers is None:
            is_embedded = len(inputs) >= _FEWEST_EMBEDDED
            numbers = "piecewise_linear" if is_embedded else "none"
        embedding = FeatureEmbedding(inputs, num_categories, numbers=numbers, generator=generator)
        mlp = MLP.from_options(
            embedding.out_features,
            hidden_features,
            out_features,
            MLPOptions() if options is None else options,
            generator=generator,
        )
        network = cls(embedding, mlp)
        network._reset_biases_and_head(generator)
        return network.to(device_for(inputs))

    @classmethod
    def from_config(
        cls,
        config: TabularMLPConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Build the network that a configuration describes, for a ``state_dict`` to be loaded.

        Its statistics are those of made-up inputs, as its weights are random.

        Args:
            config: The architecture.
            device: Device of the network; None is torch's default device.
            dtype: Floating dtype of the network; None is torch's default dtype.
        """
        with torch.device("cpu"):  # as many quantiles need values
            numbers = torch.arange(config.num_pieces + 1.0)
            embedding = FeatureEmbedding(
                numbers[:, None].expand(-1, len(config.num_categories)),
                config.num_categories,
                numbers=config.numbers,
                num_pieces=config.num_pieces,
                max_one_hot=config.max_one_hot,
                embedding_dim=config.embedding_dim,
            )
        mlp = MLP.from_config(config.mlp, device=device, dtype=dtype)
        like = next(mlp.parameters())
        return cls(embedding.to(like.device, like.dtype), mlp, scaled_rates=config.scaled_rates)

    @property
    def config(self) -> TabularMLPConfig:
        """The configuration that builds a network like this one.

        Raises:
            ConfigError: If the class of an activation has no name.
        """
        embedding = self.embedding
        return TabularMLPConfig(
            num_categories=embedding.num_categories,
            mlp=self.mlp.config,
            numbers=embedding.numbers,
            num_pieces=embedding.num_pieces,
            max_one_hot=embedding.max_one_hot,
            embedding_dim=embedding.embedding_dim,
            scaled_rates=self.scaled_rates,
        )

    @property
    def in_features(self) -> int:
        """Number of features."""
        return self.embedding.num_features

    @property
    def hidden_features(self) -> tuple[int, ...]:
        """Output width of each hidden layer."""
        return self.mlp.hidden_features

    @property
    def out_features(self) -> int | None:
        """Number of outputs; None for a backbone."""
        return self.mlp.out_features

    @property
    def layers(self) -> HiddenLayers:
        """The hidden layers of the MLP."""
        return self.mlp.layers

    @property
    def head(self) -> nn.Linear | None:
        """The head of the MLP; None for a backbone."""
        return self.mlp.head

    @property
    def num_parameters(self) -> int:
        """Number of learnable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def max_norm(self) -> float | None:
        """Largest Euclidean norm of the weights into one linear output; None for no limit."""
        return self.mlp.max_norm

    def apply_max_norm_(self) -> None:
        """Scale weights of the MLP down to ``max_norm``; see :meth:`MLP.apply_max_norm_`."""
        self.mlp.apply_max_norm_()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters as :meth:`for_data` does; the statistics of the inputs stay.

        Args:
            generator: Random number generator for the parameters; None is torch's global generator.
        """
        self.embedding.reset_parameters(generator)
        self.mlp.reset_parameters(generator)
        self._reset_biases_and_head(generator)

    def _reset_biases_and_head(self, generator: torch.Generator | None) -> None:
        for layer in self.layers:
            if layer.linear.bias is not None:
                normal_(layer.linear.bias, 1.0, generator)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the MLP for raw inputs."""
        return self.mlp(self.embedding(x))

    def summary(self) -> Summary:
        """Return a table with the embedding and the layers of the MLP."""
        embedding = self.embedding
        row = SummaryRow(
            name="embedding",
            operations=f"FeatureEmbedding({embedding.num_features} features)",
            output_features=embedding.out_features,
            num_parameters=sum(parameter.numel() for parameter in embedding.parameters()),
        )
        return Summary(rows=(row, *self.mlp.summary().rows))

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        """Return the parameter groups, with a learning rate for each layer if they are scaled.

        Weight decay applies to the weights of the linear layers only.

        Args:
            weight_decay: Weight decay of these weights, at least 0.
        """
        decay = check_float("weight_decay", weight_decay, minimum=0.0)
        groups = self.embedding.param_groups(decay)
        if not self.scaled_rates:
            return groups + self.mlp.param_groups(decay)
        rest = dict.fromkeys(self.mlp.parameters())
        for module in self.mlp.modules():
            if isinstance(module, nn.Linear):
                factor = 1 / math.sqrt(module.in_features)
                for name, value in module.named_parameters():
                    of_weight = (decay / factor, factor)
                    own, rate = of_weight if "bias" not in name else (0.0, _BIAS_LR_FACTOR)
                    groups.append(ParamGroup([value], weight_decay=own, lr_factor=rate))
                    del rest[value]
        return groups + ([ParamGroup(rest, weight_decay=0.0)] if rest else [])

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...
