"""A classifier with several labels for each example, with its preprocessing and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self, cast

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit._class_names import check_same_classes
from mlpkit._devices import accumulator_dtype
from mlpkit._serialization import JSONValue
from mlpkit.data import LabeledTensors
from mlpkit.models._artifact import MULTILABEL_CLASSIFIER, Artifact, Kind
from mlpkit.models._calibration import check_held_out, label_temperatures
from mlpkit.models._predictive_model import (
    Decision,
    PredictiveModel,
    build_network,
    check_names,
    check_train,
    measure,
)
from mlpkit.models._presets import NetworkPreset
from mlpkit.models._standardize import Standardize
from mlpkit.models._standardized_model import at_least_float32, fast_buffer
from mlpkit.models._targets import check_target_shape, shaped
from mlpkit.models._thresholds import best_f1_threshold
from mlpkit.nn import MLP, MLPOptions, TabularMLP
from mlpkit.training import BinaryCrossEntropy, Objective, Task

__all__ = ["MultilabelClassifier"]


class MultilabelClassifier(PredictiveModel):
    r"""A classifier of labels that are present or absent independently of one another.

    It standardizes raw inputs, applies a network, and returns one logit for each label.

    .. math::
        z = f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr), \qquad
        P(\text{label } l \mid x) = \sigma(z_l / T_l), \qquad
        \text{label } l \text{ is predicted if } P(\text{label } l \mid x) > t_l

    The temperatures :math:`T_l` are 1 unless :meth:`calibrate` has fitted them, and the thresholds
    :math:`t_l` are those given unless :meth:`fit_thresholds` has fitted them. It is trained with
    :class:`mlpkit.training.BinaryCrossEntropy` unless another objective is given. With one label it
    separates two classes by a single logit.

    The methods that predict, evaluate or calibrate compare the range of their inputs with that of
    the training inputs, and warn once of pixels in other units; a call of the model does not.

    Args:
        network: An :class:`mlpkit.nn.MLP` or :class:`mlpkit.nn.TabularMLP` with as many outputs as
            there are labels.
        classes: Name of each label, in the order of the network's outputs.
        thresholds: Probability above which a label is predicted, in [0, 1]: one number, or one for
            each label.
        pos_weight: Factor on the loss of present labels, above 0: one number, or one for each
            label; None means 1.
        mean: Subtracted from the raw input, in its units; one number, or one for each feature.
        std: Divides the difference, in the same units; positive.
        input_shape: Shape of one raw example, for instance ``(28, 28)``; None is
            ``(network.in_features,)``.
        target_shape: Shape of the targets of one example: ``(L,)`` for L labels, or ``()`` for one
            label whose targets have the shape ``(N,)``; None is ``(L,)``.

    Shape:
        - Input: as :class:`mlpkit.SoftmaxClassifier`.
        - Output: ``(N, *target_shape)``; ``target_shape`` for one example.

    Raises:
        TypeError: If ``network`` is no such network or ``classes`` are no names.
        ValueError: If another argument is out of range or does not fit the network.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, MultilabelClassifier
        >>> network = MLP(4, (8,), 3, generator=torch.Generator().manual_seed(0))
        >>> model = MultilabelClassifier(network, classes=("cat", "dog", "outdoors"))
        >>> model.predict(torch.zeros(5, 4)).dtype, model.predict_proba(torch.zeros(5, 4)).shape
        (torch.bool, torch.Size([5, 3]))

    References:
        Guo, Pleiss, Sun and Weinberger 2017, On Calibration of Modern Neural Networks, section 4.2
        (temperature scaling). https://arxiv.org/abs/1706.04599
    """

    task: ClassVar[Task] = "multilabel"
    _kind: ClassVar[Kind] = MULTILABEL_CLASSIFIER

    temperature: Tensor
    thresholds: Tensor

    def __init__(
        self,
        network: MLP | TabularMLP,
        *,
        classes: Sequence[str],
        thresholds: float | Sequence[float] | Tensor = 0.5,
        pos_weight: float | Sequence[float] | None = None,
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
        target_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(network, mean=mean, std=std, input_shape=input_shape)
        outputs = cast("int", network.out_features)
        self.classes = check_names("classes", classes, outputs, "the network has outputs")
        shape = (outputs,) if target_shape is None else target_shape
        self.target_shape = check_target_shape(shape, outputs)
        if len(self.target_shape) > 1:
            rule = "(L,), or () for one label"
            raise ValueError(error_message("target_shape", rule, self.target_shape))
        self.pos_weight = _check_pos_weight(pos_weight, outputs)
        like = next(network.parameters())
        self.register_buffer("temperature", like.new_ones(outputs))
        self.register_buffer("thresholds", _check_thresholds(thresholds, outputs, like))

    @classmethod
    def for_data(
        cls,
        train: LabeledTensors,
        hidden_features: Sequence[int] | None = None,
        options: MLPOptions | None = None,
        *,
        pos_weight: float | Sequence[float] | Literal["balanced"] | None = None,
        preset: NetworkPreset = "mlp",
        standardize: Standardize | None = "auto",
        generator: torch.Generator | None = None,
    ) -> Self:
        """Return an untrained classifier for a data set.

        The input shape, the names and the number of labels, and the mean and standard deviation of
        the training inputs are taken from the data. Labels without names are called ``"0"``,
        ``"1"`` and so on.

        Args:
            train: The training examples. The targets are floating-point, in [0, 1]: ``(N, L)``, or
                ``(N,)`` for one label.
            hidden_features: Output width of each hidden layer, at least 1; empty for a linear
                model; None is ``(512, 256)``.
            options: The options of the network; None is ``MLPOptions(dropout=0.1)``.
            pos_weight: Factor on the loss of present labels, above 0: one number, or one for each
                label; ``"balanced"`` is the number of absent examples of a label divided by that of
                present ones, and 1 for a label that is absent or present in all; None means 1.
            preset: ``"mlp"`` or ``"tabular"``; see :meth:`mlpkit.SoftmaxClassifier.for_data`.
            standardize: How the inputs are standardized; see
                :meth:`mlpkit.SoftmaxClassifier.for_data`.
            generator: Random number generator for the weights; None is torch's global generator.

        Raises:
            TypeError: If ``train`` is not ``LabeledTensors`` or its targets are class indices.
            ValueError: If an argument is out of range, or a target is not in [0, 1].

        Example:
            >>> import torch
            >>> from mlpkit import MultilabelClassifier
            >>> from mlpkit.data import LabeledTensors
            >>> targets = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
            >>> train = LabeledTensors(torch.rand(4, 3), targets, ("round", "red"))
            >>> MultilabelClassifier.for_data(train, (8,), pos_weight="balanced").pos_weight
            (0.3333333333333333, 3.0)
        """
        labels = _labels(check_train(train))
        network = build_network(
            train, len(labels), "multilabel", hidden_features, options, preset, generator
        )
        return cls.with_network(network, train, pos_weight=pos_weight, standardize=standardize)

    @classmethod
    def with_network(
        cls,
        network: MLP | TabularMLP,
        train: LabeledTensors,
        *,
        pos_weight: float | Sequence[float] | Literal["balanced"] | None = None,
        standardize: Standardize | None = "auto",
    ) -> Self:
        """Return a classifier of a network with the preprocessing of a data set.

        Args:
            network: An MLP or a TabularMLP with an input for each value of an example and an output
                for each label.
            train: The training examples; see :meth:`for_data`.
            pos_weight: Factor on the loss of present labels; see :meth:`for_data`.
            standardize: How the inputs are standardized; see
                :meth:`mlpkit.SoftmaxClassifier.for_data`.

        Raises:
            TypeError: If ``train`` is not ``LabeledTensors`` or its targets are class indices.
            ValueError: If the network does not fit the data, or as in :meth:`for_data`.
        """
        labels = _labels(check_train(train))
        if isinstance(pos_weight, str):
            check_choice("pos_weight", pos_weight, ("balanced",))
            pos_weight = _balanced(train.targets)
        mean, std, shape = measure(network, train, standardize)
        model = cls(
            network,
            classes=labels,
            pos_weight=pos_weight,
            mean=mean,
            std=std,
            input_shape=shape,
            target_shape=train.targets.shape[1:],
        )
        return model._complete_for(train)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logit of each label for raw inputs."""
        return self._convert_outputs(self.network(self.standardize(x)))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of logits at the fitted temperatures, in float32 or float64.

        Shape:
            - both: ``(..., *target_shape)``.
        """
        return torch.sigmoid(at_least_float32(logits) / self._per_label("temperature"))

    def predict_proba(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the probability of each label, at the fitted temperatures, in float32 or float64.

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
        return self._apply_in_batches(x, batch_size, self.probabilities)

    def predict(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return whether each label is present, as bool.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Shape:
            - Input: as :class:`mlpkit.SoftmaxClassifier`.
            - Output: ``(N, *target_shape)``.
        """
        thresholds = self._per_label("thresholds")
        return self._apply_in_batches(
            x, batch_size, lambda logits: self.probabilities(logits) > thresholds
        )

    def _default_objective(self) -> Objective:
        return BinaryCrossEntropy(pos_weight=self.pos_weight)

    def calibrate(self, val: LabeledTensors) -> tuple[float, ...]:
        r"""Fit the temperature of each label on held-out examples, and return the temperatures.

        Minimizes the binary cross-entropy of ``sigmoid(logits / T)`` for each label as
        :meth:`mlpkit.SoftmaxClassifier.calibrate` does for the classes :math:`(0, z)`, with the
        same smoothed targets. Predictions at a threshold of 0.5 do not change. Thresholds refer to
        the calibrated probabilities, so call :meth:`fit_thresholds` afterwards.

        :meth:`mlpkit.training.Trainer.fit` resets the temperatures to 1.

        Args:
            val: Examples that the network was not trained on. Weights of the examples weight the
                cross-entropy.

        Raises:
            TypeError: If ``val`` is not ``LabeledTensors`` or its targets are class indices.
            ValueError: If there is no example, the targets do not fit the labels, all weights are
                0, or the examples have other label names or the same in another order.

        References:
            Guo et al. 2017, section 4.2. Platt 1999, Probabilistic Outputs for Support Vector
            Machines, section 2.2 (smoothed targets).
        """
        targets = self._held_out_targets(val)
        wide = accumulator_dtype(fast_buffer(self, "temperature").device)
        logits = self._apply_in_batches(val.inputs, 4096, lambda found: found.to(wide))
        self.temperature.copy_(label_temperatures(logits, targets, val.weights))
        return tuple(self.temperature.tolist())

    def reset_calibration(self) -> None:
        """Set the temperatures to 1; thresholds do not change."""
        self.temperature.fill_(1.0)

    def fit_thresholds(self, val: LabeledTensors) -> tuple[float, ...]:
        r"""Fit the threshold of each label on held-out examples, and return the thresholds.

        The threshold of a label maximizes its F1 score,

        .. math:: F_1 = \frac{2 \cdot \text{true positives}}{\text{predicted} + \text{present}},

        over all thresholds between two neighboring probabilities. Of equal maxima the one nearest
        to 0.5 is taken. A label without a present example keeps its threshold. Soft targets count
        as fractions of an example.

        Args:
            val: Examples that the network was not trained on. Weights of the examples weight the
                counts.

        Raises:
            TypeError: If ``val`` is not ``LabeledTensors`` or its targets are class indices.
            ValueError: If there is no example, the targets do not fit the labels, all weights are
                0, or the examples have other label names or the same in another order.

        References:
            Lipton, Elkan and Narayanaswamy 2014, Optimal Thresholding of Classifiers to Maximize F1
            Measure. https://arxiv.org/abs/1402.1892
        """
        targets = self._held_out_targets(val)
        probabilities = self.predict_proba(val.inputs).reshape(len(val), -1)
        for label, values in enumerate(probabilities.unbind(1)):
            found = best_f1_threshold(values, targets[:, label], val.weights)
            if found is not None:
                self.thresholds[label] = found
        return tuple(self.thresholds.tolist())

    def extra_repr(self) -> str:
        """Return label names, input shape and target shape."""
        return (
            f"classes={self.classes}, input_shape={self.input_shape}, "
            f"target_shape={self.target_shape}"
        )

    def _held_out_targets(self, val: LabeledTensors) -> Tensor:
        """Return the checked targets of held-out examples, ``(N, L)``."""
        targets = check_held_out(val).targets
        _check_label_targets("val.targets", targets)
        check_same_classes({"model": self, "val": val})
        if tuple(targets.shape[1:]) != self.target_shape:
            expected = ", ".join(["N", *map(str, self.target_shape)])
            rule = f"of shape ({expected}), one for each label of the model"
            raise ValueError(error_message("val.targets", rule, tuple(targets.shape)))
        return targets.reshape(len(val), -1)

    def _convert_outputs(self, outputs: Tensor) -> Tensor:
        """Return outputs of the network, ``(..., L)``, as ``(..., *target_shape)``."""
        return shaped(outputs, self.target_shape)

    @property
    def _names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.classes

    @property
    def target_thresholds(self) -> Tensor:
        """The thresholds in the shape of the targets of one example, ``(L,)`` or ``()``."""
        return self._per_label("thresholds")

    @property
    def _decision(self) -> Decision:
        """Temperatures and thresholds, in the shape of the targets of one example."""
        return Decision(self._per_label("temperature"), self.target_thresholds)

    def _per_label(self, name: str) -> Tensor:
        """Return a buffer with one number for each label, ``target_shape``."""
        return fast_buffer(self, name).reshape(self.target_shape)

    def _details(self) -> dict[str, JSONValue]:
        """Return labels, the shape of the targets and the weights of present labels."""
        weight = self.pos_weight
        return {
            "classes": list(self.classes),
            "target_shape": list(self.target_shape),
            "pos_weight": list(weight) if isinstance(weight, tuple) else weight,
        }

    @classmethod
    def _from_artifact(cls, artifact: Artifact) -> Self:
        """Return the classifier of a file, whose weights have no memory yet."""
        details, tensors = artifact.details, artifact.tensors
        return cls(
            artifact.bare_network(),
            classes=cast("list[str]", details["classes"]),
            thresholds=tensors["thresholds"],
            pos_weight=cast("float | list[float] | None", details["pos_weight"]),
            mean=tensors["mean"],
            std=tensors["std"],
            input_shape=artifact.input_shape,
            target_shape=cast("list[int]", details["target_shape"]),
        )


def _labels(train: LabeledTensors) -> tuple[str, ...]:
    """Return the names of the labels of training examples, or their numbers.

    Raises:
        TypeError: If the targets are class indices.
        ValueError: If they are not in [0, 1], or of another shape.
    """
    _check_label_targets("train.targets", train.targets)
    if train.classes is not None:
        return train.classes
    count = train.targets.shape[1] if train.targets.ndim == 2 else 1
    return tuple(map(str, range(count)))


def _check_label_targets(argument: str, targets: Tensor) -> None:
    """Raise unless targets say for each label whether it is present.

    Raises:
        TypeError: If they are class indices.
        ValueError: If they are not in [0, 1], or of another shape.
    """
    rule = "floating-point in [0, 1], of shape (N, L), or (N,) for one label"
    if not targets.is_floating_point():
        highest = int(targets.max()) if len(targets) else 0
        cure = "convert them with targets.float()"
        if highest > 1:
            cure = "use SoftmaxClassifier for classes of which each example has one"
        raise TypeError(error_message(argument, rule, Unquoted("class indices"), cure))
    if targets.ndim > 2 or (targets.ndim == 2 and not targets.shape[1]):
        cure = "reshape them to one row for each example"
        raise ValueError(error_message(argument, rule, tuple(targets.shape), cure))
    if len(targets):
        low, high = (float(bound) for bound in torch.aminmax(targets))
        if not (low >= 0.0 and high <= 1.0):
            cure = "use Regressor for a regression"
            raise ValueError(error_message(argument, rule, [low, high], cure))


def _balanced(targets: Tensor) -> tuple[float, ...]:
    """Return absent divided by present examples of each label; 1 where one of them is 0."""
    columns = targets if targets.ndim == 2 else targets[:, None]
    rows = columns.to(accumulator_dtype(targets.device))
    present = rows.sum(0)
    absent = len(rows) - present
    is_mixed = (present > 0) & (absent > 0)
    return tuple(torch.where(is_mixed, absent / present, 1.0).tolist())


def _check_pos_weight(
    value: float | Sequence[float] | None, count: int
) -> float | tuple[float, ...] | None:
    """Return the checked factors: None, one number, or one for each label."""
    found = BinaryCrossEntropy(pos_weight=value).pos_weight
    if found is None or isinstance(found, float):
        return found
    if len(found) != count:
        rule = f"one number, or one for each of the {count} labels"
        raise ValueError(error_message("pos_weight", rule, found))
    return tuple(found)


def _check_thresholds(value: float | Sequence[float] | Tensor, count: int, like: Tensor) -> Tensor:
    """Return thresholds as a new tensor of the dtype of ``like``, ``(count,)``.

    A tensor stays on its device, and numbers become a tensor on the device of ``like``.
    """
    device = value.device if isinstance(value, Tensor) else torch.device("cpu")
    try:
        found = torch.as_tensor(value, dtype=like.dtype, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        rule = "a number in [0, 1], or one for each label"
        raise TypeError(error_message("thresholds", rule, value)) from error
    if found.shape not in ((), (count,)):
        rule = f"one number, or one for each of the {count} labels"
        raise ValueError(error_message("thresholds", rule, tuple(found.shape)))
    if not found.is_meta and not bool(((found >= 0.0) & (found <= 1.0)).all()):
        raise ValueError(error_message("thresholds", "probabilities in [0, 1]", value))
    found = found.clone() if found.ndim else found.repeat(count)
    return found if isinstance(value, Tensor) else found.to(like.device)
