"""What all models share: the data they are built for, evaluation, saving and loading."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Self, get_args

import torch
from torch import Tensor

from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit._class_names import check_same_classes
from mlpkit._devices import Precision, check_device
from mlpkit._serialization import JSONValue
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.errors import ArtifactError
from mlpkit.models._artifact import Artifact, Kind, read_artifact, write_artifact
from mlpkit.models._input_range import ObservedBatches
from mlpkit.models._presets import NETWORK_DEFAULTS, TABULAR_DEFAULTS, NetworkPreset
from mlpkit.models._standardize import Preprocessing, Standardize, measure_inputs
from mlpkit.models._standardized_model import StandardizedModel
from mlpkit.nn import MLP, MLPOptions, TabularMLP
from mlpkit.training import Evaluation, Objective, Task, TrainingData
from mlpkit.training.batches import as_batches
from mlpkit.training.metrics import evaluate
from mlpkit.training.objectives import check_objective

__all__ = [
    "Decision",
    "PredictiveModel",
    "build_network",
    "check_names",
    "check_train",
    "measure",
]


class _Named(NamedTuple):
    """The names and the encoder of a model, as a source of :func:`check_same_classes`."""

    classes: tuple[str, ...] | None
    encoder: TableEncoder | None


class Decision(NamedTuple):
    """What turns the outputs of a classifier into predictions.

    Attributes:
        temperature: Divisor of the logits; None is 1.
        thresholds: Probability above which a label is predicted; None is 0.5.
    """

    temperature: Tensor | None = None
    thresholds: Tensor | None = None


class PredictiveModel(StandardizedModel, ABC):
    """A network with its preprocessing that predicts, evaluates, saves and loads itself.

    A subclass has a kind, which names its file format, and says what its outputs mean.
    """

    task: ClassVar[Task]
    _kind: ClassVar[Kind]
    _encoder: TableEncoder | None = None

    @property
    def encoder(self) -> TableEncoder | None:
        """The encoder that turns the rows of a table into inputs of this model.

        It is that of the training data, and a saved model has it; None if the inputs are no rows of
        a table. ``model.predict(model.encoder.transform(frame))`` predicts the rows of a frame.

        Raises:
            TypeError: If it is set to anything but a ``TableEncoder`` or None.
            ValueError: If it has another number of features than the model has inputs.
        """
        return self._encoder

    @encoder.setter
    def encoder(self, encoder: TableEncoder | None) -> None:
        given: object = encoder
        if given is not None and not isinstance(given, TableEncoder):
            found = Unquoted(type(given).__name__)
            raise TypeError(error_message("encoder", "a TableEncoder or None", found))
        if encoder is not None and self.input_shape != (len(encoder.feature_names),):
            rule = f"an encoder with features of shape {self.input_shape}, as the model has inputs"
            found = Unquoted(f"one with {len(encoder.feature_names)}")
            raise ValueError(error_message("encoder", rule, found))
        self._encoder = encoder

    @abstractmethod
    def predict(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the prediction for each example."""

    def choose_objective(self, given: Objective | None = None) -> Objective:
        """Return the objective that the model is trained with.

        A classifier uses an objective as it is. A regressor measures errors in standard deviations
        of its targets: it wraps a loss of the error in :class:`~mlpkit.training.ScaledTargets`.

        Args:
            given: The objective of a run; None is the default of the model.

        Raises:
            TypeError: If ``given`` is no objective.
            ValueError: If ``given`` is one of another task.
        """
        if given is None:
            return self._default_objective()
        check_objective(given)
        task: object = getattr(given, "task", None)
        if task not in (None, self.task):
            rule = f"one with the task {self.task!r} for a {type(self).__name__}"
            cure = f"use {self._default_objective()!r}"
            raise ValueError(error_message("objective", rule, given, cure))
        return self._adapted(given)

    @abstractmethod
    def _default_objective(self) -> Objective:
        """Return the objective that suits the outputs of the model."""

    def _adapted(self, objective: Objective) -> Objective:
        """Return an objective for the units of the targets."""
        return objective

    @property
    @abstractmethod
    def _names(self) -> tuple[str, ...] | None:
        """Name of each class, label or target; None without names."""

    @property
    def _decision(self) -> Decision:
        """What turns outputs into predictions, in the shape of the targets of one example."""
        return Decision()

    @abstractmethod
    def _details(self) -> dict[str, JSONValue]:
        """Return the keys of the kind for the description of the model in its file."""

    @classmethod
    @abstractmethod
    def _from_artifact(cls, artifact: Artifact) -> Self:
        """Return the model of a file, whose weights have no memory yet; errors name arguments."""

    def evaluate(
        self,
        data: TrainingData,
        *,
        objective: Objective | None = None,
        batch_size: int = 4096,
        device: torch.device | str | None = None,
        precision: Precision = "fp32",
    ) -> Evaluation:
        """Return the loss and the metrics of the predictions on labeled examples.

        For a classifier these are the mean cross-entropy of ``predict_proba`` in nats, and the
        metrics of ``predict``, both at the fitted temperature. For a regressor they are the mean of
        the objective, and the errors in the units of the targets. Every module is in evaluation
        mode, and is put back into its own mode afterwards.

        Args:
            data: Examples to evaluate: ``LabeledTensors``, ``Batches`` or a ``DataLoader``.
            objective: The objective; None is the default of the model. For a classifier its mean is
                reported as ``objective_loss``, at temperature 1, unless it is the cross-entropy.
            batch_size: Number of examples in one forward pass, where the data are not in batches
                already.
            device: The model is moved to this device; None leaves it where it is.
            precision: Precision of the forward pass; the weights stay as they are.

        Raises:
            TypeError: If ``data`` is none of these.
            ValueError: If there is no example, the targets do not fit the model, or the data have
                other class names or the same in another order.

        Example:
            >>> from mlpkit import SoftmaxClassifier
            >>> from mlpkit.data import digits
            >>> train, val, test = digits()
            >>> SoftmaxClassifier.for_data(train, (16,)).evaluate(test).num_examples
            360
        """
        check_choice("precision", precision, get_args(Precision))
        check_same_classes({"model": _Named(self._names, self.encoder), "data": data})
        batches = as_batches("data", data, batch_size=batch_size, shuffle=False, seed=0)
        if device is not None:
            self.to(check_device(device))
        return evaluate(
            self,
            ObservedBatches(batches, self.check_input_range),
            self.choose_objective(objective),
            precision=precision,
            device=self.mean.device,
            classes=self._names,
            temperature=self._decision.temperature,
            thresholds=self._decision.thresholds,
            model_task=self.task,
        )

    def save(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, and return it.

        The folder has the layout of the Hugging Face hub. ``model.safetensors`` is complete: it
        also holds the configuration and a digest of the weights. If the save is interrupted,
        :meth:`load` finds the whole old model or the whole new one.

        Args:
            folder: Created if it does not exist; a model in it is replaced.

        Raises:
            ArtifactError: If a weight is not finite, shares its memory with another, or is on the
                meta device.
            ConfigError: If the network has an activation of a class without a name.
            OSError: If the folder cannot be written.
        """
        return write_artifact(Path(folder), self._artifact())

    def _artifact(self) -> Artifact:
        """Return what :meth:`save` writes."""
        return Artifact(
            kind=self._kind,
            network=self.network.config,  # of the current modules
            input_shape=self.input_shape,
            details=self._details(),
            tensors={name: value.detach() for name, value in self.state_dict().items()},
            encoder=None if self.encoder is None else self.encoder.to_dict(),
        )

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> Self:
        """Return the model saved in a folder, in evaluation mode; loading never runs code.

        Args:
            folder: What :meth:`save` wrote, or its ``model.safetensors`` alone.
            device: Device of the weights.

        Raises:
            ArtifactError: If the file is missing, damaged, of an unknown version, or a model of
                another class; :func:`mlpkit.models.load_model` loads any.
            ValueError: If this machine does not have the device.
        """
        target = check_device(device)
        return cls._build(read_artifact(Path(folder), cls._kind), folder).to(target)

    @classmethod
    def _build(cls, artifact: Artifact, source: str | Path) -> Self:
        """Return the model of a file in evaluation mode; ``source`` names it in errors."""
        try:
            model = cls._from_artifact(artifact)
            model.load_state_dict(dict(artifact.tensors), assign=True)
            if artifact.encoder is not None:
                model.encoder = TableEncoder.from_dict(artifact.encoder)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"{source} describes a model that cannot be built: {error}"
            ) from error
        return model.eval()

    def _complete_for(self, train: LabeledTensors) -> Self:
        """Move the statistics to the device of the weights, keep the encoder; return the model."""
        self.encoder = train.encoder
        device = next(self.network.parameters()).device
        for name, value in self._buffers.items():
            if value is not None:
                self._buffers[name] = value.to(device)
        return self


def check_train(train: object) -> LabeledTensors:
    """Return training examples.

    Raises:
        TypeError: If they are not ``LabeledTensors``.
    """
    if isinstance(train, LabeledTensors):
        return train
    cure = "LabeledTensors(inputs, targets) makes one; of data with several parts pass the first"
    raise TypeError(error_message("train", "LabeledTensors", Unquoted(type(train).__name__), cure))


def build_network(
    train: LabeledTensors,
    out_features: int,
    task: Task,
    hidden_features: Sequence[int] | None,
    options: MLPOptions | None,
    preset: NetworkPreset,
    generator: torch.Generator | None,
) -> MLP | TabularMLP:
    """Return a network with an input for each value of an example; None is the default."""
    is_tabular = check_choice("preset", preset, get_args(NetworkPreset)) == "tabular"
    defaults = (TABULAR_DEFAULTS if is_tabular else NETWORK_DEFAULTS)[task]
    widths = defaults.widths(len(train)) if hidden_features is None else hidden_features
    chosen = defaults.options if options is None else options
    if is_tabular:
        counts = None if train.encoder is None else train.encoder.num_categories
        return TabularMLP.for_data(
            train.inputs, counts, widths, out_features, chosen, generator=generator
        )
    inputs = math.prod(train[:1].inputs.shape[1:])
    return MLP.from_options(inputs, widths, out_features, chosen, generator=generator)


def measure(
    network: MLP | TabularMLP, train: LabeledTensors, standardize: Standardize | None
) -> Preprocessing:
    """Return what a model of a network takes from its training inputs.

    Raises:
        ValueError: As :func:`measure_inputs`, or if the inputs of a TabularMLP are standardized.
    """
    how = standardize
    if isinstance(network, TabularMLP):
        how = None if standardize == "auto" else standardize
        if how is not None:
            rule = "'auto' or None for a TabularMLP, which scales its inputs"
            raise ValueError(error_message("standardize", rule, how))
    return measure_inputs(train, how, next(network.parameters()).dtype)


def check_names(argument: str, given: object, count: int, rule: str) -> tuple[str, ...]:
    """Return distinct names, of which there is a given number, as Python strings.

    Args:
        argument: Name of the argument.
        given: The names.
        count: Number of names.
        rule: Their number in words, for the error message.

    Raises:
        TypeError: If they are not a sequence of strings.
        ValueError: If there is another number, or two are equal.
    """
    if (
        isinstance(given, str)
        or not isinstance(given, Sequence)
        or not all(isinstance(name, str) for name in given)
    ):
        raise TypeError(error_message(argument, "a sequence of names", given))
    names = tuple(map(str, given))  # NumPy's strings become Python's
    if len(names) != count:
        raise ValueError(error_message(argument, f"as many names as {rule} ({count})", names))
    if len(set(names)) < len(names):
        raise ValueError(error_message(argument, "distinct names", names))
    return names
