"""Training on streams, in epochs of a number of steps, up to a number of steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import Passes, differences, examples, network
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
)
from torchdata.stateful_dataloader import StatefulDataLoader  # type: ignore[import-untyped]

from mlpkit._protocols import Batch
from mlpkit.errors import NonFiniteError, ResumeMismatchError
from mlpkit.training import (
    AveragingConfig,
    BatchLike,
    Callback,
    CheckpointConfig,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
    TrainingData,
    load_checkpoint,
)

SGD = OptimizerConfig(name="sgd", lr=0.1, momentum=0.0)
PLAIN = TrainerConfig(
    batch_size=8,
    optimizer=SGD,
    schedule=Schedule(),
    label_smoothing=0.0,
    device="cpu",
    progress=False,
)


class Given(IterableDataset[tuple[Tensor, Tensor]]):
    """Whole batches in a given order."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)


def given(batches: list[tuple[Tensor, Tensor]]) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(Given(batches), batch_size=None)


def batches(number: int = 8) -> list[tuple[Tensor, Tensor]]:
    data = examples(8 * number - 3)
    return [(batch.inputs, batch.targets) for batch in data.batches(8, shuffle=False).epoch(0)]


def linear() -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(6, 3)


def fit(config: TrainerConfig, train: TrainingData) -> Trainer:
    trainer = Trainer(linear(), config)
    trainer.fit(train)
    return trainer


def same(one: Trainer, other: Trainer) -> bool:
    return not differences(one.model.state_dict(), other.model.state_dict())


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_weights_are_those_of_a_loop_over_the_batches(accumulation: int) -> None:
    """Bit for bit, also where a pass or an epoch ends between two batches of one step."""
    config = replace(PLAIN, epochs=3, steps_per_epoch=4, gradient_accumulation_steps=accumulation)
    trainer = fit(replace(config, gradients="autograd"), given(batches()))
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    endless = (batch for _ in range(12) for batch in batches())
    for _ in range(12):
        window = list(itertools.islice(endless, accumulation))
        number = sum(len(targets) for _, targets in window)
        optimizer.zero_grad()
        for inputs, targets in window:
            loss = F.cross_entropy(model(inputs), targets, reduction="sum") / number
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert differences(trainer.model.state_dict(), model.state_dict()) == []
    assert [row.step for row in trainer.history] == [4, 8, 12]


def test_a_stream_of_the_batches_of_examples_trains_as_these() -> None:
    data = examples()
    seen = [
        (batch.inputs, batch.targets)
        for epoch in range(3)
        for batch in data.batches(8).epoch(epoch)
    ]
    streamed = fit(replace(PLAIN, epochs=3, steps_per_epoch=8), given(seen))
    assert same(streamed, fit(replace(PLAIN, epochs=3), data))


@pytest.mark.parametrize("steps", [3, 8, 20])
def test_epochs_of_finite_data_can_be_shorter_or_longer_than_a_pass(steps: int) -> None:
    """The steps are those of whole passes; only their division into epochs differs."""
    config = replace(PLAIN, epochs=2, steps_per_epoch=steps)
    dataset = TensorDataset(examples().inputs, examples().targets)
    for data in (examples(), examples().batches(8), DataLoader(dataset, 8, shuffle=True)):
        trainer = fit(config, data)
        assert [row.step for row in trainer.history] == [steps, 2 * steps]
        assert same(trainer, fit(replace(PLAIN, max_steps=2 * steps), data))


def test_the_last_batch_can_be_dropped() -> None:
    config = replace(PLAIN, epochs=2, drop_last=True)
    trainer = fit(config, examples())
    assert trainer.state.step == 14
    assert same(trainer, fit(replace(PLAIN, epochs=2), examples().batches(8, drop_last=True)))
    with pytest.raises(ValueError, match="drop_last must be False for data that is already in b"):
        fit(config, examples().batches(8))


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "max_steps", "found"),
    [
        (None, None, 20, [8, 16, 20]),
        (None, 5, 12, [5, 10, 12]),
        (5, 5, 12, [5, 10, 12]),
        (2, 5, 12, [5, 10]),
        (None, 5, 3, [3]),
        (None, 4, 8, [4, 8]),
    ],
)
def test_max_steps_end_a_run(
    epochs: int | None, steps_per_epoch: int | None, max_steps: int, found: list[int]
) -> None:
    """The last epoch counts, is validated and may be the best; a schedule ends there."""
    config = replace(
        PLAIN,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        max_steps=max_steps,
        schedule=Schedule(kind="linear"),
        validate_every=100,
    )
    trainer = Trainer(linear(), config)
    result = trainer.fit(examples(), examples(20))
    assert result.stop_reason == "completed"
    assert [row.step for row in result.history] == found
    assert [row.val_loss is None for row in result.history] == [True] * (len(found) - 1) + [False]
    assert result.state.best_epoch == len(found) - 1
    assert (result.state.epoch, result.state.batch) == (len(found), 0)
    assert trainer.config.epochs == (epochs or len(found))
    assert trainer.lr == 0.1 * config.schedule.ratio(found[-1] - 1, found[-1])  # type: ignore[union-attr]


def test_a_stream_with_max_steps_alone_has_one_epoch() -> None:
    trainer = fit(replace(PLAIN, max_steps=11), given(batches()))
    assert [row.step for row in trainer.history] == [11]
    assert (trainer.config.epochs, trainer.config.steps_per_epoch) == (1, 11)
    message = "epochs must be None or 1 for a stream with max_steps, but without steps_per_epoch"
    with pytest.raises(ValueError, match=message):
        fit(replace(PLAIN, epochs=2, max_steps=11), given(batches()))


def test_an_epoch_of_unknown_length_is_refused() -> None:
    message = "train must be data with a length, or a stream with steps_per_epoch or max_steps, got"
    with pytest.raises(ValueError, match=message):
        fit(PLAIN, given(batches()))
    lbfgs = replace(PLAIN, optimizer=OptimizerConfig(name="lbfgs"), max_steps=5)
    with pytest.raises(ValueError, match="train must be data with a length for optimizer 'lbfgs'"):
        fit(lbfgs, given(batches()))


def test_the_default_number_of_epochs_makes_1000_steps() -> None:
    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
            trainer.stop()

    trainer = Trainer(linear(), replace(PLAIN, steps_per_epoch=90), callbacks=[Stop()])
    trainer.fit(given(batches(1)))
    assert trainer.config.epochs == 12


def test_an_iterable_with_a_length_needs_no_steps() -> None:
    class Sized(Given):
        def __len__(self) -> int:
            return len(self.batches)

    trainer = fit(replace(PLAIN, epochs=2), DataLoader(Sized(batches()), batch_size=None))
    assert [row.step for row in trainer.history] == [8, 16]
    assert same(trainer, fit(replace(PLAIN, max_steps=16), given(batches())))


def test_batches_of_a_sampler() -> None:
    """Its length is that of an epoch, and a resume is exact."""
    data = examples()
    sampler = [[0, 5, 7], [1, 2], [3, 4, 6, 8]]
    loader = DataLoader(TensorDataset(data.inputs, data.targets), batch_sampler=sampler)
    trainer = fit(replace(PLAIN, epochs=2), loader)
    assert [row.step for row in trainer.history] == [3, 6]
    expected = [(data.inputs[rows], data.targets[rows]) for rows in sampler]
    assert same(trainer, fit(replace(PLAIN, max_steps=6), given(expected)))


def test_bad_values_in_a_stream_are_refused() -> None:
    bad = [*batches(2), (torch.full((2, 6), torch.nan), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(ValueError, match="inputs of a DataLoader must be finite, got NaN"):
        fit(replace(PLAIN, max_steps=5), given(bad))


def test_the_rate_of_examples_counts_those_of_a_short_last_step() -> None:
    """A loader with a batch sampler does not tell how many examples it has."""
    data = examples()
    dataset = TensorDataset(data.inputs, data.targets)
    loader = DataLoader(dataset, batch_sampler=BatchSampler(SequentialSampler(dataset), 8, False))
    trainer = fit(replace(PLAIN, epochs=2, gradient_accumulation_steps=3), loader)
    for row in trainer.history:
        assert row.examples_per_second * row.seconds == pytest.approx(61)


def test_the_rate_of_examples_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Clock(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
            now[0] += 0.5

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    config = replace(PLAIN, epochs=2, steps_per_epoch=2, gradient_accumulation_steps=2)
    trainer = Trainer(linear(), config, callbacks=[Clock()])
    trainer.fit(given([(torch.zeros(5, 6), torch.zeros(5, dtype=torch.int64))]))
    assert [row.examples_per_second for row in trainer.history] == [20.0, 20.0]


def test_the_epoch_of_a_nonfinite_step() -> None:
    class Explode(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
            if step.step == 8:
                torch.nn.init.constant_(next(trainer.model.parameters()), torch.inf)

    config = replace(PLAIN, steps_per_epoch=10, max_steps=25)
    trainer = Trainer(linear(), config, callbacks=[Explode()])
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(given(batches()))
    assert (caught.value.step, caught.value.epoch) == (9, 0)


def test_validation_and_evaluation_read_one_pass() -> None:
    trainer = Trainer(linear(), replace(PLAIN, epochs=2, steps_per_epoch=3))
    result = trainer.fit(given(batches()), given(batches(3)))
    found = trainer.evaluate(given(batches(3)))
    assert found.num_examples == 21
    assert found.loss == result.history[-1].val_loss
    assert found.loss == pytest.approx(trainer.evaluate(examples(21)).loss)  # other batches


def test_an_average_of_a_stream_keeps_its_statistics() -> None:
    """The stream is not read again for batch norm, also not at the end."""
    dataset = Passes()
    config = replace(PLAIN, epochs=2, steps_per_epoch=3, averaging=AveragingConfig(decay=0.5))
    trainer = Trainer(network(), config)
    trainer.fit(DataLoader(dataset, 8), examples(20))
    assert (dataset.number, dataset.position) == (0, 48)
    average = trainer._known_run("")
    state = average.weights.average_state()
    assert state is not None
    mean = trainer.model.state_dict()["1.running_mean"]
    assert torch.equal(mean, state["tensors"]["1.running_mean"].to(mean.dtype))


def test_finding_a_rate_does_not_move_a_stream_with_a_state() -> None:
    config = replace(PLAIN, max_steps=5)
    used, fresh = DataLoader(Passes(), 8), DataLoader(Passes(), 8)
    trainer = Trainer(linear(), config)
    trainer.find_lr(used, low=1e-3, steps=20)
    trainer.fit(used)
    assert same(trainer, fit(config, fresh))


def stateful(workers: int = 0) -> StatefulDataLoader[tuple[Tensor, ...]]:
    """Return a shuffled loader; its order depends on torch's generator when it is built."""
    data = examples()
    dataset = TensorDataset(data.inputs, data.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return StatefulDataLoader(dataset, 8, shuffle=True, num_workers=workers)


class Own:
    """A source with a state: batches of random numbers."""

    num_examples = None
    fingerprint = "random numbers"

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return 5

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:  # noqa: ARG002
        for _ in range(start, len(self)):
            inputs = torch.randn(8, 6, generator=self.generator)
            yield Batch(inputs, inputs[:, :3].argmax(dim=1), None, torch.full((8,), -1))

    def state_dict(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self.generator.set_state(cast("Tensor", state["generator"]))


STREAMS: dict[str, Callable[[], TrainingData]] = {
    "data set": lambda: DataLoader(Passes(), 8),
    "StatefulDataLoader": stateful,
    "BatchSource": Own,
}


class Stopped(Exception):  # noqa: N818
    """What a run is stopped with, as by a kill."""


class StopAt(Callback):
    """Stops when the checkpoint of a step has been written."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:  # noqa: ARG002
        if trainer.state.step == self.step:
            raise Stopped


@pytest.mark.parametrize(
    ("kind", "step"), [*itertools.product(STREAMS, (7, 14)), ("StatefulDataLoader, 2 workers", 7)]
)
def test_a_resumed_stream_ends_with_the_same_bits(tmp_path: Path, kind: str, step: int) -> None:
    """Stopped within an epoch and a pass, and at the last step, before its epoch is closed.

    Workers have read further than the run when its checkpoint is written.
    """
    stream: Callable[[], TrainingData] = STREAMS.get(kind, lambda: stateful(workers=2))
    config = replace(PLAIN, max_steps=14, averaging=AveragingConfig(decay=0.5))
    if kind != "BatchSource":
        config = replace(config, steps_per_epoch=5)

    def run(name: str, *callbacks: Callback) -> None:
        folder = CheckpointConfig(folder=tmp_path / name, every_steps=7)
        trainer = Trainer(network(), replace(config, checkpoints=folder), callbacks=callbacks)
        trainer.fit(stream(), examples(20), resume="auto")

    run("alone")
    with pytest.raises(Stopped):
        run("stopped", StopAt(step))
    assert load_checkpoint(tmp_path / "stopped" / "last.pt").state.batch
    torch.rand(7)
    run("stopped")
    alone, stopped = (load_checkpoint(tmp_path / name / "last.pt") for name in ("alone", "stopped"))
    assert [row.step for row in stopped.history] == [5, 10, 14]
    assert differences(alone.trained_state, stopped.trained_state) == []
    assert differences(alone.average, stopped.average) == []


@pytest.mark.parametrize("kind", [*STREAMS, "no state"])
def test_a_warm_start_continues_a_stream(kind: str) -> None:
    data = STREAMS.get(kind, lambda: given(batches()))
    steps = None if kind == "BatchSource" else 5
    config = replace(PLAIN, epochs=1, steps_per_epoch=steps)
    trainer, stream = Trainer(linear(), config), data()
    trainer.fit(stream)
    if kind != "no state":  # whose position is not that of the loader
        trainer.find_lr(stream, low=1e-3, steps=10)
    trainer.fit(stream, warm_start=True)
    assert same(trainer, fit(replace(config, epochs=2), data()))


def test_max_steps_of_a_warm_start_are_those_of_each_call(tmp_path: Path) -> None:
    """Also after a shorter last epoch; resumed with the sums it has nothing left to do."""
    folder = CheckpointConfig(folder=tmp_path)
    config = replace(PLAIN, steps_per_epoch=4, max_steps=6, checkpoints=folder)
    trainer, loader = Trainer(linear(), config), DataLoader(Passes(), 8)
    trainer.fit(loader)
    result = trainer.fit(loader, warm_start=True)
    assert [row.step for row in result.history] == [4, 6, 10, 12]
    assert same(trainer, fit(replace(PLAIN, max_steps=12), DataLoader(Passes(), 8)))
    resumed = Trainer(linear(), replace(config, max_steps=12))
    assert resumed.fit(DataLoader(Passes(), 8), resume="auto").state.step == 12
    with pytest.raises(ResumeMismatchError, match="max_steps"):
        Trainer(linear(), config).fit(DataLoader(Passes(), 8), resume="auto")


def test_a_stream_without_a_state_cannot_be_resumed(tmp_path: Path) -> None:
    folder = CheckpointConfig(folder=tmp_path)
    config = replace(PLAIN, max_steps=5, checkpoints=folder)
    fit(config, given(batches()))
    message = (
        "train must be a stream with state_dict and load_state_dict for resume, got a DataLoader "
        "whose position is not known; .* or continue from the weights with init_from"
    )
    for data in (given(batches()), DataLoader(Passes(), 8, num_workers=1)):
        with pytest.raises(ValueError, match=message):
            Trainer(linear(), config).fit(data, resume="auto")
    trainer = Trainer(linear(), replace(PLAIN, max_steps=1))
    trainer.fit(given(batches()), init_from=folder.last)
    assert trainer.state.step == 1


def test_a_state_that_cannot_be_stored_is_refused_before_the_first_step(tmp_path: Path) -> None:
    class Arrays(Passes):
        def state_dict(self) -> dict[str, int]:
            return {"rows": np.zeros(2)}  # type: ignore[dict-item]

    folder = CheckpointConfig(folder=tmp_path)
    trainer = Trainer(linear(), replace(PLAIN, max_steps=5, checkpoints=folder))
    message = r"the state of train\.source\.rows must be a tensor or a plain value in a checkpoint"
    with pytest.raises(TypeError, match=message):
        trainer.fit(DataLoader(Arrays(), 8))
    assert trainer.state.step == 0


def test_a_state_on_one_side_only_is_another_run(tmp_path: Path) -> None:
    folder = CheckpointConfig(folder=tmp_path)
    config = replace(PLAIN, max_steps=5, checkpoints=folder)

    class Stateless(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(Passes())

    Stateless.__qualname__ = "Passes"
    fit(config, DataLoader(Stateless(), 8))
    with pytest.raises(ResumeMismatchError, match=r"data\.train\.state"):
        Trainer(linear(), config).fit(DataLoader(Passes(), 8), resume="auto")
