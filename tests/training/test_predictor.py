"""A model that predicts and evaluates itself does so in the trainer too."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import examples, network
from torch import Tensor, nn

from mlpkit import SoftmaxClassifier
from mlpkit.data import LabeledTensors, digits
from mlpkit.errors import CheckpointError
from mlpkit.training import (
    AveragingConfig,
    BatchLike,
    Callback,
    CrossEntropy,
    EpochRow,
    Evaluation,
    Mixup,
    Objective,
    OptimizerConfig,
    Schedule,
    Trainer,
    TrainerConfig,
    VirtualAdversarial,
    fit_many,
)
from mlpkit.training._predictor import find_predictor, reset_calibration

SPLITS = digits()
TRAIN, TEST = SPLITS.train, SPLITS.test
assert SPLITS.val is not None
VAL = SPLITS.val
CONFIG = TrainerConfig(
    epochs=3,
    batch_size=64,
    optimizer=OptimizerConfig(lr=0.01),
    schedule=Schedule(),
    label_smoothing=0.0,
    device="cpu",
    progress=False,
)


def classifier(seed: int = 0) -> SoftmaxClassifier:
    """Return an untrained classifier of digits."""
    generator = torch.Generator().manual_seed(seed)
    return SoftmaxClassifier.for_data(TRAIN, (16,), generator=generator)


def at_temperature(model: nn.Module, data: LabeledTensors, temperature: float) -> dict[str, float]:
    """Return loss, accuracy and calibration error in 15 bins, by loops over the probabilities."""
    model.eval()
    with torch.no_grad():
        probabilities = (model(data.inputs).double() / temperature).softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    loss = right = gap = 0.0
    for row, target in zip(probabilities.tolist(), data.targets.tolist(), strict=True):
        loss -= torch.tensor(row[target], dtype=torch.float64).log().item()
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        hits = (predicted == data.targets)[inside].double()
        right += hits.sum().item()
        gap += abs((hits - confidence[inside]).sum().item())
    number = len(data)
    return {"loss": loss / number, "accuracy": right / number, "calibration_error": gap / number}


def assert_result(found: Evaluation, expected: dict[str, float]) -> None:
    """Compare an evaluation with metrics by hand."""
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-5), name


@pytest.fixture(scope="module")
def calibrated() -> tuple[Trainer, SoftmaxClassifier]:
    """A trained classifier whose temperature is far from 1, and its trainer."""
    model = classifier()
    trainer = Trainer(model, replace(CONFIG, label_smoothing=0.3))
    trainer.fit(TRAIN, VAL)
    assert abs(model.calibrate(VAL) - 1.0) > 0.2
    return trainer, model


class TestAfterCalibration:
    def test_the_trainer_predicts_what_the_model_predicts(
        self, calibrated: tuple[Trainer, SoftmaxClassifier]
    ) -> None:
        """At the fitted temperature: oracle, the softmax of the divided logits."""
        trainer, model = calibrated
        found = trainer.predict_proba(TEST.inputs)
        assert torch.equal(found, model.predict_proba(TEST.inputs))
        logits = model(TEST.inputs).detach().double()
        expected = (logits / float(model.temperature)).softmax(dim=1).float()
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, logits.softmax(dim=1).float(), atol=1e-3)
        assert torch.equal(trainer.predict(TEST.inputs), model.predict(TEST.inputs))
        assert torch.equal(trainer.predict(TEST.inputs), logits.argmax(dim=1))

    def test_the_evaluation_is_that_of_the_model(
        self, calibrated: tuple[Trainer, SoftmaxClassifier]
    ) -> None:
        """Loss and calibration error of the divided logits, by loops; not those of before."""
        trainer, model = calibrated
        found, own = trainer.evaluate(TEST), model.evaluate(TEST)
        assert replace(found, objective_loss=None) == own
        expected = at_temperature(model, TEST, float(model.temperature))
        assert_result(own, expected)
        before = at_temperature(model, TEST, 1.0)
        assert abs(before["calibration_error"] - expected["calibration_error"]) > 0.02
        assert [one.name for one in found.per_class] == list(model.classes)

    def test_any_size_of_a_batch_gives_the_same(
        self, calibrated: tuple[Trainer, SoftmaxClassifier]
    ) -> None:
        """The trainer passes its eval_batch_size on, and its precision."""
        _, model = calibrated
        trainer = Trainer(model, replace(CONFIG, eval_batch_size=7))
        torch.testing.assert_close(
            trainer.predict_proba(TEST.inputs), model.predict_proba(TEST.inputs)
        )
        assert trainer.evaluate(TEST).loss == pytest.approx(model.evaluate(TEST).loss, rel=1e-6)
        low = Trainer(model, replace(CONFIG, precision="bf16"))
        assert low.evaluate(TEST) == model.evaluate(TEST, precision="bf16")
        assert low.evaluate(TEST) != model.evaluate(TEST)


class TestFit:
    @pytest.mark.parametrize("many", [False, True])
    def test_it_resets_a_fitted_temperature(self, *, many: bool) -> None:
        """And trains as if there had been none; the validation within is at temperature 1."""
        model, plain = classifier(), classifier()
        model.temperature.fill_(3.0)
        results = []
        for one in (model, plain):
            if many:
                (result,) = fit_many([one], TRAIN, VAL, config=CONFIG)
            else:
                result = Trainer(one, CONFIG).fit(TRAIN, VAL)
            results.append(result)
        assert float(model.temperature) == 1.0
        for name, value in plain.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), name
        first, second = (result.history[-1] for result in results)
        assert first.val_loss == second.val_loss
        expected = at_temperature(model, VAL, 1.0)
        assert first.val_loss == pytest.approx(expected["loss"], rel=1e-5)
        assert first.val_accuracy == pytest.approx(expected["accuracy"])

    def test_the_validation_is_at_temperature_1_whatever_a_callback_does(self) -> None:
        """A temperature that is fitted between the epochs does not change the monitored loss."""

        class Calibrate(Callback):
            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
                assert isinstance(trainer.model, SoftmaxClassifier)
                trainer.model.temperature.fill_(5.0)

        one, other = classifier(), classifier()
        seen = Trainer(one, CONFIG, callbacks=[Calibrate()]).fit(TRAIN, VAL)
        plain = Trainer(other, CONFIG).fit(TRAIN, VAL)
        assert [row.val_loss for row in seen.history] == [row.val_loss for row in plain.history]


class Wrapper(nn.Module):
    """Flips the classes of a classifier, and forwards every other attribute to it."""

    def __init__(self, inner: SoftmaxClassifier) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits.flip(1)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class TestAWrapper:
    """It has the methods of the module within, which would not call its forward."""

    def test_it_is_evaluated_through_its_own_forward(
        self, calibrated: tuple[Trainer, SoftmaxClassifier]
    ) -> None:
        _, model = calibrated
        wrapper = Wrapper(model)
        predict = wrapper.predict  # forwarded
        assert callable(predict)
        trainer = Trainer(wrapper, CONFIG)
        assert torch.equal(trainer.predict(TEST.inputs), 9 - model.predict(TEST.inputs))
        expected = model(TEST.inputs).flip(1).softmax(dim=1).detach()
        torch.testing.assert_close(trainer.predict_proba(TEST.inputs), expected)
        assert_result(trainer.evaluate(TEST), at_temperature(wrapper, TEST, 1.0))

    def test_training_it_resets_the_temperature_of_the_inner_model(self) -> None:
        inner = classifier()
        inner.temperature.fill_(3.0)
        Trainer(Wrapper(inner), replace(CONFIG, epochs=1)).fit(TRAIN)
        assert float(inner.temperature) == 1.0


def test_a_compiled_classifier_predicts_as_the_original() -> None:
    """Its temperature counts too, and training resets it."""
    model = classifier()
    compiled = torch.compile(model, backend="eager")
    assert isinstance(compiled, nn.Module)
    trainer = Trainer(compiled, replace(CONFIG, epochs=1))
    trainer.fit(TRAIN, VAL)
    model.calibrate(VAL)
    assert torch.equal(trainer.predict_proba(VAL.inputs), model.predict_proba(VAL.inputs))
    assert trainer.evaluate(VAL) == model.evaluate(VAL)
    trainer.fit(TRAIN)
    assert float(model.temperature) == 1.0


def test_a_fit_that_fails_or_resumes(tmp_path: Path) -> None:
    """A failed call leaves the temperature; a resumed run resets it, as a new one does."""
    model = classifier()
    trainer = Trainer(model, replace(CONFIG, epochs=1))
    trainer.fit(TRAIN, VAL)
    fitted = model.calibrate(VAL)
    saved = trainer.save(tmp_path / "saved.pt")
    with pytest.raises(TypeError):
        trainer.fit("x")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError):
        trainer.fit(TRAIN, VAL, resume=tmp_path / "nowhere.pt")
    other = SoftmaxClassifier.for_data(TRAIN, (5,))
    with pytest.raises(ValueError, match="of the same architecture"):
        fit_many([model, other], TRAIN, config=replace(CONFIG, epochs=1))
    assert float(model.temperature) == pytest.approx(fitted)
    Trainer(model, replace(CONFIG, epochs=1)).fit(TRAIN, VAL, resume=saved)
    assert float(model.temperature) == 1.0


def test_a_resumed_regression_predicts_numbers(tmp_path: Path) -> None:
    """Also by an objective that does not declare its task, and before a step is made."""

    def squared(model: nn.Module, batch: BatchLike) -> Tensor:
        outputs: Tensor = model(batch.inputs)
        return (outputs - batch.targets).square().mean(dim=1)

    data = LabeledTensors(torch.randn(16, 6), torch.randn(16, 2))
    config = replace(CONFIG, epochs=1)
    trainer = Trainer(nn.Linear(6, 2), config, objective=squared)
    trainer.fit(data)
    saved = trainer.save(tmp_path / "saved.pt")
    resumed = Trainer(nn.Linear(6, 2), config, objective=squared)
    resumed.fit(data, resume=saved)
    assert torch.equal(resumed.predict(data.inputs), trainer.predict(data.inputs))
    assert resumed.predict(data.inputs).shape == (16, 2)


class TestFindPredictor:
    def test_it_is_the_model_itself_or_none(self) -> None:
        model = classifier()
        assert find_predictor(model) is model
        assert find_predictor(Wrapper(model)) is None
        assert find_predictor(network()) is None
        assert find_predictor(nn.Sequential(model)) is None

    def test_a_method_that_is_missing(self) -> None:
        """One that only looks like a predictor is called as any other module."""

        class Partly(nn.Linear):
            def predict(self, x: Tensor, *, batch_size: int) -> Tensor:
                raise NotImplementedError

            predict_proba = predict

        model = Partly(6, 3)
        assert find_predictor(model) is None
        reset_calibration(model)
        assert Trainer(model, CONFIG).predict(torch.zeros(2, 6)).shape == (2,)

    def test_a_model_of_any_library_may_be_one(self) -> None:
        """A class with the four methods, and nothing of mlpkit."""

        class Constant(nn.Linear):
            was_reset = False

            def predict(self, x: Tensor, *, batch_size: int) -> Tensor:
                return torch.full((len(x),), batch_size)

            def predict_proba(self, x: Tensor, *, batch_size: int) -> Tensor:
                return torch.full((len(x), 1), 1.0 / batch_size)

            def evaluate(self, data: LabeledTensors, **options: object) -> Evaluation:
                assert options == {
                    "objective": CrossEntropy(),
                    "batch_size": 4,
                    "device": torch.device("cpu"),
                    "precision": "bf16",
                }
                return Evaluation(loss=0.5, num_examples=len(data))

            def reset_calibration(self) -> None:
                self.was_reset = True

        model = Constant(6, 3)
        trainer = Trainer(model, replace(CONFIG, epochs=1, eval_batch_size=4, precision="bf16"))
        assert trainer.predict(torch.zeros(2, 6)).tolist() == [4, 4]
        assert trainer.predict_proba(torch.zeros(1, 6)).tolist() == [[0.25]]
        assert trainer.evaluate(examples()) == Evaluation(loss=0.5, num_examples=61)
        assert not model.was_reset
        trainer.fit(examples())
        assert model.was_reset


class TestAveragedWeights:
    CONFIG = replace(CONFIG, averaging=AveragingConfig(decay=0.9))

    def test_the_evaluation_is_that_of_the_average(self) -> None:
        """In a hook, where the model has the trained weights; predictions likewise."""

        class Look(Callback):
            num_seen = 0

            def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
                assert isinstance(trainer.model, SoftmaxClassifier)
                trained = trainer.model.evaluate(VAL).loss
                found = trainer.evaluate(VAL)
                assert found.loss == pytest.approx(row.val_loss, rel=1e-6)
                assert found.loss != pytest.approx(trained, rel=1e-3)
                probabilities = trainer.predict_proba(VAL.inputs)
                loss = F.nll_loss(probabilities.log(), VAL.targets)
                assert loss.item() == pytest.approx(found.loss, rel=1e-5)
                self.num_seen += 1

        look = Look()
        model = classifier()
        trainer = Trainer(model, self.CONFIG, callbacks=[look])
        result = trainer.fit(TRAIN, VAL)
        assert look.num_seen == 3
        assert trainer.evaluate(VAL) == model.evaluate(VAL)
        assert result.history[-1].val_loss == pytest.approx(model.evaluate(VAL).loss, rel=1e-6)

    def test_a_calibration_of_the_average_is_kept(self) -> None:
        model = classifier()
        trainer = Trainer(model, self.CONFIG)
        trainer.fit(TRAIN, VAL)
        temperature = model.calibrate(VAL)
        assert temperature != 1.0
        assert trainer.evaluate(TEST) == model.evaluate(TEST)
        assert torch.equal(trainer.predict_proba(TEST.inputs), model.predict_proba(TEST.inputs))
        assert float(model.temperature) == pytest.approx(temperature)


def focal(model: nn.Module, batch: BatchLike) -> Tensor:
    """Return the focal loss of each example, a custom objective."""
    logs = model(batch.inputs).log_softmax(dim=1)
    log = logs.gather(1, batch.targets[:, None]).squeeze(1)
    losses: Tensor = -((1 - log.exp()) ** 2) * log
    return losses


def plain_module() -> nn.Module:
    """Return a module that leaves prediction and evaluation to the trainer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


class TestObjectiveLoss:
    @pytest.mark.parametrize("build", [classifier, plain_module], ids=["predictor", "module"])
    @pytest.mark.parametrize(
        "objective", [focal, CrossEntropy(label_smoothing=0.2)], ids=["focal", "smoothed"]
    )
    def test_it_is_reported_beside_the_cross_entropy(
        self, build: Callable[[], nn.Module], objective: Objective
    ) -> None:
        """In the evaluation and in every row: oracle, the mean of the objective by hand."""
        model = build()
        data = TRAIN, VAL
        if not isinstance(model, SoftmaxClassifier):
            data = _floats(TRAIN), _floats(VAL)
        trainer = Trainer(model, CONFIG, objective=objective)
        result = trainer.fit(*data)
        found = trainer.evaluate(data[1])
        with torch.no_grad():
            (batch,) = data[1].batches(10**6, shuffle=False).epoch(0)
            expected = objective(model, batch).double().mean().item()
            plain = F.cross_entropy(model(batch.inputs), batch.targets).item()
        assert found.objective_loss == pytest.approx(expected, rel=1e-5)
        assert found.loss == pytest.approx(plain, rel=1e-5)
        assert result.history[-1].val_objective_loss == pytest.approx(expected, rel=1e-5)
        assert result.history[-1].val_loss == pytest.approx(plain, rel=1e-5)
        assert result.history.to_dict()[-1]["val_objective_loss"] is not None

    def test_the_temperature_is_not_in_it(self) -> None:
        """It is the objective that was trained, which no calibration changes."""
        model = classifier()
        trainer = Trainer(model, CONFIG, objective=focal)
        trainer.fit(TRAIN)
        before = trainer.evaluate(VAL)
        model.temperature.fill_(4.0)
        after = trainer.evaluate(VAL)
        assert after.objective_loss == before.objective_loss
        assert after.loss == model.evaluate(VAL).loss != before.loss

    def test_it_is_weighted_as_the_loss(self) -> None:
        weights = torch.linspace(0.1, 2.0, len(VAL))
        data = LabeledTensors(VAL.inputs, VAL.targets, VAL.classes, weights=weights)
        model = classifier().eval()
        found = Trainer(model, CONFIG, objective=focal).evaluate(data)
        (batch,) = data.batches(10**6, shuffle=False).epoch(0)
        losses = focal(model, batch).detach().double()
        expected = float((losses * weights.double()).sum() / weights.double().sum())
        assert found.objective_loss == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("objective", [None, CrossEntropy(), Mixup(0.2)], ids=str)
    def test_it_is_none_for_plain_cross_entropy(self, objective: Objective | None) -> None:
        model = classifier()
        trainer = Trainer(model, replace(CONFIG, epochs=1), objective=objective)
        result = trainer.fit(TRAIN, VAL)
        assert trainer.evaluate(VAL).objective_loss is None
        assert result.history[0].val_objective_loss is None
        assert trainer.evaluate(VAL) == model.evaluate(VAL)

    def test_it_is_none_where_the_objective_needs_gradients(self) -> None:
        """Virtual adversarial training has no meaning in evaluation."""
        model = classifier()
        trainer = Trainer(model, replace(CONFIG, epochs=1), objective=VirtualAdversarial())
        result = trainer.fit(_floats(TRAIN), _floats(VAL))
        assert trainer.evaluate(_floats(VAL)).objective_loss is None
        assert result.history[0].val_objective_loss is None

    def test_mixup_is_evaluated_without_mixing(self) -> None:
        model = classifier()
        objective = Mixup(0.2, objective=CrossEntropy(label_smoothing=0.2))
        trainer = Trainer(model, replace(CONFIG, epochs=1), objective=objective)
        trainer.fit(TRAIN)
        logits = model(VAL.inputs).detach()
        expected = F.cross_entropy(logits, VAL.targets, label_smoothing=0.2).item()
        assert trainer.evaluate(VAL).objective_loss == pytest.approx(expected, rel=1e-5)

    def test_label_smoothing_of_the_configuration_is_such_an_objective(self) -> None:
        model = classifier()
        trainer = Trainer(model, replace(CONFIG, epochs=1, label_smoothing=0.2))
        result = trainer.fit(TRAIN, VAL)
        logits = model(VAL.inputs).detach()
        expected = F.cross_entropy(logits, VAL.targets, label_smoothing=0.2).item()
        assert result.history[0].val_objective_loss == pytest.approx(expected, rel=1e-5)
        assert trainer.evaluate(VAL).objective_loss == pytest.approx(expected, rel=1e-5)


def test_the_model_keeps_no_trace_of_an_evaluation(tmp_path: Path) -> None:
    """Weights, modes, temperature and the global generator stay."""
    model = classifier()
    trainer = Trainer(model, replace(CONFIG, epochs=1))
    trainer.fit(TRAIN)
    model.calibrate(VAL)
    model.train()
    model.network.eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    trainer.evaluate(TEST)
    trainer.predict(TEST.inputs)
    trainer.predict_proba(TEST.inputs)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.training
    assert not any(module.training for module in model.network.modules())
    loaded = SoftmaxClassifier.load(model.save(tmp_path))
    assert torch.equal(loaded.predict_proba(TEST.inputs), trainer.predict_proba(TEST.inputs))


def _floats(data: LabeledTensors) -> LabeledTensors:
    return LabeledTensors(data.inputs.float(), data.targets)
