"""A recorded step: the same training, whatever is recorded; on a GPU by CUDA graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import examples
from torch import Tensor, nn

from mlpkit.data import Batches, LabeledTensors, RandomAffine
from mlpkit.errors import NonFiniteError
from mlpkit.nn import MLP
from mlpkit.training import (
    AveragingConfig,
    CheckpointConfig,
    MomentumSchedule,
    OptimizerConfig,
    OptimizerName,
    Precision,
    Schedule,
    Trainer,
    TrainerConfig,
)
from mlpkit.training._engine import Engine, StepResult
from mlpkit.training._nonfinite import FiniteGuard
from mlpkit.training._objectives import CrossEntropy
from mlpkit.training._optimizers import build_optimizer, set_lr
from mlpkit.training._sources import BatchLike, LoadedBatch, PendingBatch
from mlpkit.training._step_graph import MakeStep, StepGraph, keep_lr_on_device

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Repeating:
    """Records on any device: each repetition does the work again and leaves the result in place.

    As in a graph, what the host decided while recording stays: the work sees the tensors that were
    fixed then, and nothing of later batches but what was filled into them.
    """

    def __init__(self) -> None:
        self.num_prepared = self.num_recorded = 0

    def prepare(self, work: Callable[[], StepResult]) -> StepResult:
        """Do the work."""
        self.num_prepared += 1
        return work()

    def record(self, work: Callable[[], StepResult]) -> tuple[StepResult, Callable[[], None]]:
        """Return fixed tensors for the result, and the work that fills them."""
        self.num_recorded += 1
        loss, grad_norm = torch.zeros(()), torch.zeros(())
        weight = torch.zeros(())

        def replay() -> None:
            result = work()
            loss.copy_(result.loss)
            grad_norm.copy_(result.grad_norm)
            weight.copy_(torch.as_tensor(result.weight))

        return StepResult(loss, weight, grad_norm), replay


def engine_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Engine:
    """Return an engine without a guard that raises."""
    engine = Engine(
        model,
        CrossEntropy(),
        optimizer,
        FiniteGuard(CPU, deferred=False),
        class_weights=None,
        clip_norm=0.5,
        precision="fp32",
        device=CPU,
    )
    engine.begin_epoch()
    return engine


def _on(engine: Engine) -> MakeStep:
    return lambda step, batch: engine.step(step, [batch])


def network() -> MLP:
    """Return a small network with fixed weights."""
    return MLP(6, (8,), 3, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_replays_train_as_the_steps_themselves(*, pending: bool, weighted: bool) -> None:
    """Three epochs with a short last batch and a schedule: the same bits as without a record."""
    data = examples()
    weights = torch.linspace(0.5, 1.5, len(data)) if weighted else None
    data = LabeledTensors(data.inputs, data.targets, weights=weights)
    batches = Batches(data, 8, seed=4)
    plain, recorded = network(), network()
    histories: list[list[tuple[float, float, float]]] = []
    recorder = Repeating()
    for model in (plain, recorded):
        optimizer = build_optimizer(model, OptimizerConfig(lr=0.01))
        keep_lr_on_device(optimizer, CPU)
        engine = engine_of(model, optimizer)
        graph = StepGraph(_on(engine), recorder)
        history = []
        for epoch in range(3):
            for number, indices in enumerate(batches.positions(epoch)):
                step = epoch * len(batches) + number
                set_lr(optimizer, Schedule(kind="one_cycle").ratio(step, 3 * len(batches)))
                gathered = batches.gather(indices, epoch=epoch)
                if model is plain:
                    result = engine.step(step, [gathered])
                else:
                    batch: BatchLike = (
                        PendingBatch(batches, indices, epoch) if pending else gathered
                    )
                    result = graph.step(step, batch)
                history.append((float(result.loss), float(result.weight), float(result.grad_norm)))
        histories.append(history)
    assert histories[0] == histories[1]
    for one, other in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(one, other)
    # 61 examples make 7 full batches and one short: three steps first, then one record for all.
    assert (recorder.num_recorded, recorder.num_prepared) == (1, 3 + 3)


def test_results_outlive_the_next_replay() -> None:
    """What a step returned is not what the next one writes."""
    graph = StepGraph(
        lambda step, batch: StepResult(
            batch.inputs.sum(), batch.inputs.amax(), torch.as_tensor(step)
        ),
        Repeating(),
    )
    results = [
        graph.step(step, LoadedBatch(torch.full((2,), float(step)), *_rest(2))) for step in range(6)
    ]
    assert [float(result.loss) for result in results] == [0, 2, 4, 6, 8, 10]
    assert [float(result.weight) for result in results] == [0, 1, 2, 3, 4, 5]
    assert [float(result.grad_norm) for result in results] == [0, 1, 2, 3, 4, 5]


def test_an_augmentation_is_recorded_for_each_epoch() -> None:
    """Its draws are decided on the host, from the epoch; without one a record holds for all."""
    images = torch.randint(0, 256, (32, 6, 6), dtype=torch.uint8)
    data = LabeledTensors(images, torch.arange(32) % 3)
    for augment, num_recorded in ((RandomAffine(degrees=30), 4), (None, 1)):
        batches = Batches(data, 8, augment=augment)
        recorder = Repeating()
        graph = StepGraph(
            lambda _, batch: StepResult(batch.inputs.double().sum(), 1.0, torch.zeros(())), recorder
        )
        for epoch in range(4):
            for indices in batches.positions(epoch):
                seen = graph.step(0, PendingBatch(batches, indices, epoch))
                expected = batches.gather(indices, epoch=epoch).inputs.double().sum()
                assert float(seen.loss) == float(expected)
        assert recorder.num_recorded == num_recorded


def test_a_resumed_epoch_may_begin_with_its_short_batch() -> None:
    """The record is of the largest batch that came, not of the first."""
    recorder = Repeating()
    graph = StepGraph(
        lambda _, batch: StepResult(batch.inputs.sum(), 1.0, torch.zeros(())), recorder
    )
    for size in (3, 8, 8, 8, 8, 3, 8):
        result = graph.step(0, LoadedBatch(torch.ones(size), *_rest(size)))
        assert float(result.loss) == size
    assert (recorder.num_recorded, recorder.num_prepared) == (1, 5)


def test_the_rates_go_into_tensors_and_stay_there() -> None:
    """set_lr fills the tensor that a record reads, and loading a state keeps one."""
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.01))
    keep_lr_on_device(optimizer, CPU)
    before = [group["lr"] for group in optimizer.param_groups]
    set_lr(optimizer, 0.5)
    for group, lr in zip(optimizer.param_groups, before, strict=True):
        assert group["lr"] is lr
        assert float(lr) == pytest.approx(0.005)
        assert group["capturable"]


CONFIG = TrainerConfig(epochs=3, batch_size=8, progress=False, device="cpu")


@pytest.mark.parametrize(
    ("unrecordable", "message"),
    [
        (replace(CONFIG, precision="fp16"), "precision must be one that a CUDA graph can hold"),
        (replace(CONFIG, mixup=0.2), "mixup must be one"),
        (replace(CONFIG, accumulate=2), "accumulate must be one"),
        (
            replace(CONFIG, momentum_schedule=MomentumSchedule(kind="one_cycle")),
            "momentum_schedule must be one",
        ),
        (replace(CONFIG, optimizer=OptimizerConfig(name="muon")), r"optimizer\.name must be one"),
        (replace(CONFIG, optimizer=OptimizerConfig(fused=False)), r"optimizer\.fused must be one"),
    ],
)
def test_what_the_host_decides_cannot_be_recorded(
    unrecordable: TrainerConfig, message: str
) -> None:
    """It is refused where the configuration is made."""
    with pytest.raises(ValueError, match=message):
        replace(unrecordable, cuda_graph=True)


def test_a_graph_needs_a_device_that_records() -> None:
    """On the CPU there is none, and an optimiser of one's own may keep its rate anywhere."""
    with pytest.raises(ValueError, match="device must be a CUDA device for cuda_graph"):
        Trainer(network(), replace(CONFIG, cuda_graph=True))


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
        clip_norm=1.0,
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
    """The augmentation of each epoch is its own, and a NaN is found by the step that it came in."""
    images = torch.randint(0, 256, (61, 6, 6), dtype=torch.uint8)
    data = LabeledTensors(images.float() / 255, torch.arange(61) % 3).to("cuda")
    augmented = Batches(data, 8, augment=RandomAffine(degrees=30))
    eager, _ = _trained(CONFIG, augmented)
    graph, _ = _trained(replace(CONFIG, cuda_graph=True), augmented)
    for one, other in zip(eager.parameters(), graph.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    too_fast = replace(CONFIG, cuda_graph=True, optimizer=OptimizerConfig(name="sgd", lr=1e30))
    with pytest.raises(NonFiniteError):
        _trained(too_fast, augmented)


@needs_cuda
def test_a_graph_resumes_to_the_bit(tmp_path: Path) -> None:
    """A training that goes on from a checkpoint records anew, and ends as one that went through."""
    data = LabeledTensors(torch.rand(61, 36), torch.arange(61) % 3).to("cuda")
    config = replace(CONFIG, cuda_graph=True, deterministic=True)
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
