"""Captured steps train as eager ones; on a GPU by CUDA graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import examples
from tests.training.tape import Tape
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit.data import (
    Augmentation,
    Batch,
    Batches,
    Compose,
    LabeledTensors,
    RandomAffine,
    RandomElastic,
    RandomErasing,
)
from mlpkit.errors import NonFiniteError
from mlpkit.nn import MLP
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    EpochRow,
    FilledConfig,
    Mixup,
    MomentumSchedule,
    OptimizerConfig,
    OptimizerName,
    Precision,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
    VirtualAdversarial,
    build_optimizer,
    fit_many,
)
from mlpkit.training._engine import Engine, StepResult
from mlpkit.training._nonfinite import FiniteGuard
from mlpkit.training.batches import BatchLike, LazyBatch
from mlpkit.training.fast import CapturedEngine
from mlpkit.training.fast._graph_capture import CapturedStep, MakeStep, keep_lr_on_device
from mlpkit.training.objectives import CrossEntropy
from mlpkit.training.optim import set_initial_lr
from mlpkit.training.optim._optimizers import set_lr

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def engine_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Engine:
    """Return an engine whose guard defers its error, as on a device."""
    return Engine(
        model,
        CrossEntropy(),
        optimizer,
        FiniteGuard(CPU, deferred=True),
        class_weights=None,
        clip_grad_norm=0.5,
        precision="fp32",
        device=CPU,
    )


def _captured_step(make_step: MakeStep, capture: Tape) -> CapturedStep:
    return CapturedStep(make_step, capture, begin=lambda: None)


def _on(engine: Engine) -> MakeStep:
    return lambda step, batch: engine.step(step, [batch])


def network() -> MLP:
    """Return a small network with fixed weights."""
    return MLP(6, (8,), 3, generator=torch.Generator().manual_seed(3))


def test_the_tape_keeps_what_the_host_decided() -> None:
    """The control of the test below: a rate that is a number stays what it was when captured."""
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.5))
    graph = _captured_step(_on(engine_of(model, optimizer)), Tape())
    data = examples(8)
    batch = Batch(data.inputs, data.targets, None, torch.arange(8))
    before: list[Tensor] = []
    for step in range(6):
        set_lr(optimizer, 1.0 if step < 4 else 0.0)
        before = [parameter.clone() for parameter in model.parameters()]
        graph.step(step, batch)
    assert not all(map(torch.equal, before, model.parameters()))
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        Tape().capture(lambda: StepResult(torch.zeros(()), torch.ones(1).item(), torch.zeros(())))


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_replays_train_as_the_steps_themselves(*, pending: bool, weighted: bool) -> None:
    """Five epochs with a short last batch and a schedule: the same bits as without a capture."""
    data = examples()
    weights = torch.linspace(0.5, 1.5, len(data)) if weighted else None
    data = LabeledTensors(data.inputs, data.targets, weights=weights)
    batches = Batches(data, 8, seed=4)
    plain, captured = network(), network()
    histories: list[list[tuple[float, float, float]]] = []
    capture = Tape()
    for model in (plain, captured):
        optimizer = build_optimizer(model, OptimizerConfig(lr=0.01))
        keep_lr_on_device(optimizer, CPU)
        engine = engine_of(model, optimizer)
        graph = _captured_step(_on(engine), capture)
        history = []
        for epoch in range(5):
            for number, indices in enumerate(batches.batch_indices(epoch)):
                step = epoch * len(batches) + number
                set_lr(optimizer, Schedule(kind="one_cycle").ratio(step, 5 * len(batches)))
                gathered = batches.gather(indices, epoch=epoch)
                if model is plain:
                    result = engine.step(step, [gathered])
                else:
                    batch: BatchLike = LazyBatch(batches, indices, epoch) if pending else gathered
                    result = graph.step(step, batch)
                history.append((float(result.loss), float(result.weight), float(result.grad_norm)))
        histories.append(history)
    assert histories[0] == histories[1]
    for one, other in zip(plain.parameters(), captured.parameters(), strict=True):
        assert torch.equal(one, other)
    # 61 examples make 7 full batches and one short: three eager steps of each, then one capture.
    assert (capture.num_captured, capture.num_warmups) == (2, 3 + 3)


def test_results_outlive_the_next_replay() -> None:
    """What a step returned is not what the next one writes."""
    graph = _captured_step(
        lambda _, batch: StepResult(
            batch.inputs.sum(), batch.inputs.amax(), batch.inputs.amin() / 2
        ),
        Tape(),
    )
    results = [
        graph.step(step, Batch(torch.full((2,), float(step)), *_rest(2))) for step in range(6)
    ]
    assert [float(result.loss) for result in results] == [0, 2, 4, 6, 8, 10]
    assert [float(result.weight) for result in results] == [0, 1, 2, 3, 4, 5]
    assert [2 * float(result.grad_norm) for result in results] == [0, 1, 2, 3, 4, 5]


def test_an_augmentation_is_captured_for_each_epoch() -> None:
    """Its draws are decided on the host, from the epoch; without one, one capture is enough."""
    images = torch.randint(0, 256, (32, 6, 6), dtype=torch.uint8)
    data = LabeledTensors(images, torch.arange(32) % 3)
    for augment, num_captured in ((RandomAffine(degrees=30), 4), (None, 1)):
        batches = Batches(data, 8, augment=augment)
        capture = Tape()
        graph = _captured_step(
            lambda _, batch: StepResult(batch.inputs.double().sum(), 1.0, torch.zeros(())), capture
        )
        for epoch in range(4):
            for indices in batches.batch_indices(epoch):
                seen = graph.step(0, LazyBatch(batches, indices, epoch))
                expected = batches.gather(indices, epoch=epoch).inputs.double().sum()
                assert float(seen.loss) == float(expected)
        assert capture.num_captured == num_captured


def test_a_resumed_epoch_may_begin_with_its_short_batch() -> None:
    """The graph is of the largest batch so far, not of the first."""
    capture = Tape()
    graph = _captured_step(
        lambda _, batch: StepResult(batch.inputs.sum(), 1.0, torch.zeros(())), capture
    )
    for size in (3, 8, 8, 8, 8, 3, 8):
        result = graph.step(0, Batch(torch.ones(size), *_rest(size)))
        assert float(result.loss) == size
    assert (capture.num_captured, capture.num_warmups) == (1, 5)


def test_one_shorter_size_has_a_second_graph() -> None:
    """That of the last batch of each epoch; batches of a third size are computed eagerly."""
    capture = Tape()
    graph = _captured_step(
        lambda _, batch: StepResult(batch.inputs.sum(), 1.0, torch.zeros(())), capture
    )
    for size in (8, 8, 8, 8, 3, 3, 3, 3, 5, 5, 5, 5, 8, 3, 5):
        result = graph.step(0, Batch(torch.ones(size), *_rest(size)))
        assert float(result.loss) == size
    assert (capture.num_captured, capture.num_warmups) == (2, 3 + 3 + 5)
    larger = Batch(torch.ones(9), *_rest(9))
    assert float(graph.step(0, larger).loss) == 9
    assert not graph._graphs


def test_with_an_augmentation_a_short_batch_is_computed_as_usual() -> None:
    """A graph of it would be replayed once."""
    data = LabeledTensors(
        torch.randint(0, 256, (20, 6, 6), dtype=torch.uint8), torch.arange(20) % 3
    )
    batches = Batches(data, 8, augment=RandomErasing())
    capture = Tape()
    graph = _captured_step(
        lambda _, batch: StepResult(batch.inputs.double().sum(), 1.0, torch.zeros(())), capture
    )
    for epoch in range(5):
        for indices in batches.batch_indices(epoch):
            seen = graph.step(0, LazyBatch(batches, indices, epoch))
            assert float(seen.loss) == float(batches.gather(indices, epoch=epoch).inputs.sum())
    assert (capture.num_captured, capture.num_warmups) == (4, 3 + 5)


def test_the_rates_go_into_tensors_and_stay_there() -> None:
    """set_lr fills the tensor that a graph reads; a resumed run is tested below."""
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.01))
    keep_lr_on_device(optimizer, CPU)
    before = [group["lr"] for group in optimizer.param_groups]
    set_lr(optimizer, 0.5)
    for group, lr in zip(optimizer.param_groups, before, strict=True):
        assert group["lr"] is lr
        assert float(lr) == pytest.approx(0.005)
        assert group["capturable"]


def test_groups_share_a_tensor_where_they_have_the_same_base_rate() -> None:
    """A group of another base rate has another tensor, also if its base rate changes later."""
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    groups = [
        {"params": [one], "lr": lr} for one, lr in zip(parameters, (0.1, 0.2, 0.1), strict=True)
    ]
    optimizer = torch.optim.AdamW(groups)
    set_initial_lr(optimizer)
    keep_lr_on_device(optimizer, CPU)
    first, second, third = optimizer.param_groups
    assert first["lr"] is third["lr"]
    set_lr(optimizer, 0.5)
    assert [float(group["lr"]) for group in (first, second, third)] == pytest.approx(
        [0.05, 0.1, 0.05]
    )
    third["initial_lr"] = 0.0
    set_lr(optimizer, 1.0)
    assert [float(group["lr"]) for group in (first, second, third)] == pytest.approx([0.1, 0.2, 0])
    first["initial_lr"] = 1.0
    set_lr(optimizer, 1.0)
    assert [float(group["lr"]) for group in (first, second, third)] == pytest.approx([1, 0.2, 0])


def test_eager_steps_use_no_memory_of_a_graph() -> None:
    """Memory that steps reuse is dropped within the capture, before its step, and after it."""
    calls: list[str] = []

    def step(_: int, batch: BatchLike) -> StepResult:
        calls.append("step")
        return StepResult(batch.inputs.sum(), 1.0, torch.zeros(()))

    graph = CapturedStep(step, Tape(), begin=lambda: calls.append("begin"))
    for _ in range(4):
        graph.step(0, Batch(torch.ones(8), *_rest(8)))
    assert calls == ["step", "step", "step", "begin", "step", "begin"]


def test_a_batch_of_another_kind_is_captured_again() -> None:
    """With weights or without, of another type or shape: never computed as the captured one."""
    ones = torch.ones(4, 3)
    indices = torch.arange(4)

    def total(_step: int, batch: BatchLike) -> StepResult:
        weight = torch.zeros(()) if batch.weights is None else batch.weights.sum()
        return StepResult(batch.inputs.double().sum(), weight, batch.targets.double().sum())

    graph = _captured_step(total, Tape())
    kinds = [
        Batch(ones, indices, torch.ones(4), indices),
        Batch(ones, indices, None, indices),
        Batch(2 * ones[:, :1], indices, None, indices),
        Batch(ones / 2, indices, None, indices),
        Batch(ones.to(torch.uint8), indices, None, indices),
        Batch(ones, torch.ones(4, 4), None, indices),
    ]
    for batch in [kinds[0]] * 4 + kinds:
        expected = total(0, batch)
        assert tuple(map(float, graph.step(0, batch))) == tuple(map(float, expected))


@pytest.mark.parametrize(
    "augment",
    [
        RandomAffine(degrees=30, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10),
        RandomElastic(),
        RandomErasing(),
        Compose((RandomAffine(degrees=5), RandomErasing())),
    ],
    ids=lambda augment: type(augment).__name__,
)
def test_every_augmentation_can_be_captured(augment: Augmentation) -> None:
    """Nothing in it copies from the host or reads from the device."""
    images = torch.randint(0, 256, (40, 12, 12), dtype=torch.uint8)
    batches = Batches(LabeledTensors(images, torch.arange(40) % 3), 8, augment=augment)
    graph = _captured_step(
        lambda _, batch: StepResult(batch.inputs.double().sum(), 1.0, torch.zeros(())), Tape()
    )
    for epoch in range(2):
        for indices in batches.batch_indices(epoch):
            seen = graph.step(0, LazyBatch(batches, indices, epoch))
            expected = batches.gather(indices, epoch=epoch).inputs.double().sum()
            assert float(seen.loss) == float(expected)


CONFIG = FilledConfig(
    epochs=3,
    batch_size=8,
    optimizer=OptimizerConfig(),
    schedule=Schedule(),
    label_smoothing=0.0,
    progress=False,
    device="cpu",
)


@pytest.mark.parametrize(
    ("unsupported", "message"),
    [
        (replace(CONFIG, precision="fp16"), "precision must be 'fp32' or 'bf16' for cuda_graph"),
        (replace(CONFIG, mixup=0.2), "mixup must be None for cuda_graph"),
        (
            replace(CONFIG, gradient_accumulation_steps=2),
            "gradient_accumulation_steps must be 1 for cuda_graph",
        ),
        (
            replace(CONFIG, momentum_schedule=MomentumSchedule(kind="one_cycle")),
            "momentum_schedule must be None",
        ),
        (
            replace(CONFIG, optimizer=OptimizerConfig(name="muon")),
            r"optimizer\.name must be 'adam', 'adamw' or 'sgd'",
        ),
        (replace(CONFIG, optimizer=OptimizerConfig(fused=False)), r"optimizer\.fused must be True"),
    ],
)
def test_what_the_host_decides_cannot_be_captured(unsupported: TrainerConfig, message: str) -> None:
    """It is refused where the configuration is made."""
    with pytest.raises(ValueError, match=message):
        replace(unsupported, cuda_graph=True)


def test_a_graph_needs_a_device_that_captures() -> None:
    """On the CPU there is none; a custom optimizer may keep its rate anywhere."""
    config = replace(CONFIG, cuda_graph=True)
    with pytest.raises(ValueError, match="device must be a CUDA device for cuda_graph"):
        Trainer(network(), config)
    with pytest.raises(ValueError, match="optimizer must be None for cuda_graph"):
        Trainer(network(), config, optimizer=torch.optim.AdamW)
    for objective in (Mixup(0.2), VirtualAdversarial()):
        with pytest.raises(ValueError, match="objective must be one that draws no random numbers"):
            Trainer(network(), config, objective=objective)
    with pytest.raises(ValueError, match="cuda_graph must be False for several networks"):
        fit_many([network(), network()], examples(), config=config)


@pytest.fixture
def on_tape(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """Make a trainer on the CPU capture its steps on tapes, and return the tapes."""
    tapes: list[Tape] = []

    def capture(_device: torch.device) -> Tape:
        tapes.append(Tape())
        return tapes[-1]

    monkeypatch.setattr("mlpkit.training.fast._graph_capture.CUDAGraphCapture", capture)
    monkeypatch.setattr("mlpkit.training._stepper._obeys_found_inf", lambda *_: True)
    monkeypatch.setattr("mlpkit.training._trainer._check_can_be_captured", lambda *_: None)
    return tapes


def plain_network() -> nn.Sequential:
    """Return a network that leaves its gradients to autograd."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


TAPED = replace(
    CONFIG,
    optimizer=OptimizerConfig(lr=0.01, weight_decay=0.1),
    schedule=Schedule(kind="one_cycle"),
    averaging=AveragingConfig(decay=0.9),
    clip_grad_norm=1.0,
    label_smoothing=0.1,
)


@pytest.mark.parametrize("loader", [True, False])
@pytest.mark.parametrize(
    "build", [plain_network, network], ids=["autograd", "hand-written gradients"]
)
def test_a_run_with_captured_steps(
    on_tape: list[Tape], build: Callable[[], nn.Module], *, loader: bool
) -> None:
    """Schedule, averaging, clipping, a short last batch: as without, to the rounding of a rate."""
    data = examples()
    source = (
        DataLoader(TensorDataset(data.inputs, data.targets), batch_size=8, shuffle=True)
        if loader
        else data
    )
    eager, captured = build(), build()
    rates: list[float] = []

    class Rates(Callback):
        def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:  # noqa: ARG002 - the hook
            rates.append(info.lr)

    one = Trainer(eager, TAPED).fit(source, data)
    trainer = Trainer(captured, replace(TAPED, cuda_graph=True), callbacks=[Rates()])
    other = trainer.fit(source, data)
    for first, second in zip(eager.parameters(), captured.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    (tape,) = on_tape
    assert (tape.num_captured, tape.num_warmups) == (1, 3 + 3)
    assert [row.lr for row in other.history] == [row.lr for row in one.history]
    assert rates == [0.01 * TAPED.schedule.ratio(step, 24) for step in range(24)]
    run = trainer._run
    assert run is not None
    assert isinstance(run.stepper.engine, CapturedEngine)
    assert not run.stepper.engine._captured._graphs  # their memory is given back


@pytest.mark.usefixtures("on_tape")
def test_a_captured_run_resumes_to_the_bit(tmp_path: Path) -> None:
    """Also in the middle of an epoch: rates and moments are where the graph reads them."""
    config = replace(TAPED, cuda_graph=True)
    whole = plain_network()
    Trainer(whole, config).fit(examples())

    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:
            if info.step == 12:
                trainer.stop()

    saving = replace(config, checkpoints=CheckpointConfig(folder=tmp_path))
    Trainer(plain_network(), saving, callbacks=[Stop()]).fit(examples())
    resumed = plain_network()
    Trainer(resumed, saving).fit(examples(), resume="auto")
    for first, second in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.usefixtures("on_tape")
def test_a_nan_is_found_by_its_step(tmp_path: Path) -> None:
    """Although it is looked for much later, and whoever saves in the meantime is told the same."""
    model = plain_network()
    weight = next(model.parameters())

    class Break(Callback):
        def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:  # noqa: ARG002 - the hook
            if info.step == 9:
                with torch.no_grad():
                    weight.fill_(torch.nan)

    config = replace(TAPED, cuda_graph=True, averaging=None)
    trainer = Trainer(model, config, callbacks=[Break()])
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(examples())
    assert caught.value.step == 10
    with pytest.raises(NonFiniteError, match="at step 10 "):
        trainer.save(tmp_path / "last.pt")


def test_a_base_rate_that_a_callback_changes_is_captured_again(on_tape: list[Tape]) -> None:
    """Where groups shared a tensor, neither trains with the rate of the other."""

    class Freeze(Callback):
        def on_step_end(self, trainer: Trainer, info: StepInfo) -> None:
            if info.step == 9:
                trainer.optimizer.param_groups[0]["initial_lr"] = 0.0

    trained = []
    for cuda_graph in (False, True):
        model = network()
        config = replace(TAPED, averaging=None, cuda_graph=cuda_graph)
        Trainer(model, config, callbacks=[Freeze()]).fit(examples())
        trained.append(model)
    (tape,) = on_tape
    assert tape.num_captured == 2
    for one, other in zip(trained[0].parameters(), trained[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("on_tape")
def test_a_learning_rate_can_be_looked_for() -> None:
    """find_lr makes its steps as usual."""
    config = replace(TAPED, cuda_graph=True)
    curve = Trainer(plain_network(), config).find_lr(examples(), steps=20)
    expected = Trainer(plain_network(), TAPED).find_lr(examples(), steps=20)
    assert curve == expected


def _rest(size: int) -> tuple[Tensor, None, Tensor]:
    return torch.zeros(size, dtype=torch.int64), None, torch.arange(size)


def _trained(config: TrainerConfig, data: Batches | LabeledTensors) -> tuple[nn.Module, Trainer]:
    """Return a model trained on a GPU, and its trainer."""
    model = MLP(
        36, (32, 16), 3, dropout=0.1, flatten=True, generator=torch.Generator().manual_seed(1)
    )
    trainer = Trainer(model, replace(config, device="cuda"))
    trainer.fit(data)
    return model, trainer


@needs_cuda
@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_trains_as_the_eager_steps(name: OptimizerName, precision: Precision) -> None:
    """Schedule, averaging, dropout and clipping on: close to the last bits of a float32 rate."""
    data = LabeledTensors(torch.rand(61, 36), torch.arange(61) % 3).to("cuda")
    config = replace(
        CONFIG,
        optimizer=OptimizerConfig(name=name, lr=0.01),
        schedule=Schedule(kind="one_cycle"),
        averaging=AveragingConfig(decay=0.9),
        precision=precision,
        clip_grad_norm=1.0,
    )
    eager, eager_trainer = _trained(config, data)
    graph, graph_trainer = _trained(replace(config, cuda_graph=True), data)
    tolerance = 1e-4 if precision == "fp32" else 1e-2
    for one, other in zip(eager.parameters(), graph.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    assert [row.train_loss for row in graph_trainer.history] == pytest.approx(
        [row.train_loss for row in eager_trainer.history], rel=10 * tolerance
    )


@needs_cuda
def test_a_graph_augments_and_stops_at_nan() -> None:
    """Each epoch draws another augmentation, and a NaN is found by the step that it came in."""
    images = torch.randint(0, 256, (61, 6, 6), dtype=torch.uint8)
    data = LabeledTensors(images.float() / 255, torch.arange(61) % 3).to("cuda")
    augmented = Batches(data, 8, augment=RandomAffine(degrees=30))
    eager, _ = _trained(CONFIG, augmented)
    graph, _ = _trained(replace(CONFIG, cuda_graph=True), augmented)
    for one, other in zip(eager.parameters(), graph.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    too_fast = replace(CONFIG, optimizer=OptimizerConfig(name="sgd", lr=1e6))
    steps = []
    for cuda_graph in (False, True):
        with pytest.raises(NonFiniteError) as caught:
            _trained(replace(too_fast, cuda_graph=cuda_graph), augmented)
        steps.append(caught.value.step)
    assert steps[0] == steps[1]


@needs_cuda
@pytest.mark.parametrize("augment", [None, RandomErasing()], ids=["plain", "augmented"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_wide_network_with_two_graphs(precision: Precision, augment: Augmentation | None) -> None:
    """Parameters in blocks, a graph of the short batch too, and batches of a third size between.

    Memory of device and graphs is as much after the tenth epoch as after the fourth.
    """
    images = torch.randint(0, 256, (300, 28, 28), dtype=torch.uint8)
    weights = torch.linspace(0.5, 1.5, 300)
    data = LabeledTensors(images.float() / 255, torch.arange(300) % 10, weights=weights)
    batches = Batches(data.to("cuda"), 128, augment=augment)
    config = replace(CONFIG, epochs=10, precision=precision, device="cuda")
    trained: list[nn.Module] = []
    memory: list[int] = []

    class Look(Callback):
        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002 - the hook
            memory.append(torch.cuda.memory_reserved())

    for cuda_graph in (False, True):
        memory.clear()
        model = MLP(784, (512, 256), 10, flatten=True, generator=torch.Generator().manual_seed(1))
        trainer = Trainer(model, replace(config, cuda_graph=cuda_graph), callbacks=[Look()])
        trainer.fit(batches)
        trained.append(model)
    assert memory[9] <= memory[4] + 2**24
    tolerance = 1e-3 if precision == "fp32" else 2e-2
    for one, other in zip(trained[0].parameters(), trained[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@needs_cuda
def test_a_graph_resumes_to_the_bit(tmp_path: Path) -> None:
    """A resumed run captures again, and ends as one that was not interrupted."""
    data = LabeledTensors(torch.rand(61, 36), torch.arange(61) % 3).to("cuda")
    config = replace(CONFIG, cuda_graph=True)
    whole, _ = _trained(config, data)
    model = MLP(
        36, (32, 16), 3, dropout=0.1, flatten=True, generator=torch.Generator().manual_seed(1)
    )
    saving = replace(config, device="cuda", checkpoints=CheckpointConfig(folder=tmp_path))
    Trainer(model, replace(saving, epochs=1)).fit(data)
    other = copy.deepcopy(model)
    Trainer(other, saving).fit(data, resume="auto")
    for one, two in zip(whole.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
