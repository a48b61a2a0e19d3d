"""A softmax classifier with its preprocessing, class names and temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from mlpkit._checks import check_choice, error_message
from mlpkit._class_names import check_same_classes
from mlpkit._devices import Precision, accumulator_dtype, check_device
from mlpkit.data import LabeledTensors
from mlpkit.errors import ArtifactError
from mlpkit.models._artifact import Artifact, read_artifact, write_artifact
from mlpkit.models._input_range import ObservedBatches
from mlpkit.models._standardize import mean_and_std
from mlpkit.models._standardized_model import StandardizedModel, fast_buffer
from mlpkit.nn import MLP, MLPOptions
from mlpkit.training import CrossEntropy, Evaluation, TrainingData
from mlpkit.training.batches import as_batches
from mlpkit.training.metrics import evaluate

__all__ = ["SoftmaxClassifier"]


class SoftmaxClassifier(StandardizedModel):
    r"""A softmax classifier: standardize raw inputs, apply a network, return logits.

    .. math::
        \text{logits} = f\Bigl(\frac{x - \text{mean}}{\text{std}}\Bigr), \qquad
        P(\text{class} = c \mid x) = \frac{e^{\text{logits}_c / T}}{\sum_j e^{\text{logits}_j / T}}

    The logits are unnormalized log-probabilities: the softmax is inside the cross-entropy during
    training, and inside :meth:`predict_proba` afterwards. The temperature :math:`T` is 1 unless
    :meth:`calibrate` has fitted it.

    Args:
        network: An :class:`mlpkit.nn.MLP` with as many outputs as there are classes.
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
        TypeError: If ``network`` is no MLP or ``classes`` are no names.
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

    temperature: Tensor

    def __init__(
        self,
        network: MLP,
        *,
        classes: Sequence[str],
        mean: float | Tensor = 0.0,
        std: float | Tensor = 1.0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(network, mean=mean, std=std, input_shape=input_shape)
        given: object = classes
        if (
            isinstance(given, str)
            or not isinstance(given, Sequence)
            or not all(isinstance(name, str) for name in given)
        ):
            raise TypeError(error_message("classes", "a sequence of names", given))
        if network.out_features != len(classes):
            rule = f"as many names as the network has outputs ({network.out_features})"
            raise ValueError(error_message("classes", rule, tuple(classes)))
        self.classes = tuple(map(str, classes))  # NumPy's strings become Python's
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(error_message("classes", "distinct names", self.classes))
        self.register_buffer("temperature", next(network.parameters()).new_ones(()))

    @classmethod
    def for_data(
        cls,
        train: LabeledTensors,
        hidden_features: Sequence[int] = (512, 256),
        options: MLPOptions | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> SoftmaxClassifier:
        """Return an untrained classifier for a data set.

        The input shape, the class names, and the mean and standard deviation over all values of the
        training inputs are taken from the data.

        Args:
            train: The training examples, with class names.
            hidden_features: Output width of each hidden layer, at least 1; empty for a linear
                model.
            options: The options of the network; None is ``MLPOptions()``, the defaults.
            generator: Random number generator for the weights; None is torch's global generator.

        Raises:
            ValueError: If the data has no class names.

        Example:
            >>> from mlpkit import SoftmaxClassifier
            >>> from mlpkit.data import digits
            >>> from mlpkit.nn import MLPOptions
            >>> options = MLPOptions(norm="batch", dropout=0.2)
            >>> SoftmaxClassifier.for_data(digits().train, (32,), options).network.layers[0]
            Linear(64, 32) -> BatchNorm -> ReLU()
        """
        network = MLP.from_options(
            math.prod(train.inputs.shape[1:]),
            hidden_features,
            len(_class_names(train)),
            MLPOptions() if options is None else options,
            generator=generator,
        )
        return cls.with_network(network, train)

    @classmethod
    def with_network(cls, network: MLP, train: LabeledTensors) -> SoftmaxClassifier:
        """Return a classifier of a network with the preprocessing of a data set.

        Args:
            network: An MLP with an input for each value of an example and an output for each class.
            train: The training examples, with class names.

        Raises:
            ValueError: If the data has no class names, or the network does not fit it.
        """
        mean, std = mean_and_std(train.inputs)
        shape = tuple(train.inputs.shape[1:])
        return cls(network, classes=_class_names(train), mean=mean, std=std, input_shape=shape)

    def predict_proba(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the probability of each class, at the fitted temperature, in float32.

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
        return self._apply_in_batches(
            x,
            batch_size,
            lambda logits: torch.softmax(logits.float() / fast_buffer(self, "temperature"), -1),
        )

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

    def evaluate(
        self,
        data: TrainingData,
        *,
        batch_size: int = 4096,
        device: torch.device | str | None = None,
        precision: Precision = "fp32",
    ) -> Evaluation:
        """Return loss, accuracy, confusion matrix and calibration at the fitted temperature.

        The loss is the mean cross-entropy of :meth:`predict_proba`, in nats. Every module is in
        evaluation mode, and is put back into its own mode afterwards.

        Args:
            data: Examples to evaluate: ``LabeledTensors``, ``Batches`` or a ``DataLoader``.
            batch_size: Number of examples in one forward pass, where the data are not in batches
                already.
            device: The model is moved to this device; None leaves it where it is.
            precision: Precision of the forward pass; the weights stay as they are.

        Raises:
            TypeError: If ``data`` is none of these.
            ValueError: If there is no example, the targets do not fit the classes, or the data have
                other class names or the same in another order.

        Example:
            >>> from mlpkit import SoftmaxClassifier
            >>> from mlpkit.data import digits
            >>> train, val, test = digits()
            >>> SoftmaxClassifier.for_data(train, (16,)).evaluate(test).num_examples
            360
        """
        check_choice("precision", precision, get_args(Precision))
        check_same_classes({"model": self, "data": data})
        batches = as_batches("data", data, batch_size=batch_size, shuffle=False, seed=0)
        if device is not None:
            self.to(check_device(device))
        return evaluate(
            self,
            ObservedBatches(batches, self._check_range),
            CrossEntropy(),
            precision=precision,
            device=self.mean.device,
            classes=self.classes,
            temperature=self.temperature,
        )

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
        given: object = val
        if not isinstance(given, LabeledTensors):
            raise TypeError(error_message("val", "LabeledTensors", type(given).__name__))
        targets = val.targets
        if targets.is_floating_point():
            raise TypeError(error_message("val.targets", "class indices", targets.dtype))
        if len(val) == 0:
            raise ValueError(error_message("val", "at least one example", len(val)))
        check_same_classes({"model": self, "val": val})
        if int(targets.max()) >= len(self.classes):
            rule = f"below the number of classes of the model ({len(self.classes)})"
            raise ValueError(error_message("val.targets", rule, int(targets.max())))
        scores = self._apply_in_batches(val.inputs, 4096, lambda logits: logits.double())
        mean = _weighted_mean(val.weights, scores.device)
        epsilon = 1 / (_effective_number(val) + 1)
        chosen = mean(scores.gather(1, targets.to(scores.device)[:, None]).squeeze(1))
        chosen = (1 - epsilon) * chosen + epsilon * mean(scores.mean(-1))
        inverse = torch.ones((), dtype=torch.float64, device=scores.device)
        for _ in range(100):
            probabilities = torch.softmax(inverse * scores, -1)
            expected = (probabilities * scores).sum(-1)
            slope = mean(expected) - chosen
            curvature = mean((probabilities * scores.square()).sum(-1) - expected.square())
            # At most half: far from the optimum the quadratic model overshoots below zero.
            step = torch.minimum(slope / curvature.clamp_min(1e-12), inverse / 2)
            inverse = (inverse - step).clamp(1e-3, 1e3)
            if abs(float(step)) < 1e-10:
                break
        self.temperature.copy_(1.0 / inverse)
        return float(self.temperature)

    def reset_calibration(self) -> None:
        """Set the temperature to 1."""
        self.temperature.fill_(1.0)

    def save(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, and return it.

        The folder has the layout of the Hugging Face hub. ``model.safetensors`` is complete: it
        also holds the configuration and a digest of the weights. If the save is interrupted,
        :meth:`load` finds the whole old model or the whole new one.

        Args:
            folder: Created if it does not exist; a model in it is replaced.

        Raises:
            ArtifactError: If a weight is not finite.
            ConfigError: If the network has an activation of a class without a name.
            OSError: If the folder cannot be written.
        """
        tensors = {name: value.detach() for name, value in self.state_dict().items()}
        artifact = Artifact(
            network=self.network.config,  # of the current modules
            classes=self.classes,
            input_shape=self.input_shape,
            tensors=tensors,
        )
        return write_artifact(Path(folder), artifact)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> SoftmaxClassifier:
        """Return the classifier saved in a folder, in evaluation mode; loading never runs code.

        Args:
            folder: What :meth:`save` wrote, or its ``model.safetensors`` alone.
            device: Device of the weights.

        Raises:
            ArtifactError: If the file is missing, damaged or of an unknown version.
            ValueError: If this machine does not have the device.
        """
        target = check_device(device)
        found = read_artifact(Path(folder))
        try:
            model = cls(
                found.bare_network(),
                classes=found.classes,
                mean=found.tensors["mean"],
                std=found.tensors["std"],
                input_shape=found.input_shape,
            )
            model.load_state_dict(dict(found.tensors), assign=True)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"{folder} describes a model that cannot be built: {error}"
            ) from error
        return model.to(target).eval()

    def extra_repr(self) -> str:
        """Return class names and input shape."""
        return f"classes={self.classes}, input_shape={self.input_shape}"


def _effective_number(val: LabeledTensors) -> float:
    """Return the effective number of examples, which does not depend on the scale of weights."""
    if val.weights is None:
        return len(val)
    weights = val.weights.double()
    return float(weights.sum() ** 2 / weights.square().sum())


def _weighted_mean(weights: Tensor | None, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the mean over examples, with their weights.

    Raises:
        ValueError: If all weights are 0.
    """
    if weights is None:
        return torch.mean
    shares = weights.to(device).to(accumulator_dtype(device))
    total = shares.sum()
    if not bool(total > 0):
        raise ValueError(error_message("val.weights", "above 0 for at least one example", 0.0))
    shares = shares / total
    return lambda values: (shares * values).sum()


def _class_names(train: LabeledTensors) -> tuple[str, ...]:
    if train.classes is None:
        cure = "give LabeledTensors its classes"
        raise ValueError(error_message("train", "examples with class names", train, cure))
    return train.classes
