"""What all models share: evaluation, defaults, copies, wrappers and the training inputs."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.models.kinds import KINDS, AnyModel, KindName, images, make_model, rows, targets
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.data import Batches, LabeledTensors, TableEncoder
from mlpkit.models import NETWORK_DEFAULTS, TABULAR_DEFAULTS, Standardize, load_model
from mlpkit.nn import MLP, MLPConfig, MLPOptions, TabularMLP
from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    MeanSquaredError,
    Mixup,
    Objective,
    Trainer,
    TrainerConfig,
)

OF_ALL_KINDS = pytest.mark.parametrize("kind", KINDS)
SETTINGS = TrainerConfig(epochs=2, batch_size=16, progress=False)


def for_data(kind: KindName, train: LabeledTensors, **options: Any) -> AnyModel:
    """Return an untrained model of a kind for a data set."""
    if kind == "classifier":
        return SoftmaxClassifier.for_data(train, **options)
    if kind in ("labels", "one label"):
        return MultilabelClassifier.for_data(train, **options)
    return Regressor.for_data(train, predicts_std=kind == "with std", **options)


def with_network(kind: KindName, network: MLP | TabularMLP, train: LabeledTensors) -> AnyModel:
    """Return a model of a kind around a network."""
    if kind == "classifier":
        return SoftmaxClassifier.with_network(network, train)
    if kind in ("labels", "one label"):
        return MultilabelClassifier.with_network(network, train)
    return Regressor.with_network(network, train, predicts_std=kind == "with std")


@OF_ALL_KINDS
def test_the_default_network_is_that_of_the_task(kind: KindName) -> None:
    data = LabeledTensors(images(20), targets(kind, 20))
    task = {"classifier": "classification", "labels": "multilabel", "one label": "multilabel"}
    defaults = NETWORK_DEFAULTS[task.get(kind, "regression")]  # type: ignore[index]  # of str
    model = for_data(kind, data)
    assert model.network.hidden_features == defaults.widths(20)
    config = model.network.config
    assert isinstance(config, MLPConfig)
    assert config.dropout == defaults.options.dropout
    assert for_data(kind, data, hidden_features=()).network.hidden_features == ()
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    one, two = (for_data(kind, data, generator=generator) for generator in generators)
    assert all(map(torch.equal, one.parameters(), two.parameters()))


@OF_ALL_KINDS
def test_the_preprocessing_is_that_of_the_data(kind: KindName) -> None:
    """The same for a new network and for a given one, of any dtype and on the meta device."""
    inputs = torch.randn(30, 4) * torch.tensor([1.0, 10, 1e3, 0]) + 5
    data = LabeledTensors(inputs, targets(kind, 30))
    model = for_data(kind, data, hidden_features=(7,))
    np.testing.assert_allclose(model.mean.numpy(), inputs.double().mean(0).numpy(), rtol=1e-6)
    std = inputs.double().std(0, correction=0)
    std[3] = 1.0
    np.testing.assert_allclose(model.std.numpy(), std.numpy(), rtol=1e-6)
    outputs = model.network.out_features
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        other = with_network(kind, MLP(4, (7,), outputs, dtype=dtype), data)
        units = {"target_mean", "target_std"}  # at least float32
        state = other.state_dict().items()
        assert {value.dtype for name, value in state if name not in units} == {dtype}
        wide = torch.promote_types(dtype, torch.float32)
        assert {value.dtype for name, value in state if name in units} <= {wide}
        for name in ("mean", "std", "target_mean", "target_std"):
            if hasattr(model, name):
                one, two = getattr(model, name), getattr(other, name)
                torch.testing.assert_close(one.to(two.dtype), two, rtol=0.01, atol=1e-3)
    with torch.device("meta"):
        empty = for_data(kind, data, hidden_features=(7,))
        table = for_data(kind, data, preset="tabular")
    for found in (empty, table):
        assert {value.device.type for value in found.state_dict().values()} == {"meta"}
    empty.to_empty(device="cpu").load_state_dict(model.state_dict())
    assert torch.equal(empty.eval()(inputs), model.eval()(inputs))


@OF_ALL_KINDS
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_columns_far_from_0_keep_their_values(kind: KindName, dtype: torch.dtype) -> None:
    """Times in seconds and milliseconds since 1970."""
    column = torch.arange(201)[:, None]
    inputs = (column + torch.tensor([1_700_000_000, 1_700_000_000_000])).to(dtype)
    data = LabeledTensors(inputs, targets(kind, 201))
    model = for_data(kind, data, hidden_features=(8,))
    found = model.standardize(inputs)
    expected = (column - 100) / float(np.std(np.arange(201)))
    torch.testing.assert_close(found, expected.float().expand(201, 2), rtol=0, atol=2e-4)
    together = for_data(kind, data, standardize="global")
    assert together.mean.shape == ()


@OF_ALL_KINDS
def test_one_row_and_a_table_of_bytes(kind: KindName) -> None:
    """One row has no spread: every std is 1."""
    one = LabeledTensors(torch.rand(1, 3) * 9, targets(kind, 1))
    if kind != "classifier":
        model = for_data(kind, one)
        assert torch.equal(model.standardize(one.inputs), torch.zeros(1, 3))
        assert torch.equal(model.std, torch.ones(3))
    table = torch.randint(0, 256, (50, 3), dtype=torch.uint8)
    model = for_data(kind, LabeledTensors(table, targets(kind, 50)))
    expected = (table.double() - table.double().mean(0)) / table.double().std(0, correction=0)
    torch.testing.assert_close(model.standardize(table), expected.float(), rtol=1e-5, atol=1e-5)


@OF_ALL_KINDS
@pytest.mark.parametrize("how", ["feature", "global", None])
def test_the_user_chooses_what_is_standardized_together(
    kind: KindName, how: Standardize | None
) -> None:
    data = LabeledTensors(images(30), targets(kind, 30))
    model = for_data(kind, data, hidden_features=(), standardize=how)
    values = data.inputs.flatten(1).double()
    mean = {"feature": values.mean(0), "global": values.mean(), None: torch.zeros(())}[how]
    torch.testing.assert_close(model.mean.double(), mean.double(), rtol=1e-6, atol=1e-6)


@OF_ALL_KINDS
def test_training_uses_the_default_objective(kind: KindName) -> None:
    """The loss of a run decreases, and the evaluation is that of the trainer."""
    data = LabeledTensors(images(64), targets(kind, 64))
    model = for_data(kind, data, hidden_features=(16,))
    trainer = Trainer(model, TrainerConfig(epochs=15, batch_size=16, progress=False))
    result = trainer.fit(data)
    losses = [row.train_loss for row in result.history]
    assert losses[-1] < losses[0]
    found = trainer.evaluate(data)
    assert dataclasses.replace(found, objective_loss=None) == dataclasses.replace(
        model.evaluate(data), objective_loss=None
    )
    assert torch.equal(trainer.predict(data.inputs), model.predict(data.inputs))


@OF_ALL_KINDS
def test_the_evaluation_does_not_depend_on_the_batches(kind: KindName) -> None:
    data = LabeledTensors(images(50), targets(kind, 50))
    model = make_model(kind)
    expected = model.evaluate(data)
    loader = DataLoader(TensorDataset(data.inputs, data.targets), 9)
    for found in (
        model.evaluate(data, batch_size=7),
        model.evaluate(Batches(data, 7)),
        model.evaluate(loader),
    ):
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.num_examples == 50
        assert found.task == expected.task
    assert model.evaluate(data, precision="bf16").loss == pytest.approx(expected.loss, rel=0.1)


@OF_ALL_KINDS
def test_copies_compute_the_same(kind: KindName) -> None:
    model = make_model(kind)
    x = images(5)
    copies: list[Callable[[Tensor], Tensor]] = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.compile(model, backend="eager"),
        torch.fx.symbolic_trace(model),
    ]
    for each in copies:
        assert torch.equal(each(x), model(x))
    torch.testing.assert_close(model(x)[2], model(x[2]))
    torch.testing.assert_close(model.double()(x).float(), model.float()(x), rtol=1e-4, atol=1e-3)


class Wrapped(nn.Module):
    """A module that computes what the model within it computes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the model."""
        outputs: Tensor = self.model(x)
        return outputs


@OF_ALL_KINDS
def test_a_wrapper_is_trained_and_evaluated_with_an_objective(kind: KindName) -> None:
    """Its outputs are in the units of the targets, so any objective is right."""
    data = LabeledTensors(images(48), targets(kind, 48))
    model = for_data(kind, data, hidden_features=(8,))
    trainer = Trainer(Wrapped(model), SETTINGS, objective=model.choose_objective())
    trainer.fit(data)
    found, expected = trainer.evaluate(data), model.evaluate(data)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.num_examples == expected.num_examples
    if kind not in ("classifier", "labels", "one label"):
        assert found.rmse == pytest.approx(expected.rmse, rel=1e-5)


@OF_ALL_KINDS
def test_pixels_in_other_units_are_warned_of(kind: KindName) -> None:
    """By predicting and by evaluating."""
    message = "x should be in the units of the training inputs"
    x = images(9)
    data = LabeledTensors(x / 255, targets(kind, 9))
    calls: list[Callable[[AnyModel], object]] = [
        lambda model: model.predict(x / 255),
        lambda model: model.evaluate(data),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match=message):
            call(make_model(kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_model(kind).predict(x)


@OF_ALL_KINDS
def test_what_does_not_fit_is_named(kind: KindName) -> None:
    model = make_model(kind)
    data = LabeledTensors(images(6), targets(kind, 6))
    with pytest.raises(TypeError, match="data must be LabeledTensors, Batches or a DataLoader"):
        model.evaluate(data.inputs)  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(ValueError, match=r"precision must be one of .*bf16.* got 'bf8'"):
        model.evaluate(data, precision="bf8")  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(ValueError, match=r"x must be of shape \(N, 4, 3\)"):
        model.predict(torch.zeros(5, 5))
    with pytest.raises(TypeError, match="train must be LabeledTensors, got Tensor"):
        for_data(kind, data.inputs)  # type: ignore[arg-type]  # bad on purpose
    with pytest.raises(TypeError, match="train must be LabeledTensors, got tuple"):
        with_network(kind, model.network, (data, data))  # type: ignore[arg-type]  # bad on purpose
    vector = LabeledTensors(torch.rand(6), data.targets)
    with pytest.raises(ValueError, match=r"train\.inputs must be .*use inputs\.unsqueeze\(1\)"):
        for_data(kind, vector)
    with pytest.raises(ValueError, match="standardize must be one of"):
        for_data(kind, data, standardize="each")


@pytest.mark.parametrize("kind", ["labels", "vector"])
def test_names_of_another_order_are_refused(kind: KindName) -> None:
    model = make_model(kind)
    swapped = LabeledTensors(images(6), targets(kind, 6), ("b", "a", "c"))
    with pytest.raises(ValueError, match=r"data\.classes must be those of model in the same order"):
        model.evaluate(swapped)
    found = model.evaluate(LabeledTensors(images(6), targets(kind, 6), ("a", "b", "c")))
    metrics = found.per_label if kind == "labels" else found.per_target
    assert [one.name for one in metrics] == ["a", "b", "c"]


def table(count: int, seed: int) -> pd.DataFrame:
    """Return a frame with numbers, text, and a target of each kind."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    return pd.DataFrame(
        {
            "x": np.where(generator.random(count) < 0.2, np.nan, x),
            "city": generator.choice(["Rome", "Oslo"], count),
            "classifier": np.where(x > 0, "high", "low"),
            "labels": (x > 0).astype(int),
            "other": (x > 1).astype(int),
            "regressor": 3 * x + 1,
        }
    )


@pytest.mark.parametrize("kind", ["classifier", "labels", "regressor"])
def test_a_model_of_a_table_is_all_that_predicting_a_frame_needs(
    kind: KindName, tmp_path: Path
) -> None:
    frame = table(80, seed=0)
    target = ["labels", "other"] if kind == "labels" else kind
    frame = frame[["x", "city", *([target] if isinstance(target, str) else target)]]
    train = LabeledTensors.from_frame(frame, target)
    model = for_data(kind, train, hidden_features=(8,))
    assert model.encoder is train.encoder
    Trainer(model, SETTINGS).fit(train)
    loaded = load_model(model.save(tmp_path))
    assert loaded.encoder == train.encoder
    assert loaded.encoder is not None
    test = table(20, seed=1)
    data = LabeledTensors.from_frame(test, encoder=loaded.encoder)
    assert torch.equal(loaded.predict(loaded.encoder.transform(test)), model.predict(data.inputs))
    assert loaded.evaluate(data).num_examples == 20
    assert copy.deepcopy(loaded).encoder == loaded.encoder
    assert pickle.loads(pickle.dumps(loaded)).encoder == loaded.encoder
    assert json.loads((tmp_path / "config.json").read_text())["encoder"]["version"] == 1


def test_an_encoder_must_fit_the_model(tmp_path: Path) -> None:
    encoder = TableEncoder.fit(table(80, seed=0), target="regressor")
    model = Regressor(MLP(3, (), 1))
    assert model.encoder is None
    model.save(tmp_path)
    assert "encoder" not in json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(TypeError, match="encoder must be a TableEncoder or None, got str"):
        model.encoder = "x"  # type: ignore[assignment]  # bad on purpose
    with pytest.raises(ValueError, match=r"encoder must be .* of shape \(3,\), .*got one with"):
        model.encoder = encoder
    model.encoder = TableEncoder.fit(table(80, seed=0)[["x", "labels"]])
    assert model.save(tmp_path).is_dir()
    assert load_model(tmp_path).encoder == model.encoder


@OF_ALL_KINDS
@pytest.mark.parametrize(
    "objective",
    [CrossEntropy(), BinaryCrossEntropy(), MeanSquaredError(), Mixup(), Huber()],
    ids=lambda one: type(one).__name__,
)
def test_an_objective_of_another_task_is_refused(kind: KindName, objective: Objective) -> None:
    data = LabeledTensors(torch.rand(20, 4), targets(kind, 20))
    model = for_data(kind, data, hidden_features=())
    if getattr(objective, "task", None) == model.task:
        return
    with pytest.raises(
        ValueError, match=rf"objective must be one with the task '{model.task}' for a "
    ):
        Trainer(model, objective=objective)
    with pytest.raises(ValueError, match="objective must be one with the task"):
        model.evaluate(data, objective=objective)


@OF_ALL_KINDS
def test_what_is_no_objective_is_refused(kind: KindName) -> None:
    data = LabeledTensors(torch.rand(20, 4), targets(kind, 20))
    model = for_data(kind, data, hidden_features=())
    for wrong in (nn.MSELoss(), Huber, 3):
        with pytest.raises(TypeError, match="objective must be a function of a model and a batch"):
            model.evaluate(data, objective=wrong)  # type: ignore[arg-type]  # on purpose


@OF_ALL_KINDS
def test_the_tabular_preset_is_an_embedding_of_the_codes_of_the_encoder(kind: KindName) -> None:
    """With statistics of these rows, and the default options of the task."""
    frame = pd.DataFrame(rows(200).numpy(), columns=["x", "few", "many"])
    frame = frame.astype({"few": int, "many": int}).astype({"few": str, "many": str})
    encoder = TableEncoder.fit(frame, categories="codes")
    train = LabeledTensors(encoder.transform(frame), targets(kind, 200))
    train._encoder = encoder  # without target columns, which differ between the kinds
    seed = torch.Generator().manual_seed
    model = for_data(kind, train, preset="tabular", generator=seed(1))
    defaults = TABULAR_DEFAULTS[model.task]
    outputs = model.network.out_features
    assert outputs is not None
    network = TabularMLP.for_data(
        *(train.inputs, encoder.num_categories, (128, 128, 128), outputs, defaults.options),
        generator=seed(1),
    )
    expected = with_network(kind, network, train)
    assert str(model) == str(expected)
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert model.encoder == encoder
    other = for_data(
        kind, train, preset="tabular", hidden_features=(4,), options=MLPOptions(norm="layer")
    )
    assert [layer.norm is None for layer in other.network.layers] == [False]


def test_numbers_without_an_encoder_are_no_codes() -> None:
    train = LabeledTensors(rows(), targets("classifier", 40))
    network = SoftmaxClassifier.for_data(train, preset="tabular").network
    assert isinstance(network, TabularMLP)
    assert network.config.num_categories == (0, 0, 0)


def test_presets_that_do_not_fit() -> None:
    train = LabeledTensors(rows(), targets("classifier", 40))
    with pytest.raises(ValueError, match="preset must be one of 'mlp', 'tabular', got 'table'"):
        SoftmaxClassifier.for_data(train, preset="table")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="standardize must be 'auto' or None for a TabularMLP"):
        SoftmaxClassifier.for_data(train, preset="tabular", standardize="feature")
