"""A checkpoint is opened without its run, in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import differences, everything, examples, network, train

from mlpkit import MLP
from mlpkit._serialization import from_dict
from mlpkit.errors import CheckpointCorruptError, CheckpointError
from mlpkit.nn import MLPConfig
from mlpkit.training import (
    AveragingConfig,
    CheckpointConfig,
    Trainer,
    TrainerConfig,
    load_checkpoint,
)

IN_A_NEW_PROCESS = """
import sys, torch
from mlpkit.training import load_checkpoint
checkpoint = load_checkpoint(sys.argv[1])
torch.save(checkpoint.model_state, sys.argv[2])
print(checkpoint.history.to_json(), end="")
"""


def test_a_new_process_reads_weights_and_history(tmp_path: Path) -> None:
    trainer, result = train(replace(everything(tmp_path), averaging=None))
    run = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS, str(tmp_path / "last.pt"), str(tmp_path / "w")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.stdout == result.history.to_json()
    weights = torch.load(tmp_path / "w", weights_only=True)
    assert differences(weights, trainer.model.state_dict()) == []


def test_what_it_holds(tmp_path: Path) -> None:
    trainer, result = train(everything(tmp_path))
    found = load_checkpoint(str(tmp_path / "last.pt"))
    assert (found.path, found.best_state, found.model_config) == (tmp_path / "last.pt", None, None)
    assert found.history == result.history
    clock = {"seconds": found.state.seconds}
    assert found.state == replace(result.state, **clock)  # type: ignore[arg-type]
    assert found.config.to_dict() == replace(trainer.config, checkpoints=None).to_dict()
    assert found.versions["torch"] == str(torch.__version__)
    assert repr(found).endswith("last.pt', epoch=4, step=12)")


def test_the_weights_are_the_averaged_ones(tmp_path: Path) -> None:
    """Those of the latest step are beside them; the average has more precision than the model."""
    trainer, _ = train(everything(tmp_path))
    found = load_checkpoint(tmp_path / "last.pt")
    for name, value in trainer.model.named_parameters():  # fit leaves the averaged ones
        assert torch.equal(found.model_state[name], value)
        assert not torch.equal(found.trained_state[name], value)
    halved = {name: value.bfloat16() for name, value in found.trained_state.items()}
    half = replace(found, trained_state=halved)
    assert {value.dtype for value in half.model_state.values()} == {torch.bfloat16}


def test_the_configuration_builds_the_model(tmp_path: Path) -> None:
    model = MLP(6, (5,), 3, activation="tanh")
    config = TrainerConfig(epochs=1, checkpoints=CheckpointConfig(folder=tmp_path), progress=False)
    Trainer(model, config).fit(examples())
    found = load_checkpoint(tmp_path / "last.pt")
    assert found.model_config is not None
    again = MLP.from_config(from_dict(MLPConfig, found.model_config))
    again.load_state_dict(found.model_state)
    assert torch.equal(again(examples().inputs), model(examples().inputs))


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "a.pt")
    with pytest.raises(CheckpointCorruptError, match=r"a\.pt must"):
        load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"b\.pt could not be read"):
        load_checkpoint(tmp_path / "b.pt")


def test_the_best_average_needs_no_setting(tmp_path: Path) -> None:
    """In a new process the settings of the trainer may be others than those of the run."""
    checkpoints = CheckpointConfig(folder=tmp_path)
    config = TrainerConfig(
        epochs=2,
        batch_size=8,
        averaging=AveragingConfig(decay=0.9),
        checkpoints=checkpoints,
        progress=False,
    )
    Trainer(network(), config).fit(examples(), examples(20, seed=1))
    fresh = Trainer(network(), TrainerConfig(checkpoints=checkpoints))
    fresh.load_best()
    expected = load_checkpoint(checkpoints.best).model_state
    for name, value in fresh.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
