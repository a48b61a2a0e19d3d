"""Ensemble: several models of one kind that predict together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit._class_names import check_same_classes
from mlpkit._devices import Precision, accumulator_dtype, check_device
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.errors import ArtifactError
from mlpkit.models._artifact import ENSEMBLE, Artifact, read_artifact, write_artifact
from mlpkit.models._calibration import (
    check_held_out_classes,
    class_temperature,
    label_temperatures,
)
from mlpkit.models._input_range import ObservedBatches
from mlpkit.models._multilabel_classifier import MultilabelClassifier
from mlpkit.models._regressor import Regressor
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.models._standardized_model import at_least_float32, fast_buffer
from mlpkit.training import Evaluation, Objective, Task, TrainingData
from mlpkit.training.batches import as_batches
from mlpkit.training.metrics import evaluate

__all__ = ["Ensemble"]

_Member: TypeAlias = SoftmaxClassifier | MultilabelClassifier | Regressor


class Ensemble(nn.Module):
    r"""Several models of one kind, whose probabilities or predictions are averaged.

    .. math::
        p(c \mid x) = \frac{1}{K} \sum_{k=1}^{K} p_k(c \mid x), \qquad
        \hat{y}(x) = \frac{1}{K} \sum_{k=1}^{K} \hat{y}_k(x)

    The output has the form of that of a member. For classes it is :math:`\log p`, for labels the
    logit of :math:`p`, at the temperatures of the members; for a regression it is the prediction.
    With ``predicts_std`` the members are the components of a mixture of normal distributions, of
    which the output has the mean and the logarithm of the variance,

    .. math:: \sigma^2 = \frac{1}{K} \sum_k (\sigma_k^2 + \hat{y}_k^2) - \hat{y}^2.

    :meth:`calibrate` fits a temperature on top of the average. :func:`mlpkit.training.fit_many`
    trains the members together. They are not copied.

    Args:
        members: One model or more, all of the same class. Their classes or targets, the shape of
            their inputs, their encoder and their thresholds must be the same; their networks and
            their preprocessing may differ.

    Shape:
        - Input: as that of a member.
        - Output: as that of a member.

    Raises:
        TypeError: If a member is not a model of mlpkit.
        ValueError: If there is no member, one occurs twice, or two differ.

    Example:
        >>> import torch
        >>> from mlpkit import SoftmaxClassifier
        >>> from mlpkit.data import digits
        >>> from mlpkit.models import Ensemble
        >>> from mlpkit.training import TrainerConfig, fit_many
        >>> train, val, test = digits()
        >>> members = [
        ...     SoftmaxClassifier.for_data(
        ...         train, (32,), generator=torch.Generator().manual_seed(seed)
        ...     )
        ...     for seed in range(3)
        ... ]
        >>> results = fit_many(members, train, val, config=TrainerConfig(epochs=3, progress=False))
        >>> ensemble = Ensemble(members)
        >>> ensemble.predict_proba(test.inputs).shape
        torch.Size([360, 10])
        >>> temperature = ensemble.calibrate(val)

    References:
        Hansen, Salamon (1990), Neural Network Ensembles, IEEE PAMI 12, pages 993-1001.
        Lakshminarayanan, Pritzel, Blundell (2017), Simple and Scalable Predictive Uncertainty
        Estimation using Deep Ensembles, arXiv:1612.01474, section 2.4 (the average and the
        mixture).
    """

    members: nn.ModuleList
    temperature: Tensor

    def __init__(self, members: Sequence[_Member]) -> None:
        super().__init__()
        _check_members(members)
        self.members = nn.ModuleList(members)
        first = self._first
        if not isinstance(first, Regressor):
            self.register_buffer("temperature", torch.ones_like(first.temperature))

    @property
    def _first(self) -> _Member:
        return cast("_Member", self.members[0])

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.members)

    def __iter__(self) -> Iterator[_Member]:
        """Return an iterator over the members."""
        return cast("Iterator[_Member]", iter(self.members))

    @property
    def task(self) -> Task:
        """The task of the members."""
        return self._first.task

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Name of each class or label; None for a regression."""
        return None if isinstance(self._first, Regressor) else self._first.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one raw example."""
        return self._first.input_shape

    @property
    def encoder(self) -> TableEncoder | None:
        """The encoder of the members, which turns the rows of a table into inputs."""
        return self._first.encoder

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities, logits or predictions for raw inputs."""
        first = self._first
        outputs = torch.stack([_calibrated(member, member(x)) for member in self])
        if isinstance(first, Regressor):
            return _mixture(outputs) if first.predicts_std else outputs.mean(0)
        if isinstance(first, MultilabelClassifier):
            return _log_mean(F.logsigmoid(outputs)) - _log_mean(F.logsigmoid(-outputs))
        return _log_mean(torch.log_softmax(outputs, -1))

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of outputs of a classifier at the temperature of the ensemble.

        Raises:
            TypeError: If the members are regressors.
        """
        first = self._classifier("probabilities")
        scaled = at_least_float32(outputs) / self._in_target_shape(fast_buffer(self, "temperature"))
        if isinstance(first, MultilabelClassifier):
            return torch.sigmoid(scaled)
        return torch.softmax(scaled, -1)

    def predict(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the prediction for each example, as the members do.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Shape:
            - Input: as that of a member.
            - Output: class indices, int64, ``(N,)``; for labels bool, ``(N, *target_shape)``; for a
              regression floating-point, ``(N, *target_shape)``.
        """
        first = self._first
        if isinstance(first, Regressor):
            return first._apply_in_batches(x, batch_size, first.means, model=self)
        if isinstance(first, MultilabelClassifier):
            thresholds = first.target_thresholds
            return first._apply_in_batches(
                x, batch_size, lambda found: self.probabilities(found) > thresholds, model=self
            )
        return first._apply_in_batches(x, batch_size, lambda found: found.argmax(-1), model=self)

    def predict_proba(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the probability of each class or label, in float32 or float64.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Raises:
            TypeError: If the members are regressors.

        Shape:
            - Input: as that of a member.
            - Output: ``(N, num_classes)``, or ``(N, *target_shape)`` for labels.
        """
        first = self._classifier("predict_proba")
        return first._apply_in_batches(x, batch_size, self.probabilities, model=self)

    def predict_log_proba(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the logarithm of the probability of each class or label, in float32 or float64.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Raises:
            TypeError: If the members are regressors.

        Shape:
            - Input and output: as those of :meth:`predict_proba`.
        """
        first = self._classifier("predict_log_proba")
        temperature = self._in_target_shape(fast_buffer(self, "temperature"))
        if isinstance(first, MultilabelClassifier):
            return first._apply_in_batches(
                x, batch_size, lambda found: F.logsigmoid(found / temperature), model=self
            )
        return first._apply_in_batches(
            x, batch_size, lambda found: torch.log_softmax(found / temperature, -1), model=self
        )

    def predict_std(self, x: Tensor, *, batch_size: int = 4096) -> Tensor:
        """Return the standard deviation of each prediction: that of the mixture.

        Args:
            x: Raw inputs, on any device.
            batch_size: Number of examples in one forward pass, which bounds the memory.

        Raises:
            TypeError: If the members are no regressors.
            ValueError: If they do not predict standard deviations.

        Shape:
            - Input: as that of a member.
            - Output: ``(N, *target_shape)``, above 0.
        """
        first = self._first
        if not isinstance(first, Regressor):
            found = Unquoted(type(first).__name__)
            raise TypeError(error_message("members", "regressors for predict_std", found))
        return first._apply_in_batches(x, batch_size, first.stds, model=self)

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

        Args:
            data: Examples to evaluate: ``LabeledTensors``, ``Batches`` or a ``DataLoader``.
            objective: The objective; None is the default of the members.
            batch_size: Number of examples in one forward pass, where the data are not in batches
                already.
            device: The ensemble is moved to this device; None leaves it where it is.
            precision: Precision of the forward pass; the weights stay as they are.

        Raises:
            TypeError: If ``data`` is none of these.
            ValueError: If there is no example, the targets do not fit the members, or the data have
                other class names or the same in another order.
        """
        first = self._first
        check_choice("precision", precision, get_args(Precision))
        check_same_classes({"model": first, "data": data})
        batches = as_batches("data", data, batch_size=batch_size, shuffle=False, seed=0)
        if device is not None:
            self.to(check_device(device))
        temperature = self._buffers.get("temperature")
        return evaluate(
            self,
            ObservedBatches(batches, first.check_input_range),
            first.choose_objective(objective),
            precision=precision,
            device=first.mean.device,
            classes=first._names,
            temperature=None if temperature is None else self._in_target_shape(temperature),
            thresholds=first._decision.thresholds,
            model_task=self.task,
        )

    def calibrate(self, val: LabeledTensors) -> float | tuple[float, ...]:
        r"""Fit the temperature on held-out examples, and return it, or one for each label.

        Minimizes the cross-entropy of ``softmax(outputs / T)`` over :math:`T`, as
        :meth:`mlpkit.SoftmaxClassifier.calibrate` does: the average of several probabilities is
        less confident than its members, also if each of them is calibrated.

        Args:
            val: Examples that no member was trained on. Weights of the examples weight the
                cross-entropy.

        Raises:
            TypeError: If the members are regressors, or ``val`` is not ``LabeledTensors`` of the
                targets of the members.
            ValueError: If there is no example, the targets do not fit the members, all weights are
                0, or the examples have other class names or the same in another order.

        References:
            Rahaman, Thiery (2021), Uncertainty Quantification and Deep Ensembles,
            arXiv:2007.08792, section 4 (pool, then calibrate).
        """
        first = self._classifier("calibrate")
        temperature = fast_buffer(self, "temperature")
        wide = accumulator_dtype(temperature.device)
        if isinstance(first, MultilabelClassifier):
            targets = first._held_out_targets(val)
            outputs = first._apply_in_batches(
                val.inputs, 4096, lambda found: found.to(wide), model=self
            )
            temperature.copy_(label_temperatures(outputs, targets, val.weights))
            return tuple(temperature.tolist())
        targets = check_held_out_classes(first, val)
        outputs = first._apply_in_batches(
            val.inputs, 4096, lambda found: found.to(wide), model=self
        )
        temperature.copy_(class_temperature(outputs, targets, val.weights))
        return float(temperature)

    def save(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, and return it.

        The file holds all members. It is written as that of a member; see
        :meth:`mlpkit.SoftmaxClassifier.save`.

        Args:
            folder: Created if it does not exist; a model in it is replaced.

        Raises:
            ArtifactError: If a weight is not finite, shares its memory with another, or is on the
                meta device.
            ConfigError: If a network has an activation of a class without a name.
            OSError: If the folder cannot be written.
        """
        members = tuple(replace(member._artifact(), encoder=None) for member in self)
        artifact = Artifact(
            kind=ENSEMBLE,
            network=members[0].network,
            input_shape=self.input_shape,
            details={},
            tensors={name: value.detach() for name, value in self.state_dict().items()},
            encoder=None if self.encoder is None else self.encoder.to_dict(),
            members=members,
        )
        return write_artifact(Path(folder), artifact)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str = "cpu") -> Self:
        """Return the ensemble saved in a folder, in evaluation mode; loading never runs code.

        Args:
            folder: What :meth:`save` wrote, or its ``model.safetensors`` alone.
            device: Device of the weights.

        Raises:
            ArtifactError: If the file is missing, damaged, of an unknown version, or no ensemble.
            ValueError: If this machine does not have the device.
        """
        target = check_device(device)
        return cls._build(read_artifact(Path(folder), ENSEMBLE), folder).to(target)

    @classmethod
    def _build(cls, artifact: Artifact, source: str | Path) -> Self:
        """Return the ensemble of a file in evaluation mode; ``source`` names it in errors."""
        classes = {each._kind.format: each for each in get_args(_Member)}
        members = [classes[one.kind.format]._build(one, source) for one in artifact.members]
        try:
            for member in members:
                if artifact.encoder is not None:
                    member.encoder = TableEncoder.from_dict(artifact.encoder)
            ensemble = cls(members)
            ensemble.load_state_dict(dict(artifact.tensors), assign=True)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"{source} describes a model that cannot be built: {error}"
            ) from error
        temperature = ensemble._buffers.get("temperature")
        if temperature is not None and not bool((temperature > 0).all()):
            rule = "above 0"
            raise ArtifactError(
                error_message(f"temperature in {source}", rule, temperature.tolist())
            )
        return ensemble.eval()

    def _classifier(self, method: str) -> SoftmaxClassifier | MultilabelClassifier:
        """Return the first member if it is a classifier."""
        first = self._first
        if isinstance(first, Regressor):
            rule, cure = f"classifiers for {method}", "use predict"
            raise TypeError(error_message("members", rule, Unquoted("regressors"), cure))
        return first

    def _in_target_shape(self, value: Tensor) -> Tensor:
        """Return one number for each label as ``target_shape``, another value unchanged."""
        first = self._first
        return (
            value.reshape(first.target_shape) if isinstance(first, MultilabelClassifier) else value
        )

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


def _calibrated(member: _Member, outputs: Tensor) -> Tensor:
    """Return logits of a classifier at its temperature; predictions as they are."""
    if isinstance(member, Regressor):
        return outputs
    temperature = cast("Tensor", member._decision.temperature)
    return at_least_float32(outputs) / at_least_float32(temperature)


def _log_mean(log_values: Tensor) -> Tensor:
    """Return the logarithm of the mean over the first axis, given logarithms."""
    return torch.logsumexp(log_values, 0) - math.log(len(log_values))


def _mixture(outputs: Tensor) -> Tensor:
    """Return mean and log-variance of a mixture of normal distributions, ``(K, ..., 2 D)``."""
    means, log_variances = outputs.chunk(2, -1)
    mean = means.mean(0)
    variance = (log_variances.exp() + (means - mean).square()).mean(0)
    return torch.cat([mean, variance.log()], -1)


def _check_members(members: object) -> None:
    """Raise unless the members are distinct models that predict the same from the same inputs."""
    if not isinstance(members, Sequence):
        raise TypeError(error_message("members", "a sequence of models", members))
    if not members:
        raise ValueError(error_message("members", "one model or more", members))
    for number, member in enumerate(members):
        if not isinstance(member, _Member):
            rule = "a SoftmaxClassifier, a MultilabelClassifier or a Regressor"
            raise TypeError(error_message(f"members[{number}]", rule, member))
        if any(member is other for other in members[:number]):
            rule, cure = "another model than those before it", "copy it with copy.deepcopy"
            raise ValueError(error_message(f"members[{number}]", rule, member, cure))
    expected = _common(members[0])
    for number, member in enumerate(members[1:], start=1):
        for what, value in _common(member).items():
            if value != expected.get(what):
                rule = f"with the same {what} as members[0], {expected.get(what)!r}"
                raise ValueError(error_message(f"members[{number}]", rule, value))


def _common(member: _Member) -> dict[str, object]:
    """Return what all members of an ensemble must have in common."""
    found: dict[str, object] = {
        "class": Unquoted(type(member).__name__),
        "device": Unquoted(member.mean.device),
        "input_shape": member.input_shape,
        **member._details(),
        "encoder": member.encoder,
    }
    if isinstance(member, MultilabelClassifier):
        found["thresholds"] = member.thresholds.tolist()
    return found
