"""The fit of ``preset="tabular"``: an ensemble of tabular networks."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
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
_FEWEST: Final = 10  # examples of which some are held out; without, probabilities are too sure
_FEW_ROWS: Final = 2000  # fewer get the effort _SMALL
_VALIDATIONS: Final = 32  # at most; one of a small table takes as long as a step
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
        validation_scores: Accuracy or R2 on the held-out examples of each network after each epoch
            in which it was validated, likewise; None without such examples.
        num_train: Number of examples that each network was trained on.
        hidden_features: Output width of each hidden layer.
    """

    ensemble: Ensemble
    loss_curve: list[float]
    validation_scores: list[float] | None
    num_train: int
    hidden_features: tuple[int, ...]


class _Effort(NamedTuple):
    """How much a fit computes; docs/decisions/0012-scikit-learn.md says why."""

    n_members: int
    divisor: int  # of the epochs of tabular_config
    hidden_features: tuple[int, ...]


_SMALL: Final = _Effort(n_members=5, divisor=4, hidden_features=(128, 128, 128))
_LARGE: Final = _Effort(n_members=2, divisor=2, hidden_features=(128, 128))


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
    """Return networks of which each holds out other examples, to choose its best epoch.

    Args:
        data: The examples, with the encoder of their rows. Targets of a regression are in float64.
        task: What the targets are.
        settings: The parameters of the estimator.
        random: Chooses the held-out examples, and draws the seed of each network.

    Raises:
        NonFiniteError: If a loss or a gradient became NaN or infinite.
    """
    units: TargetUnits | None = None
    if task == "regression":
        units = TargetUnits.of(data)
        data = units.standardized(data)
    effort = _SMALL if len(data) < _FEW_ROWS else _LARGE
    n_members = settings.n_members or effort.n_members
    fraction = settings.validation_fraction
    fraction = VALIDATION_FRACTION if fraction is None else fraction
    held_out: list[Rows] = []
    if fraction > 0.0 and len(data) >= _FEWEST:
        held_out = _held_out(data, fraction, n_members, random)
    trains = [data.subset(np.setdiff1d(np.arange(len(data)), rows)) for rows in held_out]
    vals = [data.subset(rows) for rows in held_out]
    num_train = len(trains[0]) if trains else len(data)
    seeds = random.randint(np.iinfo(np.int32).max, size=n_members + 1).tolist()
    widths = settings.hidden_layer_sizes
    widths = effort.hidden_features if widths is None else widths
    options = _options(TABULAR_DEFAULTS[task].options, settings)
    members = [
        _KINDS[task].for_data(
            data,
            widths,
            options,
            preset="tabular",
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in seeds[1:]
    ]
    config = _config(task, num_train, settings, effort, has_val=bool(vals), seed=seeds[0])
    results: Sequence[FitResult] = ()
    try:
        results = fit_many(members, trains or data, vals or None, config=config)
    except KeyboardInterrupt:
        message = "Training interrupted by user."
        warnings.warn(message, UserWarning, stacklevel=5)
    ensemble = Ensemble(members)
    if len(vals) == 1 and task != "regression":
        ensemble.calibrate(vals[0])  # several networks together are seldom too sure
    # In float64 the prediction for a row does not depend on the other rows.
    ensemble.double()
    if units is not None:
        units.restore(members)
    scores = _mean_curve(results, _SCORES[task]) if vals else None
    return TabularFit(ensemble, _mean_curve(results, "train_loss"), scores, num_train, widths)


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
    task: Task,
    num_train: int,
    settings: TabularSettings,
    effort: _Effort,
    *,
    has_val: bool,
    seed: int,
) -> TrainerConfig:
    """Return the settings of the preset with the parameters of the estimator."""
    config = tabular_config(task, num_train)
    epochs, optimizer = config.epochs, config.optimizer
    assert epochs is not None, "the preset has them"
    assert optimizer is not None, "likewise"
    decay = optimizer.weight_decay if settings.alpha is None else settings.alpha
    size = config.batch_size if settings.batch_size == "auto" else settings.batch_size
    count = min(epochs, settings.max_iter or -(-epochs // effort.divisor))
    return dataclasses.replace(
        config,
        batch_size=size,
        optimizer=dataclasses.replace(optimizer, weight_decay=decay),
        epochs=count,
        validate_every=-(-count // _VALIDATIONS),
        restore_best=has_val,
        device="cpu",
        seed=seed,
        progress="lines" if settings.verbose else False,
    )


def _held_out(
    data: LabeledTensors, fraction: float, count: int, random: np.random.RandomState
) -> list[Rows]:
    """Return the examples that each of ``count`` networks is not trained on, equally many.

    The parts go round the examples in an order in which every class is evenly spaced. One example
    of each class with few examples is in no part, so that each network is trained on all classes:
    the loss of an unknown class grows with each epoch, and the first epochs would seem best.
    """
    order: Rows = random.permutation(len(data))
    if not data.targets.is_floating_point():
        labels = data.targets.numpy()[order]
        position = np.empty(len(order))
        for label in np.unique(labels):
            (rows,) = np.nonzero(labels == label)
            position[rows] = (np.arange(len(rows)) + random.rand()) / len(rows)
            if len(rows) * (1 - fraction) < 2:  # a part may have all of them
                position[rows[0]] = np.inf
        order = order[np.argsort(position, kind="stable")][: np.isfinite(position).sum()]
    if not len(order):
        return []
    size = min(max(1, round(fraction * len(order))), len(data) - 1)
    starts = np.arange(count) * size
    return [np.take(order, range(start, start + size), mode="wrap") for start in starts]


def _mean_curve(results: Sequence[FitResult], column: str) -> list[float]:
    """Return the mean over the networks of a column of their histories, where it has values."""
    rows = [[row.to_dict() for row in result.history] for result in results]
    curves = [[row[column] for row in each if row[column] is not None] for each in rows]
    return np.mean(np.array(curves, dtype=np.float64), axis=0).tolist() if curves else []
