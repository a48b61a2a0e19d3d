"""Forward passes that leave no trace."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.scenario import everything, examples, network, train
from torch import Tensor, nn

from mlpkit._devices import is_training
from mlpkit.data import LabeledTensors
from mlpkit.training import (
    BatchLike,
    Trainer,
    TrainerConfig,
)

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
