"""Several networks at once end where separate trainings end."""

from __future__ import annotations

import copy
import math
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader

from mlpkit import MLP, Regressor, SoftmaxClassifier
from mlpkit.data import Batches, LabeledTensors, digits
from mlpkit.errors import NonFiniteError, TrainingInterrupted
from mlpkit.models import TABULAR_DEFAULTS, tabular_config
from mlpkit.nn import MLPOptions, TabularMLP
from mlpkit.training import (
    AveragingConfig,
    BatchLike,
    CheckpointConfig,
    EarlyStopping,
    Evaluation,
    FitResult,
    Gradients,
    MeanSquaredError,
    Mixup,
    MomentumSchedule,
    MonitorName,
    Objective,
    OptimizerConfig,
    ReduceLROnPlateau,
    Schedule,
    Task,
    Trainer,
    TrainerConfig,
    fit_many,
)
from mlpkit.training.fast import StackedGradients

K = 3
SPLITS = digits()
TRAIN, VAL = SPLITS.train[:250], SPLITS.test[:100]
CONFIG = TrainerConfig(
    epochs=3,
    batch_size=64,  # the last batch has 58 examples
    optimizer=OptimizerConfig(lr=3e-3, weight_decay=0.05),
    schedule=Schedule(),
    label_smoothing=0.0,
    device="cpu",
    progress=False,
)

# What rounding may do in a dozen steps, far below what a wrong mask, order or rate would do.
WEIGHTS = 1e-5
FIGURES = 1e-5


def seeded(config: TrainerConfig) -> list[TrainerConfig]:
    """Return the settings with a seed for each network."""
    return [replace(config, seed=seed) for seed in range(K)]


def classifiers(**options: object) -> list[nn.Module]:
    """Return networks of one structure with other weights."""
    return [
        SoftmaxClassifier.for_data(
            TRAIN,
            (16, 16),
            MLPOptions(**options),  # type: ignore[arg-type]  # the options of the cases below
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in range(K)
    ]


def separately(
    models: Sequence[nn.Module],
    configs: TrainerConfig | Sequence[TrainerConfig],
    *,
    train: LabeledTensors | Batches = TRAIN,
    val: LabeledTensors | None = VAL,
    objective: Objective | None = None,
) -> list[FitResult]:
    """Train copies one after the other: the oracle."""
    each = [configs] * len(models) if isinstance(configs, TrainerConfig) else configs
    return [
        Trainer(model, config, objective=objective).fit(train, val)
        for model, config in zip(models, each, strict=True)
    ]


def assert_same(
    found: Sequence[FitResult],
    expected: Sequence[FitResult],
    models: Sequence[nn.Module],
    others: Sequence[nn.Module],
    *,
    rtol: float = 0.0,
) -> None:
    """Compare weights, buffers, rows of the history and where the trainings stand."""
    for model, other in zip(models, others, strict=True):
        torch.testing.assert_close(
            dict(model.state_dict()), dict(other.state_dict()), rtol=rtol, atol=WEIGHTS
        )
    for result, wanted_result in zip(found, expected, strict=True):
        state, wanted_state = result.state, wanted_result.state
        assert result.stop_reason == wanted_result.stop_reason
        assert (state.epoch, state.batch, state.step, state.examples) == (
            wanted_state.epoch,
            wanted_state.batch,
            wanted_state.step,
            wanted_state.examples,
        )
        assert (state.best_epoch, state.num_bad_epochs) == (
            wanted_state.best_epoch,
            wanted_state.num_bad_epochs,
        )
        assert len(result.history) == len(wanted_result.history)
        for row, wanted_row in zip(result.history, wanted_result.history, strict=True):
            assert (row.epoch, row.step, row.lr) == (
                wanted_row.epoch,
                wanted_row.step,
                wanted_row.lr,
            )
            assert row.val_accuracy == wanted_row.val_accuracy
            for name in ("train_loss", "grad_norm", "val_loss"):
                wanted_figure = getattr(wanted_row, name)
                if wanted_figure is None:
                    assert getattr(row, name) is None
                else:
                    assert getattr(row, name) == pytest.approx(wanted_figure, rel=FIGURES)


SGD = replace(CONFIG, optimizer=OptimizerConfig(name="sgd", lr=0.05, nesterov=True))

CASES: dict[str, tuple[dict[str, object], TrainerConfig | list[TrainerConfig]]] = {
    "one seed": ({}, CONFIG),
    "a seed for each": ({}, seeded(CONFIG)),
    "dropout, a seed for each": ({"dropout": 0.3, "input_dropout": 0.1}, seeded(CONFIG)),
    "dropout, one seed": ({"dropout": 0.3, "input_dropout": 0.1}, CONFIG),
    "learning rates": (
        {},
        [replace(CONFIG, optimizer=OptimizerConfig(lr=lr)) for lr in (1e-3, 2e-3, 4e-3)],
    ),
    "optimizers": (
        {},
        [
            CONFIG,
            SGD,
            replace(CONFIG, optimizer=OptimizerConfig(lr=1e-3, betas=(0.8, 0.9), fused=False)),
        ],
    ),
    "schedules": (
        {},
        [
            replace(CONFIG, schedule=Schedule(kind="one_cycle")),
            replace(CONFIG, momentum_schedule=MomentumSchedule(kind="linear")),
            CONFIG,
        ],
    ),
    "sgd": ({}, SGD),
    "batch norm": ({"norm": "batch", "dropout": 0.2}, seeded(SGD)),
    "averaged batch norm": (
        {"norm": "batch"},
        replace(SGD, averaging=AveragingConfig(decay=0.9)),
    ),
    "layer norm, PReLU, skips": (
        {"norm": "layer", "activation": "prelu", "residual": True},
        seeded(CONFIG),
    ),
    "RMS norm, SwiGLU": ({"norm": "rms", "activation": "swiglu"}, CONFIG),
    "Maxout, max-norm": (
        {"activation": "maxout", "max_norm": 1.0, "dropout": 0.2, "bias": False},
        seeded(CONFIG),
    ),
    "clipping": ({}, [replace(CONFIG, clip_grad_norm=norm) for norm in (None, 0.1, 1.0)]),
    "accumulation": ({}, seeded(replace(CONFIG, gradient_accumulation_steps=3))),
    "accumulation, smoothing": (
        {"dropout": 0.2},
        seeded(replace(CONFIG, gradient_accumulation_steps=3, label_smoothing=0.1)),
    ),
    "class weights": (
        {},
        [
            replace(config, class_weights=weights)
            for config, weights in zip(
                seeded(CONFIG), (None, (1.0,) * 10, tuple(map(float, range(1, 11)))), strict=True
            )
        ],
    ),
    "averages": (
        {},
        [
            replace(CONFIG, averaging=average)
            for average in (None, AveragingConfig(decay=0.8), AveragingConfig(decay=None, every=2))
        ],
    ),
    "seldom validated": ({}, replace(CONFIG, validate_every=2)),
    "SwiGLU, skips, no bias, rates and orders": (
        {"activation": "swiglu", "residual": True, "bias": False},
        [
            replace(config, optimizer=OptimizerConfig(lr=lr, weight_decay=0.1), clip_grad_norm=norm)
            for config, lr, norm in zip(
                seeded(CONFIG), (1e-3, 2e-3, 4e-3), (0.5, None, 2.0), strict=True
            )
        ],
    ),
    "GELU, max-norm, smoothing": (
        {"activation": "gelu", "max_norm": 1.0},
        seeded(replace(CONFIG, label_smoothing=0.1)),
    ),
}
# What goes through autograd's graph; everything else has passes of its own.
BY_AUTOGRAD = {
    *("batch norm", "averaged batch norm", "layer norm, PReLU, skips", "RMS norm, SwiGLU"),
    *("accumulation", "accumulation, smoothing"),
}


@pytest.fixture
def own_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the size of each batch that goes through passes of the networks' own."""
    sizes: list[int] = []
    inner = StackedGradients.losses_and_gradients

    def noted(
        self: StackedGradients, batch: BatchLike, weights: Tensor | None, totals: float | Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        found = inner(self, batch, weights, totals)
        sizes.append(found[0].shape[1])
        return found

    monkeypatch.setattr(StackedGradients, "losses_and_gradients", noted)
    return sizes


@pytest.mark.parametrize("name", CASES)
def test_equals_separate_trainings(name: str, own_passes: list[int]) -> None:
    options, configs = CASES[name]
    models = classifiers(**options)
    others = copy.deepcopy(models)
    found = fit_many(models, TRAIN, VAL, config=configs)
    assert own_passes == ([] if name in BY_AUTOGRAD else [64, 64, 64, 58] * 3)
    assert_same(found, separately(others, configs), models, others)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("same_seed", [True, False])
def test_tables(task: Task, own_passes: list[int], *, same_seed: bool) -> None:
    """With the network and the settings of ``preset="tabular"``, over a few steps."""
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randn(300, generator=generator) for _ in range(3)]
    columns += [torch.randint(k, (300,), generator=generator).float() for k in (3, 40)]
    inputs = torch.stack(columns, 1)
    score = columns[0] * columns[1] + columns[3]
    targets = (score > 1).long() if task == "classification" else score[:, None]
    data = LabeledTensors(inputs, targets)
    options = TABULAR_DEFAULTS[task].options
    kind = SoftmaxClassifier if task == "classification" else Regressor
    models: list[nn.Module] = []
    for seed in range(K):
        own = torch.Generator().manual_seed(seed)
        network = TabularMLP.for_data(
            inputs,
            (0, 0, 0, 3, 40),
            (24, 16),
            2 if task == "classification" else 1,
            options,
            generator=own,
        )
        models.append(kind.with_network(network, data))
    others = copy.deepcopy(models)
    settings = tabular_config(task, 300)
    config = replace(settings, epochs=2, batch_size=64, device="cpu", progress=False)
    configs = config if same_seed else seeded(config)
    found = fit_many(models, data, data, config=configs)
    assert own_passes == [64, 64, 64, 64, 44] * 2
    expected = separately(others, configs, train=data, val=data)
    assert_same(found, expected, models, others, rtol=WEIGHTS)


@pytest.mark.parametrize("configs", [CONFIG, seeded(CONFIG)], ids=["one seed", "seeds"])
def test_double_precision(
    configs: TrainerConfig | list[TrainerConfig], own_passes: list[int]
) -> None:
    models = [model.double() for model in classifiers()]
    others = copy.deepcopy(models)
    found = fit_many(models, TRAIN, VAL, config=configs)
    assert own_passes
    assert_same(found, separately(others, configs), models, others)
    for model, other in zip(models, others, strict=True):
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_muon_equals_separate_trainings_as_far_as_it_can() -> None:
    """Muon orthogonalizes in bfloat16, which makes 2^-9 of a last bit now and then."""
    config = replace(CONFIG, epochs=1, optimizer=OptimizerConfig(name="muon", lr=3e-3))
    models = classifiers()
    others = copy.deepcopy(models)
    start = copy.deepcopy(models)
    fit_many(models, TRAIN, config=config)
    separately(others, config, val=None)
    for model, other, before in zip(models, others, start, strict=True):
        for one, two, three in zip(
            model.parameters(), other.parameters(), before.parameters(), strict=True
        ):
            assert (one - two).norm() < 0.01 * (two - three).norm()


def plain(seed: int) -> nn.Sequential:
    """Return a network of torch's own layers, one of them frozen, one unused layer beside it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Dropout(0.1), nn.Linear(12, 10)
        )
    model[1].bias.requires_grad_(False)
    return model


FLOATS = LabeledTensors(TRAIN.inputs / 16, TRAIN.targets)


def test_plain_modules_with_a_frozen_parameter() -> None:
    models = [plain(seed) for seed in range(K)]
    others = copy.deepcopy(models)
    configs = seeded(CONFIG)
    found = fit_many(models, FLOATS, config=configs)
    assert_same(found, separately(others, configs, train=FLOATS, val=None), models, others)


def test_preprocessing_of_its_own_for_each_network(own_passes: list[int]) -> None:
    models = classifiers()
    for scale, model in enumerate(models, start=1):
        model.std.mul_(scale)  # type: ignore[operator]  # a buffer
    others = copy.deepcopy(models)
    found = fit_many(models, TRAIN, VAL, config=CONFIG)
    assert not own_passes  # they would take the first network's for all
    assert_same(found, separately(others, CONFIG), models, others)


def test_a_frozen_layer_is_left_to_autograd(own_passes: list[int]) -> None:
    models = classifiers()
    for model in models:
        next(model.parameters()).requires_grad = False
    others = copy.deepcopy(models)
    found = fit_many(models, TRAIN, VAL, config=CONFIG)
    assert not own_passes
    assert_same(found, separately(others, CONFIG), models, others)


def test_example_weights_and_soft_targets(own_passes: list[int]) -> None:
    weights = torch.rand(len(TRAIN), generator=torch.Generator().manual_seed(0))
    soft = torch.nn.functional.one_hot(TRAIN.targets, 10) * 0.9 + 0.01
    data = LabeledTensors(TRAIN.inputs, soft, TRAIN.classes, weights=weights)
    for configs in (CONFIG, seeded(CONFIG)):
        models = classifiers()
        others = copy.deepcopy(models)
        own_passes.clear()
        found = fit_many(models, data, config=configs)
        assert_same(found, separately(others, configs, train=data, val=None), models, others)
        assert own_passes


def test_layers_whose_bias_was_registered_first(own_passes: list[int]) -> None:
    """As those are that were pruned or parametrized once."""
    models = classifiers()
    for model in models:
        assert isinstance(model, SoftmaxClassifier)
        linear = model.network.layers[0].linear
        prune.random_unstructured(linear, "weight", amount=0.0)  # type: ignore[no-untyped-call]
        prune.remove(linear, "weight")  # type: ignore[no-untyped-call]
        assert next(iter(linear._parameters)) == "bias"
    others = copy.deepcopy(models)
    found = fit_many(models, TRAIN, VAL, config=CONFIG)
    assert_same(found, separately(others, CONFIG), models, others)
    assert own_passes


def test_batches_give_all_networks_their_order() -> None:
    batches = Batches(TRAIN, 50, seed=9, drop_last=True)
    models = classifiers(dropout=0.2)
    others = copy.deepcopy(models)
    found = fit_many(models, batches, VAL, config=seeded(CONFIG))
    assert_same(found, separately(others, seeded(CONFIG), train=batches), models, others)


def absolute_error(model: nn.Module, batch: BatchLike) -> Tensor:
    """Return an error that no objective of the library has."""
    return (model(batch.inputs) - batch.targets).abs().mean(dim=1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("objective", [MeanSquaredError(), absolute_error])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_regression(objective: Objective, dropout: float, own_passes: list[int]) -> None:
    inputs = torch.randn(150, 5, generator=torch.Generator().manual_seed(0))
    data = LabeledTensors(inputs, torch.stack([inputs.sum(1), inputs.prod(1)], dim=1))
    models = [
        MLP(5, (8,), 2, dropout=dropout, generator=torch.Generator().manual_seed(seed))
        for seed in range(K)
    ]
    others = copy.deepcopy(models)
    configs = seeded(CONFIG)
    found = fit_many(models, data, data, config=configs, objective=objective)
    expected = separately(others, configs, train=data, val=data, objective=objective)
    assert_same(found, expected, models, others)
    assert bool(own_passes) == isinstance(objective, MeanSquaredError)


def test_one_network_is_enough_and_the_generator_is_left_alone() -> None:
    models = classifiers(dropout=0.2)[:1]
    others = copy.deepcopy(models)
    before = torch.get_rng_state()
    found = fit_many(models, TRAIN, VAL, config=[CONFIG])
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(found, separately(others, CONFIG), models, others)


def test_every_network_owns_its_memory_afterwards() -> None:
    models = classifiers(norm="batch")
    parameters = [list(model.parameters()) for model in models]
    fit_many(models, TRAIN, config=replace(SGD, epochs=1))
    storages = set()
    for model, before in zip(models, parameters, strict=True):
        assert not any(module.training for module in model.modules())
        for one, two in zip(model.parameters(), before, strict=True):
            assert one is two
            assert one.grad is None
        for tensor in (*model.parameters(), *model.buffers()):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            storages.add(tensor.data_ptr())
    assert len(storages) == sum(1 for model in models for _ in model.state_dict())


@pytest.mark.parametrize("configs", [CONFIG, seeded(CONFIG)], ids=["one seed", "seeds"])
def test_nan_names_its_network_and_touches_no_other(
    configs: TrainerConfig | list[TrainerConfig],
) -> None:
    """Network 1 breaks in the second step: all hold the first, as separate trainings do."""
    models = classifiers()
    others = copy.deepcopy(models)
    huge = replace(CONFIG, optimizer=OptimizerConfig(name="sgd", lr=1e38))
    each = [configs] * K if isinstance(configs, TrainerConfig) else configs
    broken = [each[0], replace(huge, seed=each[1].seed), each[2]]
    with pytest.raises(NonFiniteError, match="training of network 1 must stay finite") as caught:
        fit_many(models, TRAIN, config=broken)
    assert caught.value.network == 1
    assert caught.value.step == 1
    assert not math.isfinite(caught.value.loss)
    assert caught.value.lr == 1e38
    with pytest.raises(NonFiniteError) as alone:
        Trainer(copy.deepcopy(others[1]), broken[1]).fit(TRAIN)
    assert alone.value.step == 1
    for number in (0, 2):
        first = Batches(TRAIN, 64, seed=each[number].seed)
        only = next(first.epoch(0)).indices
        data = TRAIN.subset(only)
        one_step = replace(each[number], epochs=1)
        Trainer(others[number], one_step).fit(Batches(data, 64, shuffle=False))
        for one, two in zip(models[number].parameters(), others[number].parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=WEIGHTS)
        assert not models[number].training


def test_nan_in_the_weights_of_one_network_reaches_no_gradient_of_another() -> None:
    models = classifiers()
    with torch.no_grad():
        next(models[2].parameters()).fill_(math.nan)
    before = copy.deepcopy(models)
    with pytest.raises(NonFiniteError) as caught:
        fit_many(models, TRAIN, config=CONFIG)
    assert (caught.value.network, caught.value.step) == (2, 0)
    for model, other in zip(models[:2], before[:2], strict=True):
        assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_nan_in_validation_names_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = iter([0.5, math.nan])
    monkeypatch.setattr(
        "mlpkit.training.ensemble._fit_many.evaluate",
        lambda *_args, **_options: Evaluation(loss=next(evaluations), num_examples=1),
    )
    with pytest.raises(NonFiniteError, match="network 1") as caught:
        fit_many(classifiers(), TRAIN, VAL, config=CONFIG)
    assert caught.value.__notes__ == ["what is not finite: the validation loss"]


def test_a_signal_ends_it_between_two_steps() -> None:
    models = classifiers()
    calls: list[int] = []

    def objective(model: nn.Module, batch: BatchLike) -> Tensor:
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        losses: Tensor = torch.nn.functional.cross_entropy(
            model(batch.inputs), batch.targets, reduction="none"
        )
        return losses

    with pytest.raises(TrainingInterrupted, match="no checkpoint was written"):
        fit_many(models, TRAIN, config=CONFIG, objective=objective)
    assert not any(model.training for model in models)
    assert models[0].state_dict()["network.head.weight"].isfinite().all()


class Counting(nn.Module):
    """Does something in Python in each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


class Branching(Counting):
    """Looks at a value."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.flatten(1))
        return y if y.sum() > 0 else -y


class Replacing(Counting):
    """Replaces a buffer instead of writing into it."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


def hooked() -> list[nn.Module]:
    models: list[nn.Module] = [plain(seed) for seed in range(2)]
    models[1].register_forward_hook(lambda *_: None)
    return models


def sharing() -> list[nn.Module]:
    first, second = plain(0), plain(1)
    second[4] = first[4]
    return [first, second]


def of(*models: nn.Module) -> Callable[[], list[nn.Module]]:
    return lambda: list(models)


REFUSED_MODELS: dict[str, tuple[Callable[[], list[nn.Module]], str]] = {
    "shapes": (of(MLP(64, (8,), 10), MLP(64, (9,), 10)), r"models\[1\] must be of the same archi"),
    "types": (of(nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())), "Tanh instead of ReLU as 0"),
    "depth": (of(MLP(64, (8,), 10), MLP(64, (8, 8), 10)), "in one of them only"),
    "options": (of(plain(0), nn.Sequential(*plain(1)[:3], nn.Dropout(0.2), plain(1)[4])), r"3\.p"),
    "frozen": (of(plain(0), plain(0).requires_grad_(requires_grad=False)), "not trained"),
    "the same": (lambda: [plain(0)] * 2, r"shares no tensor with models\[0\]"),
    "shared layer": (sharing, r"shares no tensor with models\[0\]"),
    "hooks": (hooked, r"models\[1\] must be a module without hooks"),
    "parametrized": (
        of(*(nn.utils.parametrizations.weight_norm(plain(0)[1]) for _ in range(2))),
        r"models\[0\] must be a module without .*, got 'parametrizations'",
    ),
    "random numbers": (
        lambda: [nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.RReLU()) for _ in range(2)],
        "torch.vmap supports",
    ),
    "branches": (lambda: [Branching(), Branching()], "torch.vmap supports"),
    "Python state": (lambda: [Counting(), Counting()], r"models\[1\] must be of the same .* calls"),
    "replaced buffer": (lambda: [Replacing(), Replacing()], "update their buffers in place"),
    "cumulative statistics": (
        lambda: [
            nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, momentum=None), nn.Linear(64, 10))
            for _ in range(2)
        ],
        "momentum must be a number",
    ),
}


@pytest.mark.parametrize("name", REFUSED_MODELS)
def test_networks_that_do_not_go_together_are_refused(name: str) -> None:
    build, match = REFUSED_MODELS[name]
    models = build()
    before = copy.deepcopy([model.state_dict() for model in models])
    with pytest.raises(ValueError, match=match):
        fit_many(models, FLOATS, config=CONFIG)
    for model, old in zip(models, before, strict=True):
        for key, value in model.state_dict().items():
            if key != "seen":
                assert torch.equal(value, old[key])


REFUSED_CONFIGS: dict[str, tuple[TrainerConfig | list[TrainerConfig], str]] = {
    "checkpoints": (
        replace(CONFIG, checkpoints=CheckpointConfig(folder="x")),
        "checkpoints must be None for several networks",
    ),
    "early stopping": (replace(CONFIG, early_stopping=EarlyStopping()), "early_stopping must be"),
    "precision": (replace(CONFIG, precision="bf16"), "precision must be 'fp32'"),
    "mixup": (replace(CONFIG, mixup=0.2), "mixup must be None"),
    "plateau": (
        replace(CONFIG, reduce_lr_on_plateau=ReduceLROnPlateau()),
        "reduce_lr_on_plateau must be None for several networks",
    ),
    "lbfgs": (
        replace(CONFIG, optimizer=OptimizerConfig(name="lbfgs"), clip_grad_norm=None),
        "optimizer.name must be an optimizer without a line search for several networks",
    ),
    "time": (replace(CONFIG, max_seconds=1.0), "max_seconds must be None"),
    "epochs": ([CONFIG, replace(CONFIG, epochs=4), CONFIG], r"config\[1\].epochs must be the same"),
    "progress": (
        [CONFIG, CONFIG, replace(CONFIG, progress="lines")],
        r"config\[2\].progress must be the same",
    ),
    "number": ([CONFIG], "one configuration, or one for each of the 3 models"),
}


@pytest.mark.parametrize("name", REFUSED_CONFIGS)
def test_settings_without_a_meaning_here_are_refused(name: str) -> None:
    configs, match = REFUSED_CONFIGS[name]
    with pytest.raises(ValueError, match=match):
        fit_many(classifiers(), TRAIN, config=configs)


def test_other_arguments_are_refused_at_once() -> None:
    models = classifiers()
    with pytest.raises(TypeError, match=r"sequence of torch\.nn\.Module"):
        fit_many(models[0], TRAIN, config=CONFIG)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="at least one network"):
        fit_many([], TRAIN, config=CONFIG)
    with pytest.raises(TypeError, match=r"models\[1\]"):
        fit_many([models[0], 7], TRAIN, config=CONFIG)  # type: ignore[list-item]  # on purpose
    with pytest.raises(TypeError, match="a TrainerConfig"):
        fit_many(models, TRAIN, config=[CONFIG, CONFIG, None])  # type: ignore[list-item]  # likewise
    with pytest.raises(TypeError, match="LabeledTensors or Batches"):
        fit_many(models, DataLoader(TRAIN.as_torch_dataset(), 10), config=CONFIG)
    with pytest.raises(ValueError, match=r"torch\.vmap supports"):
        fit_many(models, TRAIN, config=CONFIG, objective=Mixup(0.2))
    config = replace(CONFIG, label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"None with a custom objective"):
        fit_many(models, TRAIN, config=config, objective=MeanSquaredError())
    with pytest.raises(ValueError, match="one loss for each example"):
        fit_many(models, TRAIN, config=CONFIG, objective=lambda _, batch: batch.inputs.sum())
    wrong = LabeledTensors(TRAIN.inputs, TRAIN.targets + 5)
    with pytest.raises(ValueError, match=r"targets must be class indices in \[0, 10\)"):
        fit_many(models, wrong, config=CONFIG)


@pytest.mark.parametrize("monitor", ["val_accuracy", "train_loss"])
def test_each_network_has_its_best_epoch(monitor: MonitorName) -> None:
    config = replace(CONFIG, monitor=monitor)
    models = classifiers()
    for result in fit_many(models, TRAIN, VAL, config=config):
        values = [getattr(row, monitor) for row in result.history]
        best = max(values) if monitor == "val_accuracy" else min(values)
        assert result.state.best_epoch == values.index(best)


def test_the_progress_bar_tells_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    fit_many(classifiers(), TRAIN, config=replace(CONFIG, progress=True))
    assert "mean loss" in (told := capsys.readouterr().err)
    assert "of 3" in told  # a narrow bar is cut, by older releases of tqdm in the middle of a word


FOLDS = [TRAIN.subset([row for row in range(len(TRAIN)) if row % K != k]) for k in range(K)]
FOLDS = [fold.subset(range(min(map(len, FOLDS)))) for fold in FOLDS]
HELD_OUT = [TRAIN.subset(range(k, len(TRAIN), K)) for k in range(K)]


@pytest.mark.parametrize("seeds", ["one seed", "a seed for each"])
@pytest.mark.parametrize("gradients", ["auto", "autograd"])
def test_each_network_can_have_its_examples(seeds: str, gradients: Gradients) -> None:
    """The folds of a cross-validation; oracle: a trainer for each."""
    config = replace(CONFIG, gradients=gradients, restore_best=True)
    configs = seeded(config) if seeds == "a seed for each" else [config] * K
    models, others = classifiers(dropout=0.2), classifiers(dropout=0.2)
    found = fit_many(models, FOLDS, HELD_OUT, config=configs)
    expected = [
        Trainer(other, one).fit(train, val)
        for other, one, train, val in zip(others, configs, FOLDS, HELD_OUT, strict=True)
    ]
    assert_same(found, expected, models, others)


def test_either_part_can_be_shared() -> None:
    models, others = classifiers(), classifiers()
    found = fit_many(models, tuple(FOLDS), VAL, config=CONFIG)
    expected = [
        Trainer(other, CONFIG).fit(train, VAL) for other, train in zip(others, FOLDS, strict=True)
    ]
    assert_same(found, expected, models, others)
    models, others = classifiers(), classifiers()
    found = fit_many(models, TRAIN, HELD_OUT, config=CONFIG)
    expected = [
        Trainer(other, CONFIG).fit(TRAIN, val) for other, val in zip(others, HELD_OUT, strict=True)
    ]
    assert_same(found, expected, models, others)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (
            FOLDS[:2],
            None,
            r"^train must be examples for all networks, or one item .*, got 2 items",
        ),
        (
            TRAIN,
            HELD_OUT[:1],
            r"^val must be examples for all networks, .*, got 1 items; give as many",
        ),
        ([*FOLDS[:-1], TRAIN], None, r"^train\[\d\] must be as many examples as train\[0\], \d+"),
    ],
    ids=["few train", "few val", "length"],
)
def test_examples_that_do_not_suit_the_networks(
    train: LabeledTensors | list[LabeledTensors], val: list[LabeledTensors] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_many(classifiers(), train, val, config=CONFIG)


def test_examples_of_other_classes_are_refused() -> None:
    """Also for bare modules, which have no class names."""
    names = tuple(f"other {k}" for k in range(len(TRAIN.classes or ())))
    other = LabeledTensors(TRAIN.inputs, TRAIN.targets, names)
    networks = [MLP(TRAIN.inputs[0].numel(), (4,), len(names)) for _ in range(2)]
    with pytest.raises(ValueError, match=r"^train\[1\].classes must be those of train\[0\]"):
        fit_many(networks, [TRAIN, other], config=CONFIG)


def test_an_error_about_the_examples_names_the_network() -> None:
    weights = torch.zeros(len(FOLDS[1]))
    parts = list(FOLDS)
    parts[1] = LabeledTensors(FOLDS[1].inputs, FOLDS[1].targets, FOLDS[1].classes, weights=weights)
    with pytest.raises(ValueError, match="weights must be above 0") as caught:
        fit_many(classifiers(), parts, config=CONFIG)
    assert caught.value.__notes__ == ["train and val are those of network 1"]


def test_items_that_are_no_examples() -> None:
    tensors = [TRAIN.inputs] * 2
    with pytest.raises(TypeError, match=r"^train\[0\] must be LabeledTensors, got Tensor"):
        fit_many(classifiers(), tensors, config=CONFIG)  # type: ignore[arg-type]
