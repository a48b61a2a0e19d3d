"""The fit of ``preset="tabular"``: an ensemble of tabular networks."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from torch import Tensor

from mlpkit.data import LabeledTensors
from mlpkit.models import (
    TABULAR_DEFAULTS,
    Ensemble,
    MultilabelClassifier,
    Regressor,
    SoftmaxClassifier,
    tabular_config,
)
from mlpkit.nn import MLPOptions
from mlpkit.sklearn._settings import TabularSettings
from mlpkit.training import FitResult, Task, TrainerConfig, fit_many

__all__ = ["TabularFit", "fit_ensemble"]

Rows = npt.NDArray[np.intp]

VALIDATION_FRACTION: Final = 0.2
_FEWEST: Final = 10  # examples of which a part is held out; without one, probabilities are too sure
# Number of networks; docs/decisions/0012-scikit-learn.md says why.
_MEMBERS: Final = 2
_FEW_MEMBERS: Final = 4  # for fewer than _FEW examples, whose fits are short
_FEW: Final = 1000
_Kind: TypeAlias = type[SoftmaxClassifier] | type[MultilabelClassifier] | type[Regressor]
_KINDS: Final[dict[Task, _Kind]] = {
    "classification": SoftmaxClassifier,
    "multilabel": MultilabelClassifier,
    "regression": Regressor,
}


class TabularFit(NamedTuple):
    """What a fit has made.

    Attributes:
        ensemble: The networks, in float64.
        loss_curve: Loss of each epoch, the mean over the networks.
        validation_scores: Accuracy or R2 on the held-out part after each epoch, likewise; None
            without such a part.
        num_train: Number of examples that the networks were trained on.
        hidden_features: Output width of each hidden layer.
    """

    ensemble: Ensemble
    loss_curve: list[float]
    validation_scores: list[float] | None
    num_train: int
    hidden_features: tuple[int, ...]


class TargetUnits(NamedTuple):
    """Mean and standard deviation of the targets of a regression, float64, ``(D,)``.

    The networks train in float32, which may not distinguish large targets such as time stamps.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, data: LabeledTensors) -> TargetUnits:
        """Measure the units; the standard deviation of equal targets is 1."""
        rows = data.targets.reshape(len(data), -1)
        largest = rows.abs().amax(0)
        unit = torch.where(largest > 0, largest, 1.0)  # squares of the quotients are finite
        mean, std = (rows / unit).mean(0) * unit, (rows / unit).std(0, correction=0) * unit
        return cls(mean, torch.where(std > 0, std, 1.0))

    def standardized(self, data: LabeledTensors) -> LabeledTensors:
        """Return the examples with standardized targets in float32."""
        rows = data.targets.reshape(len(data), -1)
        targets = ((rows - self.mean) / self.std).reshape(data.targets.shape).float()
        return LabeledTensors(data.inputs, targets, weights=data.weights, encoder=data.encoder)

    def restore(self, members: Iterable[object]) -> None:
        """Let models in float64 that were trained on standardized targets predict in the units."""
        for member in members:
            assert isinstance(member, Regressor), "the task is a regression"
            member.target_mean.mul_(self.std).add_(self.mean)
            member.target_std.mul_(self.std)


def fit_ensemble(
    data: LabeledTensors, task: Task, settings: TabularSettings, random: np.random.RandomState
) -> TabularFit:
    """Return networks trained on a part of the examples, with the best epoch on the others.

    Args:
        data: The examples, with the encoder of their rows. Targets of a regression are in float64.
        task: What the targets are.
        settings: The parameters of the estimator.
        random: Divides the examples, and draws the seed of each network.

    Raises:
        NonFiniteError: If a loss or a gradient became NaN or infinite.
    """
    units: TargetUnits | None = None
    if task == "regression":
        units = TargetUnits.of(data)
        data = units.standardized(data)
    train, val = _divided(data, settings, random)
    n_members = settings.n_members or (_FEW_MEMBERS if len(train) < _FEW else _MEMBERS)
    seeds = random.randint(np.iinfo(np.int32).max, size=n_members + 1).tolist()
    defaults = TABULAR_DEFAULTS[task]
    widths = settings.hidden_layer_sizes
    widths = defaults.hidden_features if widths is None else widths
    options = _options(defaults.options, settings)
    members = [
        _KINDS[task].for_data(
            train,
            widths,
            options,
            preset="tabular",
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in seeds[1:]
    ]
    config = _config(task, train, settings, has_val=val is not None, seed=seeds[0])
    results: Sequence[FitResult] = ()
    try:
        results = fit_many(members, train, val, config=config)
    except KeyboardInterrupt:
        message = "Training interrupted by user."
        warnings.warn(message, UserWarning, stacklevel=5)
    ensemble = Ensemble(members)
    if val is not None and task != "regression":
        ensemble.calibrate(val)
    # In float64 the prediction for a row does not depend on the other rows.
    ensemble.double()
    if units is not None:
        units.restore(members)
    scores = None if val is None else _mean_curve(results, _SCORES[task])
    return TabularFit(ensemble, _mean_curve(results, "train_loss"), scores, len(train), widths)


_SCORES: Final[dict[Task, str]] = {
    "classification": "val_accuracy",
    "multilabel": "val_accuracy",
    "regression": "val_r2",
}


def _options(options: MLPOptions, settings: TabularSettings) -> MLPOptions:
    """Return the options of the preset with the activation of the estimator."""
    if settings.activation is None:
        return options
    return dataclasses.replace(options, activation=settings.activation)


def _config(
    task: Task, train: LabeledTensors, settings: TabularSettings, *, has_val: bool, seed: int
) -> TrainerConfig:
    """Return the settings of the preset with the parameters of the estimator."""
    config = tabular_config(task, len(train))
    epochs, optimizer = config.epochs, config.optimizer
    assert epochs is not None, "the preset has them"
    assert optimizer is not None, "likewise"
    decay = optimizer.weight_decay if settings.alpha is None else settings.alpha
    size = config.batch_size if settings.batch_size == "auto" else settings.batch_size
    return dataclasses.replace(
        config,
        batch_size=size,
        optimizer=dataclasses.replace(optimizer, weight_decay=decay),
        epochs=min(epochs, settings.max_iter or -(-epochs // 2)),
        restore_best=has_val,
        device="cpu",
        seed=seed,
        progress="lines" if settings.verbose else False,
    )


def _divided(
    data: LabeledTensors, settings: TabularSettings, random: np.random.RandomState
) -> tuple[LabeledTensors, LabeledTensors | None]:
    """Return the examples to train on and those held out; None if there are few."""
    fraction = settings.validation_fraction
    fraction = VALIDATION_FRACTION if fraction is None else fraction
    if fraction == 0.0 or len(data) < _FEWEST:
        return data, None
    count = max(1, min(len(data) - 1, round(fraction * len(data))))
    labels = None if data.targets.is_floating_point() else data.targets.numpy()
    if labels is not None:
        sizes = np.unique(labels, return_counts=True)[1]
        if sizes.min() < 2 or min(count, len(data) - count) < len(sizes):
            return _divided_by_class(data, labels, count, random)
    train, val = train_test_split(
        np.arange(len(data)), test_size=count, random_state=random, stratify=labels
    )
    return data.subset(train), data.subset(val)


def _divided_by_class(
    data: LabeledTensors, labels: Rows, count: int, random: np.random.RandomState
) -> tuple[LabeledTensors, LabeledTensors | None]:
    """Return two parts of examples that cannot be stratified, the first with one of each class.

    A held-out example of a class that was not trained on has a loss that grows with each epoch, so
    the first epochs would seem best.
    """
    order = random.permutation(len(data))
    first = np.unique(labels[order], return_index=True)[1]
    val = np.delete(order, first)[:count]
    if not len(val):
        return data, None
    return data.subset(np.setdiff1d(order, val)), data.subset(val)


def _mean_curve(results: Sequence[FitResult], column: str) -> list[float]:
    """Return the mean over the networks of a column of their histories."""
    curves = [[row.to_dict()[column] for row in result.history] for result in results]
    return np.mean(np.array(curves, dtype=np.float64), axis=0).tolist() if curves else []
