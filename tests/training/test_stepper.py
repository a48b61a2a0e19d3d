"""A step is that of a loop by hand, whichever way its gradients are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import differences, examples, network
from torch import Tensor, nn

from mlpkit import MLP, SoftmaxClassifier
from mlpkit.data import Batches, LabeledTensors
from mlpkit.errors import NonFiniteError
from mlpkit.nn import MLPOptions
from mlpkit.training import (
    BatchLike,
    BatchSource,
    CrossEntropy,
    FilledConfig,
    MomentumSchedule,
    Objective,
    OptimizerConfig,
    Schedule,
    Trainer,
    TrainerConfig,
    build_optimizer,
    reestimate_batch_norm,
)
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._stepper import Stepper, _obeys_found_inf, reestimate_on
from mlpkit.training._tracker import TrainState

CPU = torch.device("cpu")
CONFIG = FilledConfig(
    epochs=3,
    batch_size=8,
    optimizer=OptimizerConfig(lr=0.01, weight_decay=0.1),
    schedule=Schedule(kind="one_cycle"),
    label_smoothing=0.0,
    device="cpu",
    progress=False,
)


def stepper_of(
    model: nn.Module,
    config: FilledConfig = CONFIG,
    *,
    train: BatchSource | None = None,
    objective: Objective | None = None,
) -> Stepper:
    """Return the stepper of a run on the examples of the scenario."""
    return Stepper(
        model,
        config,
        CrossEntropy() if objective is None else objective,
        build_optimizer(model, config.optimizer),
        train=Batches(examples(), config.batch_size) if train is None else train,
        device=CPU,
    )


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("gradients", ["auto", "autograd"])
def test_a_step_is_that_of_a_loop_by_hand(accumulation: int, gradients: str) -> None:
    """Rates, momentum, mean over all microbatches, clipping: the same bits in torch's words."""
    config = replace(
        CONFIG,
        gradient_accumulation_steps=accumulation,
        clip_grad_norm=0.3,
        momentum_schedule=MomentumSchedule(kind="one_cycle"),
        gradients=gradients,  # type: ignore[arg-type]  # one of two
    )
    model, by_hand = network(), network()
    for one in (model, by_hand):
        one[3] = nn.Identity()  # dropout would need the stream of the run
    stepper = stepper_of(model, config)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    total = -(-8 // accumulation) * 3
    assert stepper.total_steps == total
    assert config.momentum_schedule is not None
    step = 0
    for epoch in range(3):
        stepper.engine.begin_epoch()
        for window in stepper.microbatches(epoch):
            found = stepper.step(step, window)
            (group,) = optimizer.param_groups
            group["lr"] = 0.01 * config.schedule.ratio(step, total)
            group["betas"] = (config.momentum_schedule.momentum(step, total), 0.999)
            optimizer.zero_grad()
            number = sum(len(batch.targets) for batch in window)
            loss = torch.zeros(())
            for batch in window:
                part = F.cross_entropy(by_hand(batch.inputs), batch.targets, reduction="sum")
                torch.autograd.backward(part / number)
                loss += part.detach() / number
            norm = nn.utils.clip_grad_norm_(by_hand.parameters(), 0.3)
            optimizer.step()
            assert found.weight == number
            assert float(found.loss) == pytest.approx(float(loss), rel=1e-6)
            assert torch.equal(found.grad_norm, norm)
            step += 1
    stepper.end()
    assert step == total
    assert differences(by_hand.state_dict(), model.state_dict()) == []


def mlp(**options: object) -> Callable[[], nn.Module]:
    """Return what builds an MLP with these options, always with the same weights."""

    def build() -> nn.Module:
        generator = torch.Generator().manual_seed(3)
        return MLP(6, (9, 9), 3, generator=generator, **options)  # type: ignore[arg-type]

    return build


def softmax_classifier() -> nn.Module:
    """Return a classifier of raw inputs with batch norm and dropout."""
    data = examples()
    return SoftmaxClassifier.for_data(
        LabeledTensors(data.inputs, data.targets, ("a", "b", "c")),
        (9, 8),
        MLPOptions(norm="batch", dropout=0.2),
        generator=torch.Generator().manual_seed(3),
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp(),
    "linear": lambda: MLP(6, (), 3, generator=torch.Generator().manual_seed(3)),
    "no bias": mlp(bias=False),
    "tanh": mlp(activation="tanh"),
    "prelu": mlp(activation="prelu"),
    "maxout": mlp(activation="maxout"),
    "batch norm": mlp(norm="batch"),
    "layer norm": mlp(norm="layer"),
    "dropout": mlp(dropout=0.3, input_dropout=0.1),
    "residual": mlp(residual=True),
    "max norm": mlp(max_norm=0.5),
    "all together": mlp(activation="prelu", norm="layer", dropout=0.3, residual=True),
    "softmax classifier": softmax_classifier,
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_both_ways_of_gradients_train_alike(
    build: Callable[[], nn.Module], smoothing: float
) -> None:
    """Five epochs: every weight, buffer and metric is the same within 1e-5."""
    config = replace(CONFIG, epochs=5, label_smoothing=smoothing)
    one, other = build(), build()
    auto = Trainer(one, config).fit(examples(), examples(20, seed=1))
    plain = Trainer(other, replace(config, gradients="autograd")).fit(
        examples(), examples(20, seed=1)
    )
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-5)
    for row, expected in zip(auto.history, plain.history, strict=True):
        for name in ("train_loss", "val_loss", "grad_norm"):
            assert getattr(row, name) == pytest.approx(getattr(expected, name), rel=1e-5)
    assert any(
        not torch.equal(trained, first)
        for trained, first in zip(one.parameters(), build().parameters(), strict=True)
    )


def test_autograd_never_asks_for_hand_written_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []

    def find(model: nn.Module) -> None:
        asked.append(model)

    monkeypatch.setattr("mlpkit.training.fast._fast_engine.find_backpropagation", find)
    model = MODELS["mlp"]()
    Trainer(model, replace(CONFIG, gradients="autograd")).fit(examples())
    assert asked == []
    Trainer(model, CONFIG).fit(examples())
    assert asked == [model], "once, since the model does not change"


@pytest.mark.parametrize(("accumulation", "total"), [(1, 24), (3, 9), (8, 3), (100, 3)])
def test_the_steps_of_the_run_are_counted(accumulation: int, total: int) -> None:
    """Eight batches an epoch; the last window of an epoch may be shorter."""
    config = replace(CONFIG, gradient_accumulation_steps=accumulation)
    stepper = stepper_of(network(), config)
    assert stepper.total_steps == total
    assert sum(len(list(stepper.microbatches(epoch))) for epoch in range(3)) == total


def test_an_epoch_can_begin_at_any_batch() -> None:
    stepper = stepper_of(network(), replace(CONFIG, gradient_accumulation_steps=2))
    indices = [batch.indices.tolist() for batch in Batches(examples(), 8).epoch(1)]
    found = [[one.indices.tolist() for one in w] for w in stepper.microbatches(1, start=4)]
    assert found == [indices[4:6], indices[6:8]]


def test_class_weights_and_norms_are_those_of_the_configuration() -> None:
    """The loss of a step is sum(w l) / sum(w), with the gradient norm before clipping."""
    config = replace(CONFIG, class_weights=(0.5, 1.0, 3.0), clip_grad_norm=1e-6)
    model = nn.Linear(6, 3)
    stepper = stepper_of(model, config)
    stepper.engine.begin_epoch()
    window = next(stepper.microbatches(0))
    (batch,) = window
    losses = F.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
    weights = torch.tensor([0.5, 1.0, 3.0])[batch.targets]
    mean = (weights * losses).sum() / weights.sum()
    gradients = torch.autograd.grad(mean, list(model.parameters()))
    found = stepper.step(0, window)
    torch.testing.assert_close(found.loss, mean.detach())
    norm = torch.cat([one.flatten() for one in gradients]).norm()
    torch.testing.assert_close(found.grad_norm, norm)


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    """It raises before the update, and the error names its epoch and its rate."""
    model = nn.Linear(6, 3)
    data = examples()
    data.inputs[20:] = torch.nan
    stepper = stepper_of(model, train=Batches(data, 8, shuffle=False))
    stepper.engine.begin_epoch()
    *good, bad = list(stepper.microbatches(0))[:3]
    for step, window in enumerate(good):
        stepper.step(step, window)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NonFiniteStep) as caught:
        stepper.step(2, bad)
    assert caught.value.step == 2
    assert differences(before, model.state_dict()) == []
    error = stepper.nonfinite_error(NonFiniteStep(17, 1.0, 2.0), Path("last.pt"))
    assert (error.step, error.epoch, error.checkpoint) == (17, 2, Path("last.pt"))
    assert error.lr == 0.01 * CONFIG.schedule.ratio(17, 24)
    stepper.continue_from(TrainState(epoch=2, step=10))  # two epochs of five steps before
    assert stepper.nonfinite_error(NonFiniteStep(17, 1.0, 2.0), None).epoch == 2
    assert stepper.nonfinite_error(NonFiniteStep(18, 1.0, 2.0), None).epoch == 3
    stepper.continue_from(TrainState(epoch=2, batch=3, step=13, lr_ratio=0.5))
    assert stepper.total_steps == 10 + 8
    assert stepper.rates.lr(13) == 0.01 * (CONFIG.schedule.ratio(13, 18) * 0.5)


def test_batch_norm_is_reestimated_on_the_batches_of_an_epoch() -> None:
    """Those of this epoch, with its augmentation, on the device and in the precision of the run."""
    model, other = network(), network()
    train = Batches(examples(), 8, augment=lambda x, *, seed, epoch, indices: x + epoch)  # noqa: ARG005
    stepper = stepper_of(model, train=train)
    stepper.reestimate_batch_norm(2)
    reestimate_batch_norm(other, (batch.inputs for batch in train.epoch(2)))
    assert differences(model.state_dict(), other.state_dict()) == []
    mean = torch.cat([model[0](batch.inputs) for batch in train.epoch(2)]).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean.detach())
    reestimate_on(model, train, 1, precision="bf16", device=CPU)
    with torch.autocast("cpu", torch.bfloat16):
        reestimate_batch_norm(other, (batch.inputs for batch in train.epoch(1)))
    assert differences(model.state_dict(), other.state_dict()) == []


@pytest.mark.parametrize(
    ("device", "config", "expected"),
    [
        ("cuda", CONFIG, True),
        ("cuda", replace(CONFIG, precision="bf16"), True),
        ("cuda", replace(CONFIG, precision="fp16"), False),
        ("cuda", replace(CONFIG, optimizer=OptimizerConfig(fused=False)), False),
        ("cuda", replace(CONFIG, optimizer=OptimizerConfig(name="muon")), False),
        ("cpu", CONFIG, False),
    ],
)
def test_which_optimizer_can_skip_an_update_on_the_device(
    device: str, config: FilledConfig, *, expected: bool
) -> None:
    optimizer = build_optimizer(MLP(6, (9,), 3), config.optimizer)
    assert _obeys_found_inf(optimizer, torch.device(device), config) is expected


LBFGS = TrainerConfig(epochs=2, optimizer=OptimizerConfig(name="lbfgs"), progress=False)


def test_a_step_of_lbfgs_has_all_examples() -> None:
    """None means all of them, in as many microbatches as are accumulated."""
    data = examples()
    expected = (
        "batch_size must be all examples for optimizer 'lbfgs', which makes one step per epoch, "
        "got 8 batches of 8; leave it None, or set gradient_accumulation_steps=8"
    )
    with pytest.raises(ValueError, match=expected):
        Trainer(nn.Linear(6, 3), replace(LBFGS, batch_size=8)).fit(data)
    for config in (LBFGS, replace(LBFGS, batch_size=8, gradient_accumulation_steps=8)):
        trainer = Trainer(nn.Linear(6, 3), config)
        assert trainer.fit(data).state.step == 2
        assert trainer.config.schedule == Schedule()
    assert Trainer(nn.Linear(6, 3), LBFGS).fit(Batches(data, 61, seed=0)).state.step == 2


def test_lbfgs_changes_no_parameter_after_a_step() -> None:
    model = MLP(6, (4,), 3, max_norm=1.0)
    with pytest.raises(ValueError, match="a model without max_norm for optimizer 'lbfgs', got"):
        Trainer(model, LBFGS).fit(examples())


@pytest.mark.parametrize("at_start", [False, True])
def test_a_step_of_lbfgs_that_is_not_finite_changes_nothing(at_start: bool) -> None:
    """Neither at its start nor at all of its trial points."""
    model = nn.Linear(6, 3)
    start = model.weight.detach().clone()

    def broken(model: nn.Module, batch: BatchLike) -> Tensor:
        loss: Tensor = model(batch.inputs).square().sum(dim=1)
        is_start = torch.equal(model.get_parameter("weight"), start)
        return loss / 0.0 if is_start is at_start else loss

    with pytest.raises(NonFiniteError, match="got loss inf and gradient norm nan at step 0"):
        Trainer(model, LBFGS, objective=broken).fit(examples())
    assert torch.equal(model.weight, start)
