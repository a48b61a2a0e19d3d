"""Custom metrics: columns of the history, with the values that a loop by hand computes."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import (  # type: ignore[import-untyped]
    f1_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from tests.training.scenario import differences, everything, examples, network
from torch import Tensor, nn

from mlpkit import Regressor, SoftmaxClassifier
from mlpkit.data import LabeledTensors
from mlpkit.training import (
    Callback,
    CSVLogger,
    EpochRow,
    Evaluation,
    History,
    JSONLinesLogger,
    MeanSquaredError,
    MetricLike,
    TensorBoardLogger,
    TopKAccuracy,
    Trainer,
    TrainerConfig,
    fit_many,
)

CONFIG = TrainerConfig(epochs=2, batch_size=8, eval_batch_size=6, progress=False)
TRAIN, VAL = examples(), examples(20, seed=1)


def macro_f1(outputs: Tensor, targets: Tensor) -> float:
    """Return scikit-learn's number, a float64 of NumPy."""
    found: float = f1_score(targets.cpu(), outputs.argmax(dim=1).cpu(), average="macro")
    return found


class Mean(nn.Module):
    """The mean output, written as torchmetrics writes its metrics: states are changed in place."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.total: Tensor
        self.register_buffer("total", torch.zeros(()))
        self.number = 0

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        self.total += outputs.sum()
        self.number += outputs.numel()
        assert len(outputs) == len(targets) <= 16

    def compute(self) -> Tensor:
        return self.total / self.number

    def reset(self) -> None:
        self.total = torch.zeros_like(self.total)
        self.number = 0


def metrics() -> dict[str, MetricLike]:
    return {"f1": macro_f1, "mean": Mean(), "top2": TopKAccuracy(2)}


def by_hand(model: nn.Module, data: LabeledTensors) -> dict[str, float]:
    """Return the metrics computed on all examples at once."""
    with torch.inference_mode():
        outputs = model(data.inputs)
    second = outputs.sort(dim=1, descending=True).indices[:, :2]
    hits = (second == data.targets[:, None]).any(dim=1)
    return {
        "f1": macro_f1(outputs, data.targets),
        "mean": outputs.mean().item(),
        "top2": hits.double().mean().item(),
    }


@pytest.mark.parametrize("kind", ["module", "classifier"])
def test_the_columns_are_those_of_a_loop(kind: str) -> None:
    """Of logits, in the history and in evaluate, whoever evaluates the loss."""
    model = network() if kind == "module" else SoftmaxClassifier.for_data(TRAIN, (8,))
    trainer = Trainer(model, CONFIG, metrics=metrics())
    trainer.fit(TRAIN, VAL)
    assert trainer.history[-1].metrics == pytest.approx(by_hand(model, VAL), abs=1e-6)
    if isinstance(model, SoftmaxClassifier):
        model.calibrate(VAL)  # changes probabilities, but not what the model returns
    assert trainer.evaluate(TRAIN).metrics == pytest.approx(by_hand(model, TRAIN), abs=1e-6)
    assert not model.training


def test_metrics_change_nothing() -> None:
    """The weights have the same bits, also beside a metric that draws random numbers."""
    config = everything(None, epochs=2)
    noisy: Mapping[str, MetricLike] = {**metrics(), "noise": lambda *_: float(torch.rand(()))}
    plain, measured = network(), network()
    Trainer(plain, config).fit(TRAIN, VAL)
    Trainer(measured, config, metrics=noisy).fit(TRAIN, VAL)
    assert differences(plain.state_dict(), measured.state_dict()) == []


def test_an_object_can_be_used_outside_of_fit() -> None:
    """Its states are ordinary tensors afterwards, which torch allows to change in place."""
    mean = Mean()
    Trainer(network(), CONFIG, metrics={"mean": mean}).fit(TRAIN, VAL)
    mean.update(torch.ones(1, 3), torch.zeros(1))
    assert mean.number == 63


def test_files_have_the_columns(tmp_path: Path) -> None:
    """CSV, JSON, JSON lines, pandas, and a history that is read back."""
    loggers: list[Callback] = [CSVLogger(tmp_path / "a.csv"), JSONLinesLogger(tmp_path / "a.jsonl")]
    config = replace(CONFIG, validate_every=2)
    trainer = Trainer(network(), config, callbacks=loggers, metrics={"f1": macro_f1})
    history = trainer.fit(TRAIN, VAL).history
    value = history[1].metrics["f1"]
    assert [row.metrics["f1"] for row in history] == [None, value]
    assert history[1].to_dict()["val_f1"] == value
    assert history.columns[-1] == "val_f1"
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [line["val_f1"] for line in csv.DictReader(file)] == ["", repr(value)]
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["val_f1"] for line in lines] == [None, value]
    assert History.from_json(history.to_json()) == history
    assert pickle.loads(pickle.dumps(history)) == history
    assert list(history.to_pandas()["val_f1"])[1] == value
    assert len({*history}) == 2, "rows can be hashed"


def test_tensorboard_has_the_columns(tmp_path: Path) -> None:
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason="tensorboard is optional")
    logger = TensorBoardLogger(tmp_path)
    Trainer(network(), CONFIG, callbacks=[logger], metrics={"f1": macro_f1}).fit(TRAIN, VAL)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert len(events.Scalars("val_f1")) == 2


def test_a_value_that_is_not_finite_warns() -> None:
    """The history has None there, evaluate has the value, JSON has null."""
    trainer = Trainer(network(), CONFIG, metrics={"ratio": lambda *_: float("nan")})
    with pytest.warns(UserWarning, match=r"metrics\['ratio'\] is nan after epoch 0; the history"):
        trainer.fit(TRAIN, VAL)  # once, not in each epoch
    assert [row.metrics for row in trainer.history] == [{"ratio": None}] * 2
    evaluation = trainer.evaluate(VAL)
    assert evaluation.metrics["ratio"] != evaluation.metrics["ratio"]
    assert evaluation.to_dict()["metrics"] == {"ratio": None}
    assert "ratio=nan" in repr(evaluation)
    assert "ratio nan" in str(evaluation)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"macro f1": macro_f1}, ValueError, r"got 'macro f1'; use a name such as 'macro_f1'"),
        ({"1a": macro_f1}, ValueError, "got '1a'; use a name such as 'metric_1a'"),
        ({"": macro_f1}, ValueError, "got ''; use a name such as 'metric'"),
        ({"val f1": macro_f1}, ValueError, "got 'val f1'; use a name such as 'f1'"),
        ({"val loss": macro_f1}, ValueError, "use a name such as 'metric_loss'"),
        ({"m²": macro_f1}, ValueError, "got 'm²'; use a name such as 'm_'"),
        ({1: macro_f1}, TypeError, "metrics must be identifiers as names of metrics, got 1"),
        ({"val_f1": macro_f1}, ValueError, "use 'f1', whose column is 'val_f1'"),
        ({"loss": macro_f1}, ValueError, "the column 'val_loss' exists already"),
        ({"r2": macro_f1}, ValueError, "the column 'val_r2' exists already"),
        ({"f1": 3}, TypeError, r"metrics\['f1'\] must be a function of outputs and targets"),
        ({"mean": Mean}, TypeError, r"pass Mean\(\.\.\.\)"),
        ([macro_f1], TypeError, "metrics must be a mapping from names to metrics"),
    ],
)
def test_a_wrong_metric_is_refused(
    given: Mapping[str, MetricLike], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Trainer(network(), CONFIG, metrics=given)


def test_one_object_of_two_names_is_refused() -> None:
    """It would count each batch twice; a function may have two names."""
    metric = TopKAccuracy(2)
    message = r"metrics\['b'\] must be another object than metrics\['a'\], .*; pass a second object"
    with pytest.raises(ValueError, match=message):
        Trainer(network(), CONFIG, metrics={"a": metric, "b": metric})
    trainer = Trainer(network(), CONFIG, metrics={"a": macro_f1, "b": macro_f1})
    row = trainer.fit(TRAIN, VAL).history[-1]
    assert row.metrics["a"] == row.metrics["b"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor(True), r"one number, got True; convert it with float\(...\)"),
        (np.bool_(0), "one number, got False; convert it with float"),
        (torch.tensor(1j), r"one number, got tensor\(0\.\+1\.j\); average it"),
        (None, "one number, got None; return it"),
        ({"a": 1.0}, r"one number, got \{'a': 1\.0\}; pass its metrics one by one"),
        (torch.zeros(2, 3), r"one number, not a tensor with axes, got \(2, 3\); average it"),
    ],
)
def test_a_result_that_is_no_number_is_shown(value: object, message: str) -> None:
    trainer = Trainer(network(), CONFIG, metrics={"f1": lambda *_: value})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=message):
        trainer.evaluate(VAL)


@pytest.mark.parametrize("value", [torch.zeros(3), "good", None, True])
def test_a_result_that_is_no_number_is_refused(value: object) -> None:
    trainer = Trainer(network(), CONFIG, metrics={"f1": lambda *_: value})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"metrics\['f1'\] must be a metric whose result is one"):
        trainer.fit(TRAIN, VAL)


def test_several_networks_have_the_columns_of_the_trainer() -> None:
    models = [network(seed) for seed in range(2)]
    alone = [network(seed) for seed in range(2)]
    results = fit_many(models, TRAIN, VAL, config=CONFIG, metrics=metrics())
    for model, result in zip(alone, results, strict=True):
        expected = Trainer(model, CONFIG, metrics=metrics()).fit(TRAIN, VAL).history[-1].metrics
        assert result.history[-1].metrics == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", ["module", "regressor"])
def test_a_regression_has_its_columns(kind: str) -> None:
    """RMSE, MAE and R2 are scikit-learn's; accuracy and error are None."""
    inputs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    data = LabeledTensors(inputs, inputs.sum(dim=1) * 10 + 100)
    model: nn.Module
    if kind == "module":
        model, objective = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), MeanSquaredError()
    else:
        model, objective = Regressor.for_data(data, (8,)), None
    row = Trainer(model, CONFIG, objective=objective).fit(data, data).history[-1]
    with torch.inference_mode():
        outputs = model(data.inputs).numpy()
    true = data.targets.numpy()
    assert row.val_rmse == pytest.approx(root_mean_squared_error(true, outputs), rel=1e-5)
    assert row.val_mae == pytest.approx(mean_absolute_error(true, outputs), rel=1e-5)
    assert row.val_r2 == pytest.approx(r2_score(true, outputs), rel=1e-5)
    assert row.val_accuracy is None
    assert row.to_dict()["val_rmse"] == row.val_rmse


def test_a_classifier_has_no_columns_of_a_regression() -> None:
    row = Trainer(network(), CONFIG).fit(TRAIN, VAL).history[-1]
    assert (row.val_rmse, row.val_mae, row.val_r2) == (None, None, None)
    assert row.metrics == {}


def test_a_row_checks_its_metrics() -> None:
    row = Trainer(network(), CONFIG).fit(TRAIN).history[-1]
    with pytest.raises(TypeError, match="metrics must be a mapping"):
        replace(row, metrics=[1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"metrics\['f1'\] must be a finite number, got nan"):
        replace(row, metrics={"f1": float("nan")})
    assert EpochRow.from_dict(replace(row, metrics={"f1": 1}).to_dict()).metrics == {"f1": 1.0}


def test_an_evaluation_without_metrics_is_as_before() -> None:
    assert Evaluation(loss=1.0, num_examples=2).metrics == {}
