"""Runs that several processes make together, and what each of them has afterwards."""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlpkit import MLP, SoftmaxClassifier
from mlpkit.data import LabeledTensors, RandomAffine, digits
from mlpkit.errors import TrainingInterrupted
from mlpkit.nn import MLPOptions, NormName
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    CSVLogger,
    EpochRow,
    OptimizerConfig,
    StepInfo,
    Trainer,
    TrainerConfig,
    TrainingData,
    VirtualAdversarial,
)

Row = dict[str, float | int | None]


class Found(NamedTuple):
    """What a process has after a run; the columns of the history without durations."""

    weights: dict[str, Tensor]
    history: list[Row]
    stop_reason: str
    steps: int
    examples: int


class PartlyUsed(nn.Module):
    """A network with parameters that no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()
        self.other = nn.Linear(3, 3)
        nn.init.ones_(self.other.weight)
        nn.init.zeros_(self.other.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class Attentive(nn.Module):
    """A network with attention, a buffer that is not saved, and outputs that are a view."""

    batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(64, 10)
        self.register_buffer("batches", torch.zeros(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.batches += 1
        rows = x.view(-1, 8, 8)
        attended, _ = self.attention(rows, rows, rows, need_weights=False)
        outputs: Tensor = self.head(attended.flatten(1))
        return outputs.view(-1, 10)


def network(norm: NormName | None = None) -> MLP:
    generator = torch.Generator().manual_seed(0)
    return MLP(64, (16,), 10, norm=norm, generator=generator)


def examples(count: int = 203) -> tuple[LabeledTensors, LabeledTensors]:
    splits = digits()
    inputs, targets = splits.train.inputs.float().flatten(1) / 16, splits.train.targets
    weights = torch.linspace(0.5, 2.0, count)
    train = LabeledTensors(inputs[:count], targets[:count], weights=weights)
    return train, LabeledTensors(inputs[count : count + 101], targets[count : count + 101])


KINDS = (
    "plain",
    "accumulation",
    "class weights",
    "unused parameters",
    "averaging",
    "loader",
    "clipping",
    "augmented",
    "model",
    "synchronized",
    "sharded",
    "sharded model",
    "sharded attention",
)
#: Each process draws its own numbers, so the weights are not those of one process.
RANDOM_KINDS = ("virtual adversarial", "sharded virtual adversarial")


def train_kind(kind: str) -> Found:
    """Train a network in one of several ways, each of which has the same loss on any ranks."""
    train, val = examples()
    data: TrainingData = train
    model: nn.Module = PartlyUsed() if kind == "unused parameters" else network()
    settings: dict[str, dict[str, object]] = {
        "plain": {},
        "accumulation": {"gradient_accumulation_steps": 3, "batch_size": 16},
        "class weights": {"class_weights": "balanced"},
        "unused parameters": {},
        "averaging": {"averaging": AveragingConfig(decay=0.9)},
        "loader": {},
        "clipping": {"clip_grad_norm": 0.1},
        "augmented": {},
        "model": {},
        "synchronized": {
            "sync_batch_norm": True,
            "averaging": AveragingConfig(decay=0.9),
            # Adam divides the rounding of the gradient of a bias before batch norm by itself
            "optimizer": OptimizerConfig(name="sgd", lr=0.05),
        },
        "sharded": {
            "sharding": True,
            "gradient_accumulation_steps": 3,
            "batch_size": 16,
            "clip_grad_norm": 0.1,
            "averaging": AveragingConfig(decay=0.9),
            "restore_best": True,
        },
        "sharded model": {"sharding": True, "class_weights": "balanced"},
        # Adam divides the rounding of the gradient of the bias of the keys by itself
        "sharded attention": {
            "sharding": True,
            "optimizer": OptimizerConfig(name="sgd", lr=0.05, fused=False),
        },
        "virtual adversarial": {"batch_size": 40, "drop_last": True},
        "sharded virtual adversarial": {"batch_size": 40, "drop_last": True, "sharding": True},
    }
    options = {"epochs": 2, "batch_size": 50, "gradients": "autograd", **settings[kind]}
    if kind == "loader":
        dataset = train.as_torch_dataset()
        order = torch.Generator().manual_seed(1)
        data = DataLoader(dataset, batch_size=50, shuffle=True, generator=order)
    if kind == "augmented":  # and read from a file
        images = train.inputs.reshape(-1, 1, 8, 8)
        with tempfile.TemporaryDirectory() as folder:
            path = LabeledTensors(images, train.targets).save(Path(folder) / "train.safetensors")
            pictures = LabeledTensors.open(path)
        data = pictures.batches(50, augment=RandomAffine(degrees=10.0))
        val = LabeledTensors(val.inputs.reshape(-1, 1, 8, 8), val.targets)
        model = nn.Sequential(nn.Flatten(), network())
    if kind == "synchronized":
        model = network(norm="batch")
    if kind == "sharded attention":
        model = Attentive()
    if kind in ("model", "sharded model"):
        generator = torch.Generator().manual_seed(0)
        model = SoftmaxClassifier.for_data(
            train, (16,), MLPOptions(dropout=0.0), generator=generator
        )
    config = TrainerConfig(progress=False, **options)  # type: ignore[arg-type]  # of the kind
    objective = VirtualAdversarial() if kind in RANDOM_KINDS else None
    return found(Trainer(model, config, objective=objective), data, val)


def train_kinds() -> dict[str, Found]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "FSDP2-wrapped module")
        return {kind: train_kind(kind) for kind in (*KINDS, *RANDOM_KINDS)}


def found(
    trainer: Trainer, data: TrainingData, val: TrainingData, *, resume: str | None = None
) -> Found:
    """Fit, and return what this process has then."""
    result = trainer.fit(data, val, resume=resume)
    timed = ("seconds", "examples_per_second")
    rows = [
        {name: value for name, value in row.to_dict().items() if name not in timed}
        for row in result.history
    ]
    tensors = {**trainer.model.state_dict(), **dict(trainer.model.named_buffers())}
    weights = {name: value.clone() for name, value in tensors.items()}
    state = result.state
    if not dist.is_initialized() or dist.get_rank() == 0:  # one process alone
        loss = trainer.evaluate(val).loss
        is_last = not trainer.config.restore_best
        assert not is_last or math.isclose(loss, rows[-1]["val_loss"] or 0.0, rel_tol=1e-4)
    return Found(weights, rows, result.stop_reason, state.step, state.examples)


class PredictEachEpoch(Callback):
    """Predicts with the averaged weights during the run."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs
        self.found: list[Tensor] = []

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        self.found.append(trainer.predict_proba(self.inputs))


def find_lr_and_predict(*, sharding: bool) -> list[Tensor]:
    """Return the losses of a range test, and predictions at the end of each epoch of a run."""
    train, val = examples()
    callback = PredictEachEpoch(val.inputs)
    config = TrainerConfig(
        epochs=2,
        batch_size=50,
        averaging=AveragingConfig(decay=0.9),
        sharding=sharding,
        progress=False,
    )
    trainer = Trainer(network(), config, callbacks=[callback])
    sizes: list[int] = []
    handle = trainer.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    losses = trainer.find_lr(train, low=1e-3, steps=10).losses
    handle.remove()
    assert max(sizes) == 50 / trainer.world_size
    trainer.fit(train)
    return [torch.tensor(losses), *callback.found]


def find_lr_and_predict_with_and_without_shards() -> list[Tensor]:
    return [*find_lr_and_predict(sharding=False), *find_lr_and_predict(sharding=True)]


class StopAt(Callback):
    """Stops the run at a step, or sends its process a signal, on one process alone."""

    def __init__(self, step: int, *, rank: int, signum: int | None = None) -> None:
        self.step = step
        self.rank = rank
        self.signum = signum

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        if step.step + 1 != self.step or dist.get_rank() != self.rank:
            return
        if self.signum is None:
            trainer.stop()
        else:
            os.kill(os.getpid(), self.signum)


def train_with_dropout(
    folder: Path | None = None,
    stop: StopAt | None = None,
    *,
    resume: bool = False,
    max_seconds: float | None = None,
    sharding: bool = False,
) -> Found:
    """Train with dropout and batch norm, whose masks and statistics are those of a process."""
    train, val = examples(200)
    generator = torch.Generator().manual_seed(0)
    model = MLP(64, (16,), 10, dropout=0.3, norm="batch", generator=generator)
    checkpoints = None if folder is None else CheckpointConfig(folder=folder / "run")
    config = TrainerConfig(
        epochs=3,
        batch_size=40,
        progress=False,
        checkpoints=checkpoints,
        max_seconds=max_seconds,
        sharding=sharding,
    )
    callbacks: list[Callback] = [] if stop is None else [stop]
    if folder is not None:
        rank = dist.get_rank() if dist.is_initialized() else 0
        callbacks.append(CSVLogger(folder / f"history-{rank}.csv"))
    trainer = Trainer(model, config, callbacks=callbacks)
    return found(trainer, train, val, resume="auto" if resume else None)


def train_twice() -> tuple[Found, Found]:
    return train_with_dropout(), train_with_dropout()


def train_and_resume(folder: Path) -> tuple[Found, Found, Found]:
    """Return an undisturbed run, one that a process stops, and the latter resumed."""
    whole = train_with_dropout()
    stopped = train_with_dropout(folder, StopAt(7, rank=1))
    return whole, stopped, train_with_dropout(folder, resume=True)


def shard_and_resume(folder: Path) -> tuple[Found, Found, Found, Found]:
    """Return a sharded run, one that is stopped, and that one resumed with and without shards."""
    whole = train_with_dropout(sharding=True)
    stopped = train_with_dropout(folder, StopAt(7, rank=1), sharding=True)
    if dist.get_rank() == 0:
        for name in ("alone", "replicated"):
            shutil.copytree(folder / "run", folder / name / "run")
    dist.barrier()
    replicated = train_with_dropout(folder / "replicated", resume=True)
    return whole, stopped, train_with_dropout(folder, resume=True, sharding=True), replicated


def resume_elsewhere(folder: Path) -> Found:
    return train_with_dropout(folder, resume=True)


def stop_by_signal_and_time(folder: Path) -> tuple[str, bool, Found]:
    """Return the error that a signal to the last process raises on this one, and a short run.

    The first process has the shortest time limit.
    """
    short = train_with_dropout(max_seconds=1e-6 if dist.get_rank() == 0 else 1e6)
    try:
        train_with_dropout(folder, StopAt(4, rank=dist.get_world_size() - 1, signum=signal.SIGTERM))
    except TrainingInterrupted as error:
        return str(error), error.checkpoint is not None and error.checkpoint.exists(), short
    raise AssertionError("the signal did not arrive")
