"""The tabular preset: targets, weights, attributes, files, and scikit-learn's tools."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.calibration import CalibratedClassifierCV  # type: ignore[import-untyped]
from sklearn.datasets import load_diabetes, load_iris  # type: ignore[import-untyped]
from sklearn.inspection import (  # type: ignore[import-untyped]
    partial_dependence,
    permutation_importance,
)
from sklearn.linear_model import LinearRegression  # type: ignore[import-untyped]
from sklearn.metrics import log_loss  # type: ignore[import-untyped]
from sklearn.model_selection import (  # type: ignore[import-untyped]
    GridSearchCV,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import FunctionTransformer  # type: ignore[import-untyped]

from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.errors import ArtifactError
from mlpkit.models import Ensemble, SoftmaxClassifier, load_model, tabular_config
from mlpkit.sklearn import MLPClassifier, MLPRegressor
from mlpkit.training import Trainer

X, SPECIES = load_iris(return_X_y=True, as_frame=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]


def classifier(max_iter: int = 3, n_members: int = 2) -> MLPClassifier:
    return MLPClassifier(max_iter=max_iter, n_members=n_members, random_state=0)


def regressor(max_iter: int = 3, n_members: int = 2) -> MLPRegressor:
    return MLPRegressor(max_iter=max_iter, n_members=n_members, random_state=0)


def test_it_is_the_recipe_of_the_models() -> None:
    """Oracle: encoder, held-out examples and members, one by one; each by its own trainer."""
    found = classifier().fit(X, NAMES)
    encoder = TableEncoder.fit(X, categories="codes")
    classes = ("setosa", "versicolor", "virginica")
    data = LabeledTensors(
        encoder.transform(X),
        torch.from_numpy(SPECIES.to_numpy(copy=True)),
        classes,
        encoder=encoder,
    )
    random = np.random.RandomState(0)
    order = random.permutation(150).tolist()
    spaced: list[tuple[float, int]] = []
    for species in range(3):
        offset = random.rand()
        rows = [row for row in order if SPECIES[row] == species]
        spaced += [((number + offset) / 50, row) for number, row in enumerate(rows)]
    in_turn = [row for _, row in sorted(spaced)]
    seeds = random.randint(2**31 - 1, size=3).tolist()
    config = tabular_config("classification", 120)
    config = dataclasses.replace(config, epochs=3, seed=seeds[0], device="cpu", progress=False)
    members = []
    for number, seed in enumerate(seeds[1:]):
        generator = torch.Generator().manual_seed(seed)
        member = SoftmaxClassifier.for_data(data, preset="tabular", generator=generator)
        held_out = in_turn[30 * number : 30 * (number + 1)]
        others = [row for row in range(150) if row not in held_out]
        Trainer(member, config).fit(data.subset(others), data.subset(held_out))
        members.append(member)
    np.testing.assert_allclose(
        found.predict_proba(X), Ensemble(members).predict_proba(data.inputs).numpy(), atol=1e-5
    )


def test_one_network_is_calibrated() -> None:
    found = classifier(max_iter=30, n_members=1).fit(X, NAMES)
    assert isinstance(found.model_, Ensemble)
    assert float(found.model_.temperature) != 1.0
    several = classifier(max_iter=30).fit(X, NAMES)
    assert isinstance(several.model_, Ensemble)
    assert float(several.model_.temperature) == 1.0


@pytest.mark.parametrize(
    ("copies", "num_networks", "num_layers", "divisor"), [(1, 5, 3, 4), (14, 2, 2, 2)]
)
def test_the_defaults_depend_on_the_number_of_rows(
    copies: int, num_networks: int, num_layers: int, divisor: int
) -> None:
    many = pd.concat([X] * copies, ignore_index=True)
    found = MLPClassifier(4, random_state=0).fit(many, list(NAMES) * copies)
    epochs = tabular_config("classification", len(many) * 4 // 5).epochs
    assert epochs is not None
    assert isinstance(found.model_, Ensemble)
    assert len(found.model_) == num_networks
    deep = MLPClassifier(max_iter=1, n_members=1, random_state=0).fit(many, list(NAMES) * copies)
    assert deep.n_layers_ == num_layers + 2
    assert found.n_iter_ == len(found.loss_curve_) == -(-epochs // divisor)


def test_max_iter_is_limited() -> None:
    found = MLPClassifier(4, max_iter=10**6, n_members=1).fit(X, NAMES)
    assert found.n_iter_ == tabular_config("classification", 120).epochs


def test_a_classification_is_learned() -> None:
    found = classifier(max_iter=60).fit(X, NAMES)
    assert found.score(X, NAMES) > 0.95
    assert found.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    probabilities = found.predict_proba(X)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert np.array_equal(found.predict(X), found.classes_[probabilities.argmax(axis=1)])
    np.testing.assert_allclose(np.exp(found.predict_log_proba(X)), probabilities)


def test_few_rows_give_no_certain_probabilities() -> None:
    """Oracle: the log loss of the frequencies, on labels that the inputs say nothing about.

    Networks that were not held against other rows are certain of their answers: a log loss of 3.6.
    """
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(440, 4)), columns=list("abcd"))
    labels = random.integers(2, size=440)
    found = classifier(max_iter=120).fit(table[:40], labels[:40])
    assert found.validation_scores_ is not None
    assert log_loss(labels[40:], found.predict_proba(table[40:])) < np.log(2) + 0.15


Parts = tuple[list[LabeledTensors], list[LabeledTensors]]


def parts_of(
    found: MLPClassifier, table: pd.DataFrame, labels: object, monkeypatch: pytest.MonkeyPatch
) -> Parts:
    """Return what each network of a fit is trained on, and what it holds out."""
    given: list[object] = []

    def recorded(members: object, train: object, val: object, **_: object) -> None:
        given[:] = train, val
        raise KeyboardInterrupt

    monkeypatch.setattr("mlpkit.sklearn._tabular.fit_many", recorded)
    with pytest.warns(UserWarning, match="interrupted by user"):
        found.fit(table, labels)
    train, val = given
    if isinstance(train, LabeledTensors):
        assert val is None
        return [train], []
    assert isinstance(train, list)
    assert isinstance(val, list)
    return train, val


@pytest.mark.parametrize("seed", range(3))
def test_the_held_out_parts_go_round_the_examples(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes of one example are in none of them; the others are evenly divided."""
    found = classifier(n_members=5).set_params(random_state=seed)
    rare = np.where(np.arange(150) < 8, np.arange(150), SPECIES + 90)
    trains, vals = parts_of(found, X, rare, monkeypatch)
    indices = np.unique(rare, return_inverse=True)[1]
    for train, val in zip(trains, vals, strict=True):
        assert (len(train), len(val)) == (122, 28)  # a fifth of 142
        assert set(train.targets.tolist()) == set(range(11))
        assert set(val.targets.tolist()) == {8, 9, 10}
        together = torch.cat((train.targets, val.targets)).sort().values
        assert torch.equal(together, torch.from_numpy(indices).sort().values)
        of_class = torch.bincount(val.targets, minlength=11)[8:]  # 42, 50 and 50 of 142
        assert (of_class - torch.tensor([8.3, 9.9, 9.9])).abs().max() < 2
    assert sum(map(len, vals)) == 140
    rows = {tuple(row) for val in vals for row in val.inputs.tolist()}
    assert len({tuple(row) for row in X[8:].to_numpy(dtype=np.float32).tolist()} - rows) <= 2


@pytest.mark.parametrize(
    ("sizes", "fraction"),
    [
        ([1] * 80 + [2] * 10, 0.2),
        ([3, 3, 3, 3, 40], 0.8),
        ([3, 17], 0.9),
        ([5, 25], 0.9),
        ([2, 2, 2, 30], 0.9),
        ([10, 10], 0.9),
        ([50, 50, 50], 0.99),
        ([30, 30], 0.5),
    ],
    ids=str,
)
def test_each_network_is_trained_on_each_class(
    sizes: list[int], fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    table = pd.DataFrame({"a": np.arange(len(labels), dtype=float)})
    for seed in range(20):
        found = MLPClassifier(n_members=4, validation_fraction=fraction, random_state=seed)
        trains, vals = parts_of(found, table, labels, monkeypatch)
        assert len(trains) == len(vals) == 4
        for train, val in zip(trains, vals, strict=True):
            assert len(val) >= 1
            assert set(train.targets.tolist()) == set(range(len(sizes)))
            rows = torch.cat((train.inputs, val.inputs))
            assert rows.flatten().sort().values.tolist() == list(range(len(labels)))


def test_of_classes_with_one_example_each_all_are_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trains, vals = parts_of(classifier(), X[:20], np.arange(20), monkeypatch)
    assert len(trains[0]) == 20
    assert vals == []


def test_the_parts_of_many_networks_go_round_the_examples_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = X.assign(row=np.arange(150.0))
    found = classifier(n_members=8).set_params(validation_fraction=0.4)
    _, vals = parts_of(found, table, NAMES, monkeypatch)
    assert [len(val) for val in vals] == [60] * 8
    counts = torch.bincount(torch.cat([val.inputs[:, -1] for val in vals]).long(), minlength=150)
    assert set(counts.tolist()) == {3, 4}  # 480 places for 150 examples


def test_a_regression_is_learned() -> None:
    """On the task of 442 rows, it is about as good as the linear model on unseen rows."""
    data, target = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    train, test = train_test_split(np.arange(len(data)), random_state=0)
    found = regressor(max_iter=40).fit(data.iloc[train], target.iloc[train])
    linear = LinearRegression().fit(data.iloc[train], target.iloc[train])
    expected = linear.score(data.iloc[test], target.iloc[test])
    assert found.score(data.iloc[test], target.iloc[test]) > expected - 0.1


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1.0, 1e12, 1e290])
def test_the_units_of_a_target_do_not_matter(scale: float) -> None:
    y = X.iloc[:, 0] * scale + 1e9 * scale
    expected = regressor().fit(X, X.iloc[:, 0]).predict(X)
    found = regressor().fit(X, y).predict(X) / scale - 1e9
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_several_targets() -> None:
    targets = X.iloc[:, :2].to_numpy() * [1.0, 1e6]
    found = regressor(max_iter=60).fit(X, targets)
    assert found.predict(X).shape == (150, 2)
    assert found.n_outputs_ == 2
    assert found.score(X, targets) > 0.9


def test_several_labels() -> None:
    labels = np.column_stack([SPECIES == 1, SPECIES > 0]).astype(int)
    found = classifier(max_iter=60).fit(X, labels)
    assert found.score(X, labels) > 0.9
    assert found.predict(X).dtype == labels.dtype
    assert np.array_equal(found.predict(X), found.predict_proba(X) > 0.5)


def test_constant_targets() -> None:
    one = classifier().fit(X, np.full(150, "only"))
    assert one.predict(X[:2]).tolist() == ["only", "only"]
    assert one.predict_proba(X[:2]).tolist() == [[1.0], [1.0]]
    np.testing.assert_allclose(regressor().fit(X, np.full(150, 7.0)).predict(X), 7.0, atol=0.1)


def test_rows_without_weight_do_not_matter() -> None:
    weights = np.where(np.arange(150) % 3 == 0, 0.0, 2.0)
    kept = weights > 0
    changed = X.where(pd.Series(kept), 1e9)
    expected = classifier().fit(X[kept], SPECIES[kept], np.full(100, 2.0))
    found = classifier().fit(changed, SPECIES, weights)
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_weights_of_examples_and_classes() -> None:
    weights = np.where(SPECIES == 1, 3.0, 1.0)
    expected = classifier().fit(X, SPECIES, weights).predict_proba(X)
    found = classifier().set_params(class_weight={1: 3.0}).fit(X, SPECIES).predict_proba(X)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, classifier().fit(X, SPECIES).predict_proba(X))
    with pytest.raises(ValueError, match="sample_weight must be at least 0, got -1"):
        classifier().fit(X, SPECIES, -np.ones(150))


def test_attributes() -> None:
    found = classifier(max_iter=5).fit(X, SPECIES)
    assert found.n_iter_ == len(found.loss_curve_) == 5
    assert found.loss_ == found.loss_curve_[-1] < found.loss_curve_[0]
    assert found.t_ == 5 * 120
    assert found.validation_scores_ is not None
    assert len(found.validation_scores_) == 5
    assert found.best_validation_score_ == max(found.validation_scores_)
    assert found.best_loss_ is None
    assert found.n_layers_ == 5
    assert found.out_activation_ == "softmax"
    assert isinstance(found.model_, Ensemble)
    assert len(found.model_) == 2
    few = classifier().fit(X[::17], SPECIES[::17])  # 9 rows
    assert few.validation_scores_ is None
    assert few.best_loss_ == min(few.loss_curve_)


def test_parameters_of_the_network() -> None:
    params = {"hidden_layer_sizes": (8, 4), "activation": "logistic", "batch_size": 30}
    found = classifier().set_params(**params, validation_fraction=0.0).fit(X, SPECIES)
    assert isinstance(found.model_, Ensemble)
    for member in found.model_:
        assert member.network.hidden_features == (8, 4)
        assert "Sigmoid" in str(member.network.layers[0])
    assert found.t_ == 3 * 150


def test_seeds() -> None:
    one, other = classifier().fit(X, SPECIES), classifier().fit(X, SPECIES)
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
    other.set_params(random_state=1).fit(X, SPECIES)
    assert not np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_copies_and_files(tmp_path: Path) -> None:
    found = classifier().fit(X.assign(kind=NAMES), NAMES)
    table = X.assign(kind=NAMES)
    expected = found.predict_proba(table)
    path = found.save(tmp_path / "iris.safetensors")
    for copied in (
        pickle.loads(pickle.dumps(found)),
        copy.deepcopy(found),
        MLPClassifier.load(path),
    ):
        assert np.array_equal(copied.predict_proba(table), expected)
        assert copied.predict(table).tolist() == found.predict(table).tolist()
        assert copied.get_params() == found.get_params()
        assert copied.encoder_ == found.encoder_
        assert copied.loss_curve_ == found.loss_curve_
    assert not hasattr(clone(found), "model_")
    with pytest.raises(ArtifactError, match=r"path must be a file that MLPRegressor\.save wrote"):
        MLPRegressor.load(path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = regressor().fit(X, SPECIES.astype(float)).save(tmp_path / "iris.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        MLPRegressor.load(path)


def test_the_ensemble_is_a_model(tmp_path: Path) -> None:
    found = classifier().fit(X, NAMES)
    assert isinstance(found.model_, Ensemble)
    loaded = load_model(found.model_.save(tmp_path / "model"))
    assert isinstance(loaded, Ensemble)
    assert loaded.classes == ("setosa", "versicolor", "virginica")
    assert loaded.encoder is not None
    inputs = loaded.encoder.transform(X).double()
    assert np.array_equal(loaded.predict_proba(inputs).numpy(), found.predict_proba(X))


def test_tools_of_scikit_learn() -> None:
    table = X.assign(kind=pd.Categorical(NAMES)).rename(columns=str.title)
    search = GridSearchCV(classifier(), {"hidden_layer_sizes": [(4,), (8,)]}, cv=2)
    assert search.fit(table, SPECIES).best_estimator_.predict(table).shape == (150,)
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame.iloc[:, 1:]), classifier())
    assert cross_val_score(pipeline, table, SPECIES, cv=2).shape == (2,)
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(table, SPECIES)
    assert calibrated.predict_proba(table).shape == (150, 3)
    found = classifier(max_iter=30).fit(table, SPECIES)
    importance = permutation_importance(found, table, SPECIES, n_repeats=2, random_state=0)
    assert importance.importances_mean[4] > 0.05
    curve = partial_dependence(found, table, [2], grid_resolution=5)
    assert curve["average"].shape == (3, 5)


def test_ctrl_c_keeps_what_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlpkit.sklearn._tabular.fit_many", interrupted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        found = classifier().fit(X, SPECIES)
    assert found.n_iter_ == 0
    assert found.predict(X).shape == (150,)


def test_verbose_prints_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    classifier().set_params(verbose=True).fit(X, SPECIES)
    shown = capsys.readouterr()
    assert "epoch 3" in shown.out + shown.err
