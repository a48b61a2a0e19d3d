"""A training that was stopped and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from tests.training.scenario import differences, everything, examples, network, streamed, train
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlpkit._serialization import Saved
from mlpkit.errors import ResumeMismatchError
from mlpkit.training import (
    BatchLike,
    Callback,
    CheckpointConfig,
    EarlyStopping,
    Monitor,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
)
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.checkpoints._file_format import write_checkpoint

ROOT = Path(__file__).parents[2]
STEPS = 12  # four epochs of three windows


class Stopped(Exception):  # noqa: N818
    """What the test stops a training with."""


class StopAfter(Callback):
    """Stops a training like a kill would: nothing is saved on the way out."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
        if step.step + 1 == self.step:
            raise Stopped


def stopped_and_resumed(
    config: TrainerConfig, step: int, change: Callable[[dict[str, Saved]], object] | None = None
) -> dict[str, Saved]:
    """Return the last checkpoint of a training that was stopped and went on."""
    assert config.checkpoints is not None
    last = config.checkpoints.last
    with pytest.raises(Stopped):
        train(config, callbacks=[StopAfter(step + 1)])
    if change is not None:
        content = read_checkpoint(last)
        change(content)
        write_checkpoint(last, content)
    torch.rand(7)  # whatever else happens in the process
    train(config, resume="auto")
    return read_checkpoint(last)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """The last checkpoint of the training that nobody stopped."""
    folder = tmp_path_factory.mktemp("reference")
    train(everything(folder, restore_best=True))
    return read_checkpoint(folder / "last.pt")


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 7, 11])
def test_resume_is_exact_at_every_kind_of_step(
    reference: dict[str, Saved], tmp_path: Path, step: int
) -> None:
    """First step, mid-epoch, last window, first of the next epoch, last step but one."""
    assert (
        differences(reference, stopped_and_resumed(everything(tmp_path, restore_best=True), step))
        == []
    )


@pytest.fixture(scope="module")
def stream_reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """The last checkpoint of the training on a stream that nobody stopped."""
    folder = tmp_path_factory.mktemp("stream")
    train(streamed(everything(folder, restore_best=True)))
    return read_checkpoint(folder / "last.pt")


@pytest.mark.parametrize("step", [1, 3, 4, 8, 10])
def test_resume_of_a_stream_is_exact_at_every_kind_of_step(
    stream_reference: dict[str, Saved], tmp_path: Path, step: int
) -> None:
    """First step, end of an epoch, within and after a pass, last step but one."""
    config = streamed(everything(tmp_path, restore_best=True))
    assert differences(stream_reference, stopped_and_resumed(config, step)) == []


PLAIN = TrainerConfig(
    epochs=4,
    batch_size=8,
    optimizer=OptimizerConfig(name="sgd", lr=0.1),
    schedule=Schedule(),
    progress=False,
)


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        replace(PLAIN, optimizer=OptimizerConfig(name="sgd", lr=0.1, nesterov=True)),
        replace(PLAIN, optimizer=OptimizerConfig(name="adamw", lr=0.01, fused=False)),
        replace(PLAIN, optimizer=OptimizerConfig(name="muon", lr=0.01)),
        replace(PLAIN, optimizer=OptimizerConfig(name="adam", lr=0.01)),
        replace(PLAIN, optimizer=OptimizerConfig(name="rmsprop", lr=0.01, momentum=0.5)),
        replace(PLAIN, precision="bf16"),
        replace(PLAIN, precision="fp16"),
        replace(PLAIN, mixup=0.3),
        replace(PLAIN, deterministic=True),
        replace(PLAIN, schedule=Schedule(kind="cosine", warmup_steps=5)),
        replace(
            PLAIN,
            monitor=Monitor("val_margin", "max"),
            early_stopping=EarlyStopping(patience=1000),
        ),
    ],
    ids=[
        *("sgd", "nesterov", "adamw", "muon", "adam", "rmsprop"),
        *("bf16", "fp16", "mixup", "deterministic", "cosine", "monitor"),
    ],
)
def test_resume_is_exact_with(config: TrainerConfig, tmp_path: Path) -> None:
    """Each optimizer, precision and schedule, resumed in mid-epoch."""
    alone = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "a", every_steps=1))
    train(alone)
    other = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "b", every_steps=1))
    resumed = stopped_and_resumed(other, 13)
    assert differences(read_checkpoint(tmp_path / "a" / "last.pt"), resumed) == []


@pytest.mark.parametrize("step", [1, 2, 5])
def test_resume_of_lbfgs_is_exact(tmp_path: Path, step: int) -> None:
    """With dropout and batch norm, an average, and accumulation; before and after the history."""
    config = replace(
        everything(tmp_path / "a", epochs=6),
        batch_size=32,
        gradient_accumulation_steps=2,
        optimizer=OptimizerConfig(name="lbfgs", max_iter=4, history_size=3, weight_decay=0.01),
        schedule=None,
        momentum_schedule=None,
        clip_grad_norm=None,
    )
    train(config)
    alone = read_checkpoint(tmp_path / "a" / "last.pt")
    folder = CheckpointConfig(folder=tmp_path / "b", every_steps=1)
    resumed = stopped_and_resumed(replace(config, checkpoints=folder), step)
    assert differences(alone, resumed) == []
    state = cast("dict[str, dict[int, dict[str, list[Tensor]]]]", alone["optimizer"])["state"]
    assert len(state[0]["old_dirs"]) == 3


class Requiring(torch.optim.SGD):
    """An optimizer of a user whose step needs the closure."""

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        return float(super().step(closure))


REFUSED = {
    "LBFGS": r"whose step can be called without a closure, got LBFGS; .*name=.lbfgs.",
    "Requiring": r"whose step can be called without a closure, got Requiring; ",
    "SparseAdam": r"one for dense gradients, got SparseAdam; .*name=.adam.",
}
EVERY: list[type[torch.optim.Optimizer]] = [
    found
    for found in vars(torch.optim).values()
    if isinstance(found, type)
    and issubclass(found, torch.optim.Optimizer)
    and found is not torch.optim.Optimizer
]


@pytest.mark.parametrize("kind", [*EVERY, Requiring], ids=lambda kind: kind.__name__)
def test_every_optimizer_of_torch_resumes_exactly_or_is_refused(
    kind: type[torch.optim.Optimizer], tmp_path: Path
) -> None:
    bias = kind.__name__ != "Muon"  # which takes only matrices

    def fit(folder: str, resume: str | None, *callbacks: Callback) -> dict[str, Saved]:
        checkpoints = CheckpointConfig(folder=tmp_path / folder, every_steps=1)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias))
        config = replace(PLAIN, checkpoints=checkpoints, epochs=2)
        build = cast("Callable[..., torch.optim.Optimizer]", kind)
        if kind in (torch.optim.SGD, Requiring):
            build = functools.partial(build, lr=0.1, momentum=0.9)
        trainer = Trainer(model, config, optimizer=build, callbacks=callbacks)
        trainer.fit(examples(), resume=resume)
        return read_checkpoint(checkpoints.last)

    if kind.__name__ in REFUSED:
        with pytest.raises(ValueError, match=f"optimizer must be .*{REFUSED[kind.__name__]}"):
            fit("a", None)
        return
    alone = fit("a", None)
    with pytest.raises(Stopped):
        fit("b", None, StopAfter(11))
    assert differences(alone, fit("b", "auto")) == []


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_resume_of_a_shuffled_loader_is_exact(tmp_path: Path, workers: int) -> None:
    """A DataLoader's order is made a function of seed and epoch, whatever was drawn before."""
    data = examples()

    def fit(name: str, resume: str | None, callbacks: list[Callback]) -> dict[str, Saved]:
        folder = CheckpointConfig(folder=tmp_path / name, every_steps=1)
        loader = DataLoader(
            TensorDataset(data.inputs, data.targets), 8, shuffle=True, num_workers=workers
        )
        trainer = Trainer(network(), replace(PLAIN, checkpoints=folder), callbacks=callbacks)
        trainer.fit(loader, resume=resume)
        return read_checkpoint(folder.last)

    alone = fit("a", None, [])
    with pytest.raises(Stopped):
        fit("b", None, [StopAfter(13)])
    torch.rand(7)
    assert differences(alone, fit("b", "auto", [])) == []


def drop_position(content: dict[str, Saved]) -> None:
    """Start the epoch again, whose first step makes one step more in total then."""
    cast("dict[str, Saved]", content["state"])["batch"] = 0
    content["total_steps"] = cast("int", content["total_steps"]) + 1


def drop_generator(content: dict[str, Saved]) -> None:
    """Give the dropout other numbers."""
    cast("dict[str, Saved]", content["rng"])["cpu"] = torch.Generator().manual_seed(5).get_state()


def drop_optimizer(content: dict[str, Saved]) -> None:
    """Forget the moments."""
    state = cast("dict[str, dict[int, dict[str, torch.Tensor]]]", content["optimizer"])["state"]
    for tensors in state.values():
        for tensor in tensors.values():
            tensor.zero_()


def drop_average(content: dict[str, Saved]) -> None:
    """Begin the average anew."""
    cast("dict[str, Saved]", content["average"])["num_averaged"] = 0


def drop_meter(content: dict[str, Saved]) -> None:
    """Forget the losses of the epoch so far."""
    content["meter"] = [0.0, 0.0, 0.0, 0.0]


def drop_step(content: dict[str, Saved]) -> None:
    """Go back on the schedule."""
    cast("dict[str, Saved]", content["state"])["step"] = 0


def drop_stream(content: dict[str, Saved]) -> None:
    """Give the stream the random numbers of its first batch."""
    other = torch.Generator().manual_seed(5).get_state()
    cast("dict[str, Saved]", content["source"])["random"] = other


def test_a_resume_without_the_state_of_a_stream_would_be_noticed(
    stream_reference: dict[str, Saved], tmp_path: Path
) -> None:
    config = streamed(everything(tmp_path, restore_best=True))
    assert differences(stream_reference, stopped_and_resumed(config, 4, drop_stream))


def drop_plateau(content: dict[str, Saved]) -> None:
    """Go back to the rate from before the reduction."""
    cast("dict[str, Saved]", content["state"])["lr_ratio"] = 1.0


def test_a_resume_without_the_reduced_rate_would_be_noticed(
    reference: dict[str, Saved], tmp_path: Path
) -> None:
    state = cast("dict[str, float]", reference["state"])
    assert (state["lr_ratio"], state["lr_cooldown"]) == (0.25, 1)
    config = everything(tmp_path, restore_best=True)
    assert differences(reference, stopped_and_resumed(config, 8, drop_plateau))


@pytest.mark.parametrize(
    "change",
    [drop_position, drop_generator, drop_optimizer, drop_average, drop_meter, drop_step],
)
def test_a_resume_without_any_part_would_be_noticed(
    reference: dict[str, Saved], tmp_path: Path, change: Callable[[dict[str, Saved]], object]
) -> None:
    """Negative controls: the comparison sees what each part of a checkpoint is for."""
    assert differences(
        reference, stopped_and_resumed(everything(tmp_path, restore_best=True), 4, change)
    )


def test_the_best_weights_of_an_earlier_epoch_come_back(tmp_path: Path) -> None:
    """The first epoch is the best, since it has the largest loss; a lack of it is noticed."""
    config = replace(PLAIN, restore_best=True, monitor=Monitor("val_loss", "max"))
    alone = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "a", every_steps=1))
    model = train(alone)[0].model.state_dict()
    content = read_checkpoint(tmp_path / "a" / "last.pt")
    assert cast("dict[str, int]", content["state"])["best_epoch"] == 0
    assert differences(content["best"], model) == []
    other = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "b", every_steps=1))
    assert differences(content, stopped_and_resumed(other, 13)) == []
    other = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "c", every_steps=1))
    without = stopped_and_resumed(other, 13, lambda saved: saved.update(best=None))
    assert [name.split(":")[0] for name in differences(content, without)] == [".best"]


def test_a_finished_training_has_nothing_left_to_do(tmp_path: Path) -> None:
    """Resumed at its end it trains no step, and the model is what it was."""
    first, _ = train(everything(tmp_path, restore_best=True))
    second, result = train(everything(tmp_path, restore_best=True), resume="auto")
    assert result.stop_reason == "completed"
    assert result.state.step == STEPS
    assert differences(first.model.state_dict(), second.model.state_dict()) == []


def test_a_kill_between_best_and_last_is_no_dead_end(
    reference: dict[str, Saved], tmp_path: Path
) -> None:
    """With the first best checkpoint there and no last one yet, it goes on from the best."""

    class StopAtBest(Callback):
        def on_checkpoint(self, trainer: Trainer, path: Path) -> None:  # noqa: ARG002
            if path.name == "best.pt":
                raise Stopped

    config = everything(tmp_path, every_steps=1000, restore_best=True)
    with pytest.raises(Stopped):
        train(config, callbacks=[StopAtBest()])
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]
    train(config, resume="auto")
    assert differences(reference, read_checkpoint(tmp_path / "last.pt")) == []


def test_the_loss_scale_of_fp16_comes_back(tmp_path: Path) -> None:
    """Huge losses overflow until the scale is small; a resume must not begin that again."""

    def huge(model: nn.Module, batch: BatchLike) -> Tensor:
        return 1e3 * F.cross_entropy(model(batch.inputs), batch.targets, reduction="none")

    def fit(name: str, resume: str | None, callbacks: list[Callback]) -> dict[str, Saved]:
        folder = CheckpointConfig(folder=tmp_path / name, every_steps=1)
        slow = OptimizerConfig(name="sgd", lr=1e-5)
        config = replace(PLAIN, precision="fp16", optimizer=slow, checkpoints=folder)
        trainer = Trainer(network(), config, objective=huge, callbacks=callbacks)
        trainer.fit(examples(), resume=resume)
        return read_checkpoint(folder.last)

    alone = fit("a", None, [])
    assert cast("dict[str, float]", alone["scaler"])["scale"] < 2.0**16
    with pytest.raises(Stopped):
        fit("b", None, [StopAfter(13)])
    assert differences(alone, fit("b", "auto", [])) == []


def test_more_epochs_go_on_where_the_schedule_allows_it(tmp_path: Path) -> None:
    """With a constant rate two epochs and then two more are four."""
    config = replace(PLAIN, checkpoints=CheckpointConfig(folder=tmp_path / "a"))
    train(config)
    other = replace(PLAIN, checkpoints=CheckpointConfig(folder=tmp_path / "b"))
    train(replace(other, epochs=2))
    train(other, resume="auto")
    found = differences(
        read_checkpoint(tmp_path / "a" / "last.pt"), read_checkpoint(tmp_path / "b" / "last.pt")
    )
    assert found == []


@pytest.mark.parametrize("first", [3, 5, 8, 16])
def test_more_steps_continue_where_the_schedule_allows_it(first: int, tmp_path: Path) -> None:
    """With a constant rate ``first`` steps and then the others are all steps, if none is skipped.

    An epoch has eight steps. After 8 and 16 it is complete; after 3 and 5 the limit has cut it
    short, and the steps that it lacks would never be made.
    """
    config = replace(PLAIN, epochs=None, max_steps=20)
    train(replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "a")))
    other = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "b"))
    train(replace(other, max_steps=first))
    if first % 8:
        with pytest.raises(ResumeMismatchError, match=rf"config\.max_steps: saved {first}, now 20"):
            train(other, resume="auto")
        return
    train(other, resume="auto")
    found = differences(
        read_checkpoint(tmp_path / "a" / "last.pt"), read_checkpoint(tmp_path / "b" / "last.pt")
    )
    assert found == []


@pytest.mark.parametrize("limit", [10, 12])
def test_a_limit_of_steps_may_be_raised_or_lowered_during_the_run(
    limit: int, tmp_path: Path
) -> None:
    """A run that is stopped after ten steps ends where one with the new limit does."""
    config = replace(PLAIN, max_steps=limit)
    train(replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "a")))
    other = replace(config, checkpoints=CheckpointConfig(folder=tmp_path / "b", every_steps=1))
    with pytest.raises(Stopped):
        train(replace(other, max_steps=20), callbacks=[StopAfter(11)])
    train(other, resume="auto")
    found = differences(
        read_checkpoint(tmp_path / "a" / "last.pt"), read_checkpoint(tmp_path / "b" / "last.pt")
    )
    assert found == []


def test_a_limit_below_the_steps_that_were_made_ends_the_run(tmp_path: Path) -> None:
    config = replace(PLAIN, checkpoints=CheckpointConfig(folder=tmp_path, every_steps=1))
    with pytest.raises(Stopped):
        train(config, callbacks=[StopAfter(12)])
    _, result = train(replace(config, max_steps=9), resume="auto")
    assert result.stop_reason == "completed"
    assert result.state.step == 11
    assert result.history[-1].val_loss is not None


def test_the_metrics_of_the_training_examples_may_change(tmp_path: Path) -> None:
    """They change no step: the column begins or ends where the run was resumed."""
    config = replace(PLAIN, checkpoints=CheckpointConfig(folder=tmp_path))
    train(replace(config, epochs=2))
    _, result = train(replace(config, epochs=3, train_metrics=True), resume="auto")
    assert [row.train_accuracy is None for row in result.history] == [True, True, False]
    _, result = train(config, resume="auto")
    assert result.history[-1].train_accuracy is None


def test_a_monitor_with_its_own_direction_is_the_same(tmp_path: Path) -> None:
    """The direction of a column of the library is known; another direction is a difference."""
    config = replace(PLAIN, checkpoints=CheckpointConfig(folder=tmp_path))
    train(replace(config, epochs=2))
    train(replace(config, epochs=3, monitor=Monitor("val_loss", "min")), resume="auto")
    train(config, resume="auto")
    with pytest.raises(ResumeMismatchError, match=r"config\.monitor: saved 'val_loss:min'"):
        train(replace(config, monitor=Monitor("val_loss", "max")), resume="auto")


FRESH = "from tests.training.scenario import main; main()"


def run_python(*arguments: str) -> subprocess.Popen[str]:
    """Start a Python of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    ("storm", "kills"),
    [
        ("resume", 20),
        pytest.param("resume", 400, marks=pytest.mark.long),
        pytest.param("stream", 400, marks=pytest.mark.long),
    ],
)
def test_kills_at_random_moments_change_nothing(tmp_path: Path, storm: str, kills: int) -> None:
    """SIGKILL, resume, SIGKILL, resume: the end is that of the training left alone."""
    process = run_python(
        "-m",
        "tests.training.stress_test",
        storm,
        str(tmp_path),
        os.environ.get("MLPKIT_KILLS", str(kills)) if kills > 20 else str(kills),
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    report = json.loads(output.splitlines()[-1])
    assert report["kills"] >= kills or "MLPKIT_KILLS" in os.environ
    assert report["distinct_checkpoints"] > 5
    print(report)


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_fresh_processes_resume_exactly(tmp_path: Path, killed: bool) -> None:
    """A new interpreter resumes a run that was stopped or killed: nothing lives on in a process."""
    alone = tmp_path / "alone"
    train(everything(alone, epochs=15, restore_best=True))
    last = tmp_path / "first" / "last.pt"
    if killed:
        process = run_python("-c", FRESH, str(last.parent), "15")
        while process.poll() is None and not last.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    else:
        with pytest.raises(Stopped):
            train(everything(last.parent, epochs=15, restore_best=True), callbacks=[StopAfter(20)])
    process = run_python("-c", FRESH, str(last.parent), "15")
    process.communicate()
    assert process.returncode == 0
    assert differences(read_checkpoint(alone / "last.pt"), read_checkpoint(last)) == []
