"""Metrics of torchmetrics as they are: on logits, on outputs in units, over checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import (  # type: ignore[import-untyped]
    average_precision_score,
    f1_score,
    mean_absolute_error,
    roc_auc_score,
)
from tests.training.scenario import differences, examples, network
from torch import Tensor

from mlpkit import MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.data import LabeledTensors
from mlpkit.training import Callback, CheckpointConfig, EpochRow, Trainer, TrainerConfig, fit_many

CONFIG = TrainerConfig(epochs=3, batch_size=16, eval_batch_size=7, progress=False)
TRAIN, VAL = examples(), examples(20, seed=1)


def torchmetrics() -> Any:
    """Import it where it is used: that takes seconds, which no other test should wait for."""
    return pytest.importorskip("torchmetrics", reason="the extra mlpkit[metrics] is not installed")


def of_classes() -> dict[str, Any]:
    classification = torchmetrics().classification
    return {
        "auroc": classification.MulticlassAUROC(num_classes=3),
        "ap": classification.MulticlassAveragePrecision(num_classes=3),
        "f1": classification.MulticlassF1Score(num_classes=3, average="macro"),
    }


def test_classes() -> None:
    """Of logits, in batches of seven: as scikit-learn's of all probabilities."""
    model = SoftmaxClassifier.for_data(TRAIN, (8,))
    trainer = Trainer(model, CONFIG, metrics=of_classes())
    history = trainer.fit(TRAIN, VAL).history
    probabilities, predicted = model.predict_proba(VAL.inputs), model.predict(VAL.inputs)
    expected = {
        "auroc": roc_auc_score(VAL.targets, probabilities, multi_class="ovr"),
        "ap": average_precision_score(VAL.targets, probabilities),
        "f1": f1_score(VAL.targets, predicted, average="macro"),
    }
    assert history[-1].metrics == pytest.approx(expected, abs=1e-6)
    assert trainer.evaluate(VAL).metrics == history[-1].metrics


def test_labels() -> None:
    """The targets are floats, which torchmetrics refuses: a subclass converts them."""
    classification = torchmetrics().classification

    class OfFloats(classification.MultilabelAUROC):  # type: ignore[misc, name-defined]
        def update(self, outputs: Tensor, targets: Tensor) -> None:
            super().update(outputs, targets.long())

    data = LabeledTensors(TRAIN.inputs, (TRAIN.inputs[:, :3] > 0).float())
    model = MultilabelClassifier.for_data(data, (8,))
    trainer = Trainer(model, CONFIG, metrics={"auroc": OfFloats(num_labels=3)})
    history = trainer.fit(data, data).history
    expected = roc_auc_score(data.targets, model.predict_proba(data.inputs))
    assert history[-1].metrics == pytest.approx({"auroc": expected}, abs=1e-6)
    plain = Trainer(model, CONFIG, metrics={"a": classification.MultilabelAUROC(num_labels=3)})
    with pytest.raises(ValueError, match="target` to be an int or long tensor"):
        plain.evaluate(data)


@pytest.mark.parametrize("columns", [1, 2])
def test_numbers(columns: int) -> None:
    """The outputs of a regressor are in the units of the targets."""
    numbers = 100 + 30 * TRAIN.inputs[:, :columns].squeeze(1)
    data = LabeledTensors(TRAIN.inputs, numbers)
    model = Regressor.for_data(data, (8,))
    metrics = {
        "mean_error": torchmetrics().MeanAbsoluteError(),
        "mean_square": torchmetrics().MeanSquaredError(),
    }
    row = Trainer(model, CONFIG, metrics=metrics).fit(data, data).history[-1]
    expected = mean_absolute_error(data.targets, model.predict(data.inputs))
    assert row.metrics["mean_error"] == pytest.approx(expected, rel=1e-5)
    assert row.val_rmse is not None
    assert row.metrics["mean_square"] == pytest.approx(row.val_rmse**2, rel=1e-5)


def test_monitor_takes_its_direction() -> None:
    """``higher_is_better`` is that of torchmetrics: the best epoch has the largest value."""
    config = replace(CONFIG, epochs=6, monitor="val_auroc")
    result = Trainer(network(), config, metrics=of_classes()).fit(TRAIN, VAL)
    values = [row.metrics["auroc"] for row in result.history]
    assert result.state.best_value == max(value for value in values if value is not None)


def test_a_resumed_run_has_the_same_columns(tmp_path: Path) -> None:
    class Fail(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
            if row.epoch == trainer.history[-1].epoch == 1:
                raise OSError("the disk is full")

    config = replace(
        CONFIG, monitor="val_f1", checkpoints=CheckpointConfig(folder=tmp_path, every_steps=1)
    )
    whole = Trainer(network(), replace(config, checkpoints=None), metrics=of_classes())
    whole.fit(TRAIN, VAL)
    killed = Trainer(network(), config, metrics=of_classes(), callbacks=[Fail()])
    with pytest.raises(OSError, match="disk"):
        killed.fit(TRAIN, VAL)
    resumed = Trainer(network(), config, metrics=of_classes())
    resumed.fit(TRAIN, VAL, resume="auto")
    assert differences(resumed.history.to_dict(), whole.history.to_dict()) == []
    assert differences(resumed.model.state_dict(), whole.model.state_dict()) == []


def test_several_networks() -> None:
    models = [network(seed) for seed in range(2)]
    alone = [network(seed) for seed in range(2)]
    results = fit_many(models, TRAIN, VAL, config=CONFIG, metrics=of_classes())
    for model, result in zip(alone, results, strict=True):
        history = Trainer(model, CONFIG, metrics=of_classes()).fit(TRAIN, VAL).history
        found, expected = result.history[-1].metrics, history[-1].metrics
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_states_move_to_the_device_of_the_model() -> None:
    on_gpu, on_cpu = of_classes(), of_classes()
    trainer = Trainer(network(), replace(CONFIG, device="cuda"), metrics=on_gpu)
    trainer.fit(TRAIN, VAL)
    assert on_gpu["f1"].device.type == "cuda"
    other = Trainer(trainer.model.cpu(), replace(CONFIG, device="cpu"), metrics=on_cpu)
    assert other.evaluate(VAL).metrics == pytest.approx(trainer.history[-1].metrics, abs=1e-4)
