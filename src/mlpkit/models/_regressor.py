"""A regressor with its preprocessing, which predicts in the units of its targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Self, cast

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_bool, error_message
from mlpkit._serialization import JSONValue
from mlpkit.data import LabeledTensors
from mlpkit.models._artifact import REGRESSOR, Artifact, Kind
from mlpkit.models._predictive_model import (
    PredictiveModel,
    build_network,
    check_names,
    check_train,
    measure,
)
from mlpkit.models._presets import NetworkPreset
from mlpkit.models._standardize import (
    Standardize,
    check_statistic,
    feature_mean_and_std,
)
from mlpkit.models._standardized_model import fast_buffer
from mlpkit.models._targets import check_target_shape, shaped
from mlpkit.nn import MLP, MLPOptions, TabularMLP
from mlpkit.training import (
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    ScaledTargets,
    Task,
)

__all__ = ["Regressor"]

_LARGEST_SPACING = 1e-3  # of neighboring floats, in standard deviations of a target


class Regressor(PredictiveModel):
    r"""A regressor: standardize raw inputs, apply a network, return predictions in original units.

    .. math::
        \hat{y} = \text{target\_std} \cdot f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr)
            + \text{target\_mean}

    The network predicts standardized targets, so that its weights and learning rate do not depend
    on the units of the targets. The model takes raw inputs and returns raw predictions; its loss
    and metrics need no conversion. It is trained with the squared error in standard deviations of
    the targets unless another objective is given; see :meth:`choose_objective`.

    With ``predicts_std`` the network has two outputs for each number :math:`y` of a target: the
    mean :math:`m` and the logarithm :math:`s` of the variance of a normal distribution, trained
    with :class:`mlpkit.training.GaussianNLL`. Both are converted to the original units,

    .. math:: s \leftarrow s + 2 \log \text{target\_std}.

    The methods that predict or evaluate compare the range of their inputs with that of the training
    inputs, and warn once of pixels in other units; a call of the model does not.

    Args:
        network: An :class:`mlpkit.nn.MLP` or :class:`mlpkit.nn.TabularMLP` with an output for each
            number of a target, or two with ``predicts_std``.
        target_mean: Added to the standardized prediction, in the units of the targets; one number,
            or one for each number of a target.
        target_std: Multiplies the standardized prediction, in the same units; positive.
        target_shape: Shape of the target of one example: ``()`` for one number, ``(D,)`` for D.
        predicts_std: Whether the network also predicts a variance for each number.
        target_names: Name of each number of a target, for the metrics; None for no names.
        mean: Subtracted from the raw input, in its units; one number, or one for each feature.
        std: Divides the difference, in the same units; positive.
        input_shape: Shape of one raw example, for instance ``(28, 28)``; None is
            ``(network.in_features,)``.

    Shape:
        - Input: as :class:`mlpkit.SoftmaxClassifier`.
        - Output: ``(N, *target_shape)``. With ``predicts_std`` ``(N, 2 D)`` for D numbers: all
          means, then all logarithms of variances. Without N for one example. Models in half
          precision return float32.

    Raises:
        TypeError: If ``network`` is no such network or ``target_names`` are no names.
        ValueError: If another argument is out of range or does not fit the network.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, Regressor
        >>> network = MLP(2, (), 1, generator=torch.Generator().manual_seed(0))
        >>> model = Regressor(network, target_mean=250_000.0, target_std=80_000.0)
        >>> prices = model.predict(torch.zeros(3, 2))
        >>> prices.shape, bool((prices > 100_000).all())
        (torch.Size([3]), True)

    References:
        Nix and Weigend 1994, Estimating the Mean and Variance of the Target Probability
        Distribution. Kendall and Gal 2017, What Uncertainties Do We Need in Bayesian Deep Learning
        for Computer Vision?, section 2.2. https://arxiv.org/abs/1703.04977
    """

    task: ClassVar[Task] = "regression"
    _kind: ClassVar[Kind] = REGRESSOR

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        network: MLP | TabularMLP,
        *,
        target_mean: float | Tensor = 0.0,
        target_std: float | Tensor = 1.0,
        target_shape: Sequence[int] = (),
        predicts_std: bool = False,
        target_names: Sequence[str] | None = None,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(network, mean=mean, std=std, input_shape=input_shape)
        self.predicts_std = check_bool("predicts_std", predicts_std)
        self.target_shape = check_target_shape(
            target_shape, network.out_features, 2 if self.predicts_std else 1
        )
        size = math.prod(self.target_shape)
        self.target_names = (
            None
            if target_names is None
            else check_names("target_names", target_names, size, "a target has numbers")
        )
        weight = next(network.parameters())
        like = weight.new_empty((), dtype=torch.promote_types(weight.dtype, torch.float32))
        for name, value in (("target_mean", target_mean), ("target_std", target_std)):
            checked = check_statistic(name, value, size, like, each="numbers of a target")
            # One for each, as in the file.
            self.register_buffer(name, checked if checked.ndim else checked.repeat(size))

    @classmethod
    def for_data(
        cls,
        train: LabeledTensors,
        hidden_features: Sequence[int] | None = None,
        options: MLPOptions | None = None,
        *,
        predicts_std: bool = False,
        preset: NetworkPreset = "mlp",
        standardize: Standardize | None = "auto",
        generator: torch.Generator | None = None,
    ) -> Self:
        """Return an untrained regressor for a data set.

        The input shape, and the mean and standard deviation of the training inputs and of each
        number of the targets are taken from the data; so are the names of the targets, which are
        ``train.classes``. A constant number of a target has standard deviation 1.

        Args:
            train: The training examples. The targets are floating-point, ``(N,)`` or ``(N, ...)``.
            hidden_features: Output width of each hidden layer, at least 1; empty for a linear
                model; None is ``(512, 256)``, or ``(128, 64)`` for fewer than 10,000 examples.
            options: The options of the network; None is ``MLPOptions(dropout=0.1)``.
            predicts_std: Whether the model also predicts a standard deviation for each prediction.
            preset: ``"mlp"`` or ``"tabular"``; see :meth:`mlpkit.SoftmaxClassifier.for_data`.
            standardize: How the inputs are standardized; see
                :meth:`mlpkit.SoftmaxClassifier.for_data`.
            generator: Random number generator for the weights; None is torch's global generator.

        Raises:
            TypeError: If ``train`` is not ``LabeledTensors`` or its targets are class indices.
            ValueError: If an argument is out of range, or targets are so large that the dtype of
                the weights cannot distinguish them.

        Example:
            >>> import torch
            >>> from mlpkit import Regressor
            >>> from mlpkit.data import LabeledTensors
            >>> x = torch.linspace(0, 100, 11)[:, None]
            >>> model = Regressor.for_data(LabeledTensors(x, 3 * x.squeeze(1) + 1000), (8,))
            >>> float(model.target_mean), float(model.mean)
            (1150.0, 50.0)
        """
        targets = _check_targets(check_train(train))
        size = math.prod(targets.shape[1:])
        network = build_network(
            train,
            2 * size if check_bool("predicts_std", predicts_std) else size,
            "regression",
            hidden_features,
            options,
            preset,
            generator,
        )
        return cls.with_network(network, train, predicts_std=predicts_std, standardize=standardize)

    @classmethod
    def with_network(
        cls,
        network: MLP | TabularMLP,
        train: LabeledTensors,
        *,
        predicts_std: bool = False,
        standardize: Standardize | None = "auto",
    ) -> Self:
        """Return a regressor of a network with the preprocessing of a data set.

        Args:
            network: An MLP or a TabularMLP with an input for each value of an example, and an
                output for each number of a target, or two with ``predicts_std``.
            train: The training examples; see :meth:`for_data`.
            predicts_std: Whether the model also predicts a standard deviation for each prediction.
            standardize: How the inputs are standardized; see
                :meth:`mlpkit.SoftmaxClassifier.for_data`.

        Raises:
            TypeError: If ``train`` is not ``LabeledTensors`` or its targets are class indices.
            ValueError: If the network does not fit the data, or as in :meth:`for_data`.
        """
        targets = _check_targets(check_train(train))
        mean, std, shape = measure(network, train, standardize)
        target_mean, target_std = _measure_targets(targets, next(network.parameters()).dtype)
        model = cls(
            network,
            target_mean=target_mean,
            target_std=target_std,
            target_shape=targets.shape[1:],
            predicts_std=predicts_std,
            target_names=train.classes,
            mean=mean,
            std=std,
            input_shape=shape,
        )
        return model._complete_for(train)

    def forward(self, x: Tensor) -> Tensor:
        """Return predictions in the units of the targets for raw inputs."""
        return self._convert_outputs(self.network(self.standardize(x)))

    def means(self, outputs: Tensor) -> Tensor:
        """Return the predictions within the outputs of the model, ``(..., *target_shape)``."""
        if not self.predicts_std:
            return outputs
        return shaped(outputs.chunk(2, -1)[0], self.target_shape)

    def stds(self, outputs: Tensor) -> Tensor:
        """Return the standard deviations within the outputs, ``(..., *target_shape)``.

        Raises:
            ValueError: If ``predicts_std`` is False.
        """
        if not self.predicts_std:
            cure = "build the model with predicts_std=True and train it"
            raise ValueError(error_message("predicts_std", "True for a std", False, cure))  # noqa: FBT003 - the value
        return shaped((0.5 * outputs.chunk(2, -1)[1]).exp(), self.target_shape)

    def predict(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the prediction for each example, in the units of the targets.

        With ``predicts_std`` this is the predicted mean.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Warns:
            UserWarning: Once, if the values cannot be in the units of the training inputs, such as
                pixels between 0 and 1 for a model of pixels between 0 and 255.

        Shape:
            - Input: as :class:`mlpkit.SoftmaxClassifier`.
            - Output: ``(N, *target_shape)``, on the device of the model.
        """
        return self._apply_in_batches(x, batch_size, self.means)

    def predict_std(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the standard deviation of each prediction, in the units of the targets.

        It is that of the noise of the targets around :meth:`predict`, as far as the network has
        learned it; far from the training inputs it says nothing about the error.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Raises:
            ValueError: If ``predicts_std`` is False.

        Shape:
            - Input: as :class:`mlpkit.SoftmaxClassifier`.
            - Output: ``(N, *target_shape)``, above 0, on the device of the model.
        """
        return self._apply_in_batches(x, batch_size, self.stds)

    def _default_objective(self) -> Objective:
        return self._scaled(GaussianNLL() if self.predicts_std else MeanSquaredError())

    def _adapted(self, objective: Objective) -> Objective:
        """Return a loss of the error, also within mixup, in standard deviations of the targets."""
        if type(objective) is not Mixup:
            return self._scaled(objective)
        scaled = self._scaled(objective.objective)
        assert isinstance(scaled, OutputObjective), "it has the methods of the one given"
        return Mixup(objective.alpha, objective=scaled)

    def extra_repr(self) -> str:
        """Return target shape, names and input shape."""
        shown = [f"target_shape={self.target_shape}", f"input_shape={self.input_shape}"]
        if self.target_names is not None:
            shown.insert(0, f"target_names={self.target_names}")
        if self.predicts_std:
            shown.append("predicts_std=True")
        return ", ".join(shown)

    def _scaled(self, objective: Objective) -> Objective:
        """Return a loss of the error in standard deviations of the targets, others unchanged."""
        plain = objective.objective if type(objective) is ScaledTargets else objective
        of_error = type(plain) in (MeanSquaredError, MeanAbsoluteError, Huber)
        if self.predicts_std and of_error:
            rule = "GaussianNLL() for a model with predicts_std"
            cure = "build it with predicts_std=False for a loss of the error"
            raise ValueError(error_message("objective", rule, objective, cure))
        if type(plain) is GaussianNLL and not self.predicts_std:
            rule = (
                "a loss of the error, such as MeanSquaredError(), for a model without predicts_std"
            )
            cure = "build it with predicts_std=True"
            raise ValueError(error_message("objective", rule, objective, cure))
        if type(objective) not in (MeanSquaredError, MeanAbsoluteError, Huber, GaussianNLL):
            return objective
        assert isinstance(objective, MeanSquaredError | MeanAbsoluteError | Huber | GaussianNLL)
        scale = tuple(self.target_std.tolist())
        return ScaledTargets(objective, scale=scale if len(scale) > 1 else scale[0])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - as in torch
        """Apply a conversion; the units of the targets stay in float32 or float64."""
        names = ("target_mean", "target_std")
        before = {name: fast_buffer(self, name) for name in names}
        super()._apply(fn, recurse)
        for name, value in before.items():
            converted = fast_buffer(self, name)
            if converted.dtype in (torch.float16, torch.bfloat16):
                self._buffers[name] = value.to(converted.device)
        return self

    def _convert_outputs(self, outputs: Tensor) -> Tensor:
        """Return outputs of the network in the units of the targets, in float32 or float64.

        Shape:
            - Input: ``(..., D)``, or ``(..., 2 D)`` with ``predicts_std``.
            - Output: ``(..., *target_shape)``, or ``(..., 2 D)``.
        """
        mean, std = fast_buffer(self, "target_mean"), fast_buffer(self, "target_std")
        wide = torch.promote_types(std.dtype, torch.float32)
        outputs = outputs.to(wide)
        if not self.predicts_std:
            return shaped(outputs * std + mean, self.target_shape)
        means, log_variances = outputs.chunk(2, -1)
        return torch.cat([means * std + mean, log_variances + 2 * std.to(wide).log()], -1)

    @property
    def _names(self) -> tuple[str, ...] | None:
        """Name of each number of a target."""
        return self.target_names

    def _details(self) -> dict[str, JSONValue]:
        """Return names and shape of the targets, and whether a variance is predicted."""
        return {
            "target_names": None if self.target_names is None else list(self.target_names),
            "target_shape": list(self.target_shape),
            "predicts_std": self.predicts_std,
        }

    @classmethod
    def _from_artifact(cls, artifact: Artifact) -> Self:
        """Return the regressor of a file, whose weights have no memory yet."""
        details, tensors = artifact.details, artifact.tensors
        return cls(
            artifact.bare_network(),
            target_mean=tensors["target_mean"],
            target_std=tensors["target_std"],
            target_shape=cast("list[int]", details["target_shape"]),
            predicts_std=cast("bool", details["predicts_std"]),
            target_names=cast("list[str] | None", details["target_names"]),
            mean=tensors["mean"],
            std=tensors["std"],
            input_shape=artifact.input_shape,
        )


def _check_targets(train: LabeledTensors) -> Tensor:
    """Return the targets of a regression.

    Raises:
        TypeError: If they are class indices.
        ValueError: If a target has no number.
    """
    targets = train.targets
    if not targets.is_floating_point():
        cure = "convert them with targets.double(), or use SoftmaxClassifier for classes"
        raise TypeError(
            error_message("train.targets", "floating-point", Unquoted("class indices"), cure)
        )
    if not math.prod(targets.shape[1:]):
        rule = "of shape (N,) or (N, ...) with one number or more"
        raise ValueError(error_message("train.targets", rule, tuple(targets.shape)))
    return targets


def _measure_targets(targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each number of a target, float64, ``(D,)``.

    Raises:
        ValueError: If predictions in ``dtype`` could not distinguish the targets.
    """
    mean, std = feature_mean_and_std(targets)
    rows = targets.detach().reshape(len(targets), -1)
    high, low = rows.amax(0).cpu().double(), rows.amin(0).cpu().double()
    wide = torch.promote_types(dtype, torch.float32)
    _, exponent = torch.frexp(torch.maximum(high, -low))  # |y| < 2^exponent
    spacing = torch.ldexp(torch.full_like(high, torch.finfo(wide).eps), exponent - 1)
    is_varying = high != low
    too_coarse = is_varying & (spacing > _LARGEST_SPACING * std)
    if bool(too_coarse.any()):
        worst = int(too_coarse.nonzero()[0])
        found = f"a mean of {float(mean[worst]):.6g} with a standard deviation of {std[worst]:.3g}"
        name = "train.targets" if len(mean) == 1 else f"train.targets[:, {worst}]"
        cure = "subtract an offset such as the mean from the targets, and add it to predictions"
        rule = f"distinguishable in {str(wide).removeprefix('torch.')}"
        raise ValueError(error_message(name, rule, Unquoted(found), cure))
    return mean, std
