"""What a checkpoint holds, and that a restored run is the one that was saved."""

from __future__ import annotations

import dataclasses
import platform
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tests.training.scenario import differences, everything, examples, network, noise, train
from torch import Tensor, nn

from mlpkit import MLP
from mlpkit._serialization import JSONValue, Saved
from mlpkit.data import Batches
from mlpkit.errors import CheckpointCorruptError, ResumeMismatchError
from mlpkit.nn import MLPConfig
from mlpkit.training import Callback, CheckpointConfig, Schedule, StepInfo, Trainer, TrainerConfig
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.checkpoints._file_format import write_checkpoint

CONFIG = TrainerConfig(epochs=2, batch_size=8, schedule=Schedule(), progress=False)

KEYS = {
    *("format", "version", "versions", "config", "model_config", "fingerprint", "model", "average"),
    *("best", "source"),
    *("optimizer", "scaler", "total_steps", "state", "meter", "history", "callbacks", "rng"),
    "rng_of_ranks",
}


class Count(Callback):
    """Counts steps, and restores its count."""

    def __init__(self, steps: int = 0) -> None:
        self.steps = steps

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:  # noqa: ARG002
        self.steps += 1

    def state_dict(self) -> dict[str, JSONValue]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        self.steps = cast("int", state["steps"])


class Silent(Callback):
    """Has no state."""


def saved(tmp_path: Path, **changes: object) -> tuple[Trainer, dict[str, Saved]]:
    """Train with everything switched on, and return trainer and checkpoint."""
    config = replace(everything(tmp_path, epochs=2), **changes)  # type: ignore[arg-type]
    trainer, _ = train(config, callbacks=[Count(), Silent(), Count(10)])
    return trainer, read_checkpoint(tmp_path / "last.pt")


def test_what_a_checkpoint_holds(tmp_path: Path) -> None:
    """The names of its parts, and what each of them says."""
    trainer, content = saved(tmp_path)
    assert content.keys() == KEYS
    assert content["versions"] == {
        "mlpkit": version("mlpkit"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    assert content["config"] == replace(trainer.config, checkpoints=None).to_dict()
    assert content["total_steps"] == 6
    state = cast("dict[str, int]", content["state"])
    assert (state["epoch"], state["batch"], state["step"]) == (2, 0, 6)
    assert content["callbacks"] == {"Count": {"steps": 6}, "Count#2": {"steps": 16}}
    assert content["scaler"] is None
    assert content["source"] is None  # of data that have no state
    fingerprint = cast("dict[str, str]", content["fingerprint"])
    assert fingerprint["data.train"] == Batches(examples(), 8, augment=noise).fingerprint
    assert fingerprint["model.3"] == "Dropout(p=0.2, inplace=False)"
    assert fingerprint["model.0.weight"] == "float32 [8, 6]"
    assert differences(content["optimizer"], trainer.optimizer.state_dict()) == []
    assert [row["epoch"] for row in cast("list[dict[str, int]]", content["history"])] == [0, 1]


def test_it_says_nothing_of_the_machine(tmp_path: Path) -> None:
    """The path of the folder is nowhere in the file."""
    saved(tmp_path)
    assert str(tmp_path).encode() not in (tmp_path / "last.pt").read_bytes()


def test_the_configuration_of_a_model_is_saved(tmp_path: Path) -> None:
    """An MLP can be built again from its checkpoint; another module has no configuration."""
    model = MLP(6, (5,), 3, activation="tanh")
    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path))
    Trainer(model, config).fit(examples())
    content = read_checkpoint(tmp_path / "last.pt")
    found = cast("dict[str, object]", content["model_config"])
    again = MLP.from_config(MLPConfig(**found))  # type: ignore[arg-type]  # what it was made of
    again.load_state_dict(cast("dict[str, Tensor]", content["model"]))
    inputs = torch.randn(4, 6)
    assert torch.equal(again(inputs), model(inputs))
    _, other = saved(tmp_path / "other")
    assert other["model_config"] is None


def test_a_restored_run_is_the_one_that_was_saved(tmp_path: Path) -> None:
    """Saved again at once, by a fresh trainer, every number and tensor is the same."""
    config = everything(tmp_path, epochs=2)
    _, content = saved(tmp_path)
    callbacks = [Count(), Silent(), Count()]
    trainer, result = train(config, callbacks=callbacks, resume=tmp_path / "last.pt")
    assert (result.state.step, len(result.history)) == (6, 2)
    assert [one.steps for one in callbacks if isinstance(one, Count)] == [6, 16]
    trainer.save(tmp_path / "again.pt")
    assert differences(content, read_checkpoint(tmp_path / "again.pt")) == []


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    """Whichever it is; the configuration of the model and the best weights are not needed."""
    config = everything(tmp_path, epochs=2)
    train(config)
    content = read_checkpoint(tmp_path / "last.pt")
    path = tmp_path / "part.pt"
    for key in KEYS - {"format", "version", "model_config", "best", "source", "rng_of_ranks"}:
        write_checkpoint(path, {name: one for name, one in content.items() if name != key})
        with pytest.raises(CheckpointCorruptError, match=f"part.pt must hold {key}, got none"):
            train(config, resume=path)
    write_checkpoint(path, {name: one for name, one in content.items() if name != "model_config"})
    train(config, resume=path)


def test_a_mismatch_changes_nothing(tmp_path: Path) -> None:
    """Weights of the model and state of the callbacks are as before the call."""
    train(everything(tmp_path, epochs=2), callbacks=[Count()])
    model, count = network(seed=1), Count(100)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = replace(everything(tmp_path, epochs=2), clip_grad_norm=0.25)
    trainer = Trainer(model, config, callbacks=[count])
    batches = Batches(examples(), 8, augment=noise)
    with pytest.raises(ResumeMismatchError, match=r"clip_grad_norm: saved 0\.5, now 0\.25"):
        trainer.fit(batches, examples(20, seed=1), resume="auto")
    assert differences(before, model.state_dict()) == []
    assert count.steps == 100


def test_a_callback_with_a_state_must_be_there_again(tmp_path: Path) -> None:
    config = everything(tmp_path, epochs=2)
    train(config, callbacks=[Count(), Count()])
    with pytest.raises(ResumeMismatchError) as caught:
        train(config, callbacks=[Count()], resume="auto")
    assert caught.value.differences == {"callbacks.Count#2": ("with a state", "absent")}
    train(config, callbacks=[Count(), Silent(), Count()], resume="auto")


def test_another_torch_is_warned_of(tmp_path: Path) -> None:
    """The run resumes; the warning names both versions and points at the call of fit."""
    config = everything(tmp_path, epochs=2)
    train(config)
    content = read_checkpoint(tmp_path / "last.pt")
    cast("dict[str, str]", content["versions"])["torch"] = "1.0.0"
    write_checkpoint(tmp_path / "last.pt", content)
    batches = Batches(examples(), 8, augment=noise)
    trainer = Trainer(network(), config)
    expected = f"written with torch 1.0.0, resuming with {re.escape(str(torch.__version__))}"
    with pytest.warns(UserWarning, match=expected) as caught:
        trainer.fit(batches, examples(20, seed=1), resume="auto")
    assert [one.filename for one in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(everything(tmp_path / "same", epochs=2))
        train(everything(tmp_path / "same", epochs=2), resume="auto")


def test_the_newest_checkpoint_is_known(tmp_path: Path) -> None:
    """An error names the checkpoint that was written or restored last."""

    class Spoil(Callback):
        def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
            if step.step == 9:
                cast("nn.Linear", trainer.model.get_submodule("0")).weight.data.fill_(torch.nan)

    config = replace(CONFIG, epochs=3, checkpoints=CheckpointConfig(folder=tmp_path))
    Trainer(network(), replace(config, epochs=1)).fit(examples())
    (tmp_path / "last.pt").rename(tmp_path / "first.pt")
    trainer = Trainer(network(), config, callbacks=[Spoil()])
    with pytest.raises(ArithmeticError) as caught:
        trainer.fit(examples(), resume=tmp_path / "first.pt")
    assert caught.value.checkpoint == tmp_path / "first.pt"  # type: ignore[attr-defined]


class NumpyState(Callback):
    """Has a state of NumPy scalars, or of anything else."""

    def __init__(self, state: dict[str, object]) -> None:
        self.state = state
        self.restored: dict[str, object] = {}

    def state_dict(self) -> dict[str, JSONValue]:
        return cast("dict[str, JSONValue]", self.state)

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        self.restored = dict(state)


def test_numpy_scalars_of_a_callback_and_an_optimizer_are_saved_as_plain_values(
    tmp_path: Path,
) -> None:
    """The checkpoint can be read, and the callback gets Python's numbers back."""

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=np.float64(0.1), momentum=np.float64(0.5))

    state: dict[str, object] = {"best": np.float64(0.5), "epoch": np.int64(3), "done": np.bool_(1)}
    config = TrainerConfig(
        epochs=2, progress=False, checkpoints=CheckpointConfig(folder=tmp_path, every_steps=1)
    )
    first, callback = NumpyState(state), NumpyState(state)
    for used, resume in ((first, None), (callback, "auto")):
        trainer = Trainer(network(), config, optimizer=optimizer, callbacks=[used])
        trainer.fit(examples(), resume=resume)
    assert callback.restored == {"best": 0.5, "epoch": 3, "done": True}
    assert [type(value) for value in callback.restored.values()] == [float, int, bool]


def test_a_state_that_cannot_be_saved_is_refused_before_the_first_step(tmp_path: Path) -> None:
    """And only if the run saves checkpoints."""
    callback = NumpyState({"scores": np.zeros(3)})
    config = TrainerConfig(
        epochs=1, progress=False, checkpoints=CheckpointConfig(folder=tmp_path, every_epochs=None)
    )
    trainer = Trainer(network(), config, callbacks=[callback])
    rule = r"^callbacks\.NumpyState\.scores must be a tensor or a plain value in a checkpoint, got "
    with pytest.raises(TypeError, match=rule):
        trainer.fit(examples())
    assert trainer.state.step == 0
    Trainer(network(), dataclasses.replace(config, checkpoints=None), callbacks=[callback]).fit(
        examples()
    )
