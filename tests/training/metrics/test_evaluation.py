"""Forward passes that leave no trace."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import everything, examples, network, train
from torch import Tensor, nn

from mlpkit._devices import is_training
from mlpkit.data import Batches, LabeledTensors
from mlpkit.training import (
    BatchLike,
    BinaryCrossEntropy,
    Evaluation,
    GaussianNLL,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Mixup,
    Objective,
    OutputObjective,
    Precision,
    ScaledTargets,
    Trainer,
    TrainerConfig,
)
from mlpkit.training.metrics import MultilabelAccumulator, evaluate

CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False)


class TestPrediction:
    def test_probabilities_and_classes(self) -> None:
        trainer = Trainer(network(), replace(CONFIG, eval_batch_size=7))
        inputs = torch.randn(30, 6)
        trainer.model.eval()
        with torch.no_grad():
            expected = trainer.model(inputs).softmax(dim=1)
        trainer.model.train()
        torch.testing.assert_close(trainer.predict_proba(inputs), expected)
        assert torch.equal(trainer.predict(inputs), expected.argmax(dim=1))
        assert trainer.model.training
        torch.testing.assert_close(trainer.predict_proba(inputs[0:1]), expected[0:1])

    def test_every_module_gets_its_own_mode_back(self) -> None:
        trainer = Trainer(network(), CONFIG)
        trainer.model.eval()
        dropout = trainer.model.get_submodule("3")
        dropout.train()
        inputs = torch.randn(5, 6)
        assert torch.equal(trainer.predict_proba(inputs), trainer.predict_proba(inputs))
        assert dropout.training
        assert not trainer.model.training

    def test_it_is_known_of_every_module_whether_it_trains(self) -> None:
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ModuleDict({"a": nn.ReLU()}))
        model.register_module("nothing", None)
        assert not is_training(model.eval())
        for module in model.modules():
            module.training = True
            assert is_training(model)
            module.training = False

    def test_a_regression_gives_the_output_itself(self) -> None:
        data = LabeledTensors(torch.randn(20, 6), torch.randn(20, 3))

        def absolute(model: nn.Module, batch: BatchLike) -> Tensor:
            losses: Tensor = (model(batch.inputs) - batch.targets).abs().mean(dim=1)
            return losses

        trainer = Trainer(nn.Linear(6, 3), CONFIG, objective=absolute)
        result = trainer.fit(data, data)
        torch.testing.assert_close(trainer.predict(data.inputs), trainer.model(data.inputs))
        with pytest.raises(ValueError, match="objective must be one of a classification"):
            trainer.predict_proba(data.inputs)
        expected = (trainer.model(data.inputs) - data.targets).abs().mean().item()
        assert trainer.evaluate(data).loss == pytest.approx(expected, rel=1e-6)
        assert result.history[-1].val_accuracy is None

    def test_evaluation_agrees_with_prediction(self) -> None:
        trainer, _ = train(everything(None))
        data = examples(40, seed=2)
        evaluation = trainer.evaluate(data)
        right = trainer.predict(data.inputs) == data.targets
        assert evaluation.accuracy == pytest.approx(right.double().mean().item())
        assert evaluation.num_examples == 40

    def test_inputs_that_are_no_tensor_are_refused(self) -> None:
        with pytest.raises(TypeError, match="x must be a Tensor"):
            Trainer(network()).predict([[0.0] * 6])  # type: ignore[arg-type]


def evaluated(
    model: nn.Module,
    data: LabeledTensors,
    objective: Objective,
    *,
    temperature: Tensor | None = None,
    thresholds: Tensor | None = None,
    precision: Precision = "fp32",
) -> Evaluation:
    return evaluate(
        model,
        Batches(data, 7),
        objective,
        precision=precision,
        device=torch.device("cpu"),
        classes=None,
        temperature=temperature,
        thresholds=thresholds,
    )


class TestLabels:
    """The loss of a classifier of labels is always its binary cross-entropy."""

    def data(self) -> LabeledTensors:
        return LabeledTensors(torch.randn(30, 4), (torch.rand(30, 3) < 0.4).float())

    def test_equals_the_metrics_of_all_logits(self) -> None:
        model, data = nn.Linear(4, 3), self.data()
        metrics = MultilabelAccumulator()
        with torch.no_grad():
            metrics.update(model(data.inputs), data.targets)
        evaluation, expected = evaluated(model, data, BinaryCrossEntropy()), metrics.compute()
        assert evaluation.objective_loss is None
        assert evaluation.per_label == expected.per_label
        assert evaluation.loss == pytest.approx(expected.loss, rel=1e-6)
        assert evaluation.exact_match == pytest.approx(expected.exact_match)

    @pytest.mark.parametrize("mixed", [False, True])
    def test_another_objective_is_reported_beside_it(self, mixed: bool) -> None:
        model, data = nn.Linear(4, 3), self.data()
        weighted = BinaryCrossEntropy(pos_weight=(2.0, 3.0, 4.0))
        evaluation = evaluated(model, data, Mixup(objective=weighted) if mixed else weighted)
        with torch.no_grad():
            logits = model(data.inputs)
        plain = F.binary_cross_entropy_with_logits(logits, data.targets).item()
        assert evaluation.loss == pytest.approx(plain, rel=1e-6)
        mean = weighted.loss(logits, data.targets).mean().item()
        assert evaluation.objective_loss == pytest.approx(mean, rel=1e-6)
        assert evaluated(model, data, Mixup(objective=BinaryCrossEntropy())).objective_loss is None

    def test_temperature_and_thresholds(self) -> None:
        model, data = nn.Linear(4, 3), self.data()
        temperature, thresholds = torch.tensor([0.5, 1.0, 3.0]), torch.tensor([0.2, 0.5, 0.4])
        evaluation = evaluated(
            model, data, BinaryCrossEntropy(), temperature=temperature, thresholds=thresholds
        )
        with torch.no_grad():
            logits = model(data.inputs) / temperature
        plain = F.binary_cross_entropy_with_logits(logits, data.targets).item()
        assert evaluation.loss == pytest.approx(plain, rel=1e-6)
        right = (logits.sigmoid() > thresholds) == (data.targets > 0.5)
        assert evaluation.accuracy == pytest.approx(right.double().mean().item())


class TestRegression:
    @pytest.mark.parametrize(
        "objective",
        [
            MeanSquaredError(),
            MeanAbsoluteError(),
            Huber(),
            ScaledTargets(MeanSquaredError(), scale=3.0),
            Mixup(objective=MeanSquaredError()),
        ],
        ids=str,
    )
    def test_has_the_metrics_of_its_outputs(self, objective: OutputObjective) -> None:
        model, data = nn.Linear(4, 2), LabeledTensors(torch.randn(30, 4), torch.randn(30, 2))
        evaluation = evaluated(model, data, objective)
        with torch.no_grad():
            outputs = model(data.inputs)
        loss = objective.loss(outputs, data.targets).mean().item()
        assert evaluation.loss == pytest.approx(loss, rel=1e-6)
        errors = outputs - data.targets
        assert evaluation.rmse == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-6)
        assert evaluation.mae == pytest.approx(errors.abs().mean().item(), rel=1e-6)

    def test_a_distribution_has_the_metrics_of_its_means(self) -> None:
        model, data = nn.Linear(4, 2), LabeledTensors(torch.randn(30, 4), torch.randn(30))
        evaluation = evaluated(model, data, GaussianNLL())
        with torch.no_grad():
            means = model(data.inputs)[:, 0]
        rmse = (means - data.targets).square().mean().sqrt().item()
        assert evaluation.rmse == pytest.approx(rmse, rel=1e-6)
        assert evaluation.per_target[0].name == "0"

    def test_an_objective_without_a_method_loss_is_called_itself(self) -> None:
        def absolute(model: nn.Module, batch: BatchLike) -> Tensor:
            losses: Tensor = (model(batch.inputs) - batch.targets).abs().mean(dim=1)
            return losses

        model, data = nn.Linear(4, 2), LabeledTensors(torch.randn(30, 4), torch.randn(30, 2))
        evaluation = evaluated(model, data, absolute)
        with torch.no_grad():
            mean = (model(data.inputs) - data.targets).abs().mean().item()
        assert evaluation.loss == pytest.approx(mean, rel=1e-6)
        assert evaluation.mae == pytest.approx(mean, rel=1e-6)

    def test_outputs_of_low_precision(self) -> None:
        model, data = nn.Linear(4, 2), LabeledTensors(torch.randn(30, 4), torch.randn(30, 2))
        whole = evaluated(model, data, MeanSquaredError())
        half = evaluated(model, data, MeanSquaredError(), precision="bf16")
        assert half.rmse == pytest.approx(whole.rmse, rel=1e-2)
        assert half.rmse != whole.rmse
