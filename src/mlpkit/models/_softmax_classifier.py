"""A softmax classifier with its preprocessing, class names and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self, cast

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._devices import accumulator_dtype
from mlpkit._serialization import JSONValue
from mlpkit.data import LabeledTensors
from mlpkit.models._artifact import CLASSIFIER, Artifact, Kind
from mlpkit.models._calibration import check_held_out_classes, class_temperature
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
from mlpkit.nn import MLP, MLPOptions, TabularMLP
from mlpkit.training import CrossEntropy, Objective, Task
from mlpkit.training.objectives import check_known_targets

__all__ = ["SoftmaxClassifier"]

_MOST_UNNAMED = 2**16  # an index above is an identifier, and would make a huge network


class SoftmaxClassifier(PredictiveModel):
    r"""A softmax classifier: standardize raw inputs, apply a network, return logits.

    .. math::
        \text{logits} = f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr), \qquad
        P(\text{class} = c \mid x) = \frac{e^{\text{logits}_c / T}}{\sum_j e^{\text{logits}_j / T}}

    The logits are unnormalized log-probabilities: the softmax is inside the cross-entropy during
    training, and inside :meth:`predict_proba` afterwards. The temperature :math:`T` is 1 unless
    :meth:`calibrate` has fitted it. It is trained with :class:`mlpkit.training.CrossEntropy` unless
    another objective is given.

    The methods that predict, evaluate or calibrate compare the range of their inputs with that of
    the training inputs, and warn once of pixels in other units; a call of the model does not.

    Args:
        network: An :class:`mlpkit.nn.MLP` or :class:`mlpkit.nn.TabularMLP` with as many outputs as
            there are classes.
        classes: Name of each class, in the order of the network's outputs.
        mean: Subtracted from the raw input, in its units; one number, or one for each feature.
        std: Divides the difference, in the same units; positive.
        input_shape: Shape of one raw example, for instance ``(28, 28)``; None is
            ``(network.in_features,)``.

    Shape:
        - Input: ``(N, *input_shape)``, ``(N, 1, *input_shape)`` as torchvision returns images,
          ``(N, in_features)``, or one example of ``input_shape`` without N. Any numeric dtype, in
          the raw units that ``mean`` and ``std`` are measured in; uint8 images as they are.
        - Output: ``(N, num_classes)``, or ``(num_classes,)`` for one example.

    Raises:
        TypeError: If ``network`` is no such network or ``classes`` are no names.
        ValueError: If classes, mean, std or input_shape do not fit the network.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> network = MLP(4, (8,), 3, generator=torch.Generator().manual_seed(0))
        >>> model = SoftmaxClassifier(network, classes=("a", "b", "c"), mean=7.5, std=4.6)
        >>> model.predict_proba(torch.randint(0, 16, (5, 4), dtype=torch.uint8)).shape
        torch.Size([5, 3])

    References:
        Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
        section 4.2 (temperature scaling). https://arxiv.org/abs/1706.04599
    """

    task: ClassVar[Task] = "classification"
    _kind: ClassVar[Kind] = CLASSIFIER

    temperature: Tensor

    def __init__(
        self,
        network: MLP | TabularMLP,
        *,
        classes: Sequence[str],
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(network, mean=mean, std=std, input_shape=input_shape)
        rule = "the network has outputs"
        self.classes = check_names("classes", classes, cast("int", network.out_features), rule)
        self.register_buffer("temperature", next(network.parameters()).new_ones(()))

    @classmethod
    def for_data(
        cls,
        train: LabeledTensors,
        hidden_features: Sequence[int] | None = None,
        options: MLPOptions | None = None,
        *,
        preset: NetworkPreset = "mlp",
        standardize: Standardize | None = "auto",
        generator: torch.Generator | None = None,
    ) -> Self:
        """Return an untrained classifier for a data set.

        The input shape, the class names, and the mean and standard deviation of the training inputs
        are taken from the data. Classes without names are called ``"0"``, ``"1"`` and so on.

        Args:
            train: The training examples, with class indices or distributions over classes.
            hidden_features: Output width of each hidden layer, at least 1; empty for a linear
                model; None is ``(512, 256)``.
            options: The options of the network; None is ``MLPOptions(dropout=0.1)``.
            preset: ``"mlp"`` for an MLP, or ``"tabular"`` for a
                :class:`mlpkit.nn.TabularMLP`, for rows of a table whose encoder has
                ``categories="codes"``; None as widths or options then is ``(128, 128, 128)`` and
                ``MLPOptions(activation="selu", dropout=0.15)``, for a regression with Mish.
                :func:`mlpkit.models.tabular_config` has the settings of its training.
            standardize: ``"feature"`` measures mean and standard deviation of each feature, as
                scikit-learn's ``StandardScaler``; ``"global"`` those of all values together;
                ``"auto"`` is ``"feature"`` for examples with one axis and ``"global"`` for images;
                None is mean 0 and standard deviation 1. Pixels that are flattened to one axis need
                ``"global"``. A constant feature has standard deviation 1.
            generator: Random number generator for the weights; None is torch's global generator.

        Raises:
            TypeError: If ``train`` is not ``LabeledTensors``.
            ValueError: If an argument is out of range, or the targets are not those of two or more
                classes.

        Example:
            >>> from mlpkit import SoftmaxClassifier
            >>> from mlpkit.data import digits
            >>> from mlpkit.nn import MLPOptions
            >>> options = MLPOptions(norm="batch", dropout=0.2)
            >>> SoftmaxClassifier.for_data(digits().train, (32,), options).network.layers[0]
            Linear(64, 32) -> BatchNorm -> ReLU()
        """
        classes = _class_names(check_train(train))
        network = build_network(
            train, len(classes), "classification", hidden_features, options, preset, generator
        )
        return cls.with_network(network, train, standardize=standardize)

    @classmethod
    def with_network(
        cls,
        network: MLP | TabularMLP,
        train: LabeledTensors,
        *,
        standardize: Standardize | None = "auto",
    ) -> Self:
        """Return a classifier of a network with the preprocessing of a data set.

        Args:
            network: An MLP or a TabularMLP with an input for each value of an example and an output
                for each class.
            train: The training examples, with class indices or distributions over classes.
            standardize: How the inputs are standardized; see :meth:`for_data`.

        Raises:
            TypeError: If ``train`` is not ``LabeledTensors``.
            ValueError: If the network does not fit the data, or as in :meth:`for_data`.
        """
        classes = _class_names(check_train(train))
        mean, std, shape = measure(network, train, standardize)
        model = cls(network, classes=classes, mean=mean, std=std, input_shape=shape)
        return model._complete_for(train)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of logits at the fitted temperature, in float32 or float64.

        Shape:
            - both: ``(..., num_classes)``.
        """
        return torch.softmax(at_least_float32(logits) / fast_buffer(self, "temperature"), -1)

    def predict_proba(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the probability of each class, at the fitted temperature, in float32 or float64.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Warns:
            UserWarning: Once, if the values cannot be in the units of the training inputs, such as
                pixels between 0 and 1 for a model of pixels between 0 and 255.

        Shape:
            - Input: as :class:`SoftmaxClassifier`.
            - Output: ``(N, num_classes)``, on the device of the model; rows sum to 1.
        """
        return self._apply_in_batches(x, batch_size, self.probabilities)

    def predict(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the index of the most probable class as int64.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Shape:
            - Input: as :class:`SoftmaxClassifier`.
            - Output: ``(N,)``; ``()`` for one example. ``classes[index]`` is the name.
        """
        return self._apply_in_batches(x, batch_size, lambda logits: logits.argmax(-1))

    def _default_objective(self) -> Objective:
        return CrossEntropy()

    def calibrate(self, val: LabeledTensors) -> float:
        r"""Fit the temperature on held-out examples, and return it.

        Minimizes the cross-entropy of ``softmax(logits / T)`` over :math:`T`; the predicted class
        does not change. The problem is convex in :math:`1/T` and is solved by Newton's method.

        The targets are smoothed: with n examples, or an effective number n of weighted examples,
        :math:`(1 - \epsilon)` of each target stays, and :math:`\epsilon = 1/(n+1)` is spread over
        all classes, as if there were one more example of unknown label. Without smoothing, a set on
        which every prediction is right would give :math:`T \to 0`.

        :meth:`mlpkit.training.Trainer.fit` resets the temperature to 1.

        Args:
            val: Examples that the network was not trained on, with class indices as targets.
                Weights of the examples weight the cross-entropy.

        Raises:
            TypeError: If ``val`` is not ``LabeledTensors`` or its targets are not class indices.
            ValueError: If there is no example, a target is not below the number of classes, all
                weights are 0, or the examples have other class names or the same in another order.

        References:
            Guo et al. 2017, section 4.2. Platt 1999, Probabilistic Outputs for Support Vector
            Machines, section 2.2 (smoothed targets).
        """
        targets = check_held_out_classes(self, val)
        wide = accumulator_dtype(fast_buffer(self, "temperature").device)
        scores = self._apply_in_batches(val.inputs, 4096, lambda logits: logits.to(wide))
        self.temperature.copy_(class_temperature(scores, targets, val.weights))
        return float(self.temperature)

    def reset_calibration(self) -> None:
        """Set the temperature to 1."""
        self.temperature.fill_(1.0)

    @property
    def _names(self) -> tuple[str, ...]:
        """Name of each class."""
        return self.classes

    @property
    def _decision(self) -> Decision:
        """The temperature."""
        return Decision(temperature=self.temperature)

    def _details(self) -> dict[str, JSONValue]:
        """Return the classes."""
        return {"classes": list(self.classes)}

    @classmethod
    def _from_artifact(cls, artifact: Artifact) -> Self:
        """Return the classifier of a file, whose weights have no memory yet."""
        return cls(
            artifact.bare_network(),
            classes=cast("list[str]", artifact.details["classes"]),
            mean=artifact.tensors["mean"],
            std=artifact.tensors["std"],
            input_shape=artifact.input_shape,
        )

    def extra_repr(self) -> str:
        """Return class names and input shape."""
        return f"classes={self.classes}, input_shape={self.input_shape}"


def _class_names(train: LabeledTensors) -> tuple[str, ...]:
    """Return the class names of training examples, or the numbers of their classes.

    Raises:
        ValueError: If the targets are neither class indices nor distributions over classes.
    """
    targets = train.targets
    if train.classes is not None and len(train.classes) > 1:
        check_known_targets(CrossEntropy(), targets)
        return train.classes
    if targets.is_floating_point() and targets.ndim != 2:
        rule = "class indices, or distributions over classes of shape (N, C)"
        cure = "use Regressor.for_data for a regression"
        raise ValueError(error_message("train.targets", rule, tuple(targets.shape), cure))
    count = targets.shape[1] if targets.is_floating_point() else train.num_classes
    check_known_targets(CrossEntropy(), targets)
    if count is None or count < 2:
        cure = "give LabeledTensors its classes, or use MultilabelClassifier for one label"
        raise ValueError(error_message("train.targets", "of two or more classes", count, cure))
    if count > _MOST_UNNAMED:
        rule = f"class indices below {_MOST_UNNAMED} without class names"
        cure = "number the classes from 0 with torch.unique(targets, return_inverse=True)"
        raise ValueError(error_message("train.targets", rule, count - 1, cure))
    return tuple(map(str, range(count)))
