"""Default models on scikit-learn's tables and its MLP: ``python -m benchmarks.small_tables``."""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn import datasets  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold  # type: ignore[import-untyped]
from sklearn.neural_network import MLPClassifier, MLPRegressor  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from benchmarks import _command_line, _machine, _page
from benchmarks._figures import table
from mlpkit import Regressor, SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import LabeledTensors

CLASSIFICATIONS = ("iris", "wine", "breast_cancer", "digits")
REGRESSIONS = ("diabetes", "linnerud")


class Score(NamedTuple):
    """Score of one fold, and the seconds of its fit."""

    value: float
    seconds: float


class Table(NamedTuple):
    """A table: its features, its targets, and whether these are classes."""

    inputs: npt.NDArray[np.float64]
    targets: npt.NDArray[np.generic]
    is_classification: bool


def load(name: str) -> Table:
    """Return a table of scikit-learn."""
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Table(inputs, targets, name in CLASSIFICATIONS)


def scikit_learn(data: Table, train: npt.NDArray[np.int_], seed: int) -> object:
    """Return scikit-learn's MLP with its defaults, behind a standard scaler, fitted."""
    kind = MLPClassifier if data.is_classification else MLPRegressor
    estimator = make_pipeline(StandardScaler(), kind(random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(data.inputs[train], data.targets[train])


def mlpkit(data: Table, train: npt.NDArray[np.int_], seed: int) -> Trainer:
    """Return a trainer that has fitted the default model with the default settings."""
    examples = LabeledTensors.from_numpy(data.inputs[train], data.targets[train])
    kind = SoftmaxClassifier if data.is_classification else Regressor
    model = kind.for_data(examples, generator=torch.Generator().manual_seed(seed))
    trainer = Trainer(model, TrainerConfig(seed=seed, progress=False))
    trainer.fit(examples)
    return trainer


def folds(data: Table, repeats: int) -> list[tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]]:
    """Return the two folds of each repetition, stratified for classes."""
    kind = RepeatedStratifiedKFold if data.is_classification else RepeatedKFold
    split = kind(n_splits=2, n_repeats=repeats, random_state=0)
    return list(split.split(data.inputs, data.targets))


def measure(data: Table, repeats: int) -> tuple[list[Score], list[Score]]:
    """Return the scores of scikit-learn and of mlpkit: accuracy, or the mean R2 of the targets."""
    theirs, ours = [], []
    for seed, (train, test) in enumerate(folds(data, repeats)):
        start = time.perf_counter()
        estimator = scikit_learn(data, train, seed)
        seconds = time.perf_counter() - start
        theirs.append(Score(estimator.score(data.inputs[test], data.targets[test]), seconds))  # type: ignore[attr-defined]  # scikit-learn has no type hints
        start = time.perf_counter()
        trainer = mlpkit(data, train, seed)
        seconds = time.perf_counter() - start
        evaluation = trainer.evaluate(
            LabeledTensors.from_numpy(data.inputs[test], data.targets[test])
        )
        value = evaluation.accuracy if data.is_classification else evaluation.r2
        ours.append(Score(value, seconds))
    return theirs, ours


def main(arguments: Sequence[str]) -> int:
    """Compare on each table; return 1 if one is worse by more than one standard error."""
    parser = _command_line.parser("benchmarks.small_tables", __doc__, repeats=5)
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rows, is_worse = [], False
    for name in (*CLASSIFICATIONS, *REGRESSIONS):
        theirs, ours = measure(load(name), options.repeats)
        differences = [one.value - other.value for one, other in zip(ours, theirs, strict=True)]
        mean = statistics.mean(differences)
        error = statistics.stdev(differences) / len(differences) ** 0.5
        is_worse |= mean < -error
        rows.append(
            [
                f"{name}, {'accuracy' if name in CLASSIFICATIONS else 'R2'}",
                *(f"{statistics.mean(one.value for one in each):.3f}" for each in (theirs, ours)),
                f"{mean:+.3f} +- {error:.3f}",
                *(
                    f"{statistics.median(one.seconds for one in each):.2f}"
                    for each in (theirs, ours)
                ),
            ]
        )
    header = ["", "scikit-learn", "mlpkit", "difference", "scikit-learn (s)", "mlpkit (s)"]
    parts = [
        f"Mean of {options.repeats} x 2 cross-validation, all defaults; the difference with its "
        "standard error; median seconds of a fit:",
        table(header, rows),
    ]
    page = _page.PAGE.parent / "how-to" / "targets.md"
    _command_line.report(
        "small_tables", arguments, load_before, parts, write=options.write, page=page
    )
    return int(is_worse)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
