"""What the tests of the commands share: a command line run in this process, and a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlpkit.cli import _main as main
from mlpkit.data import digits
from mlpkit.models._softmax_classifier import SoftmaxClassifier
from mlpkit.training import OptimizerConfig, Trainer, TrainerConfig


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run words after `mlpkit` in the test's folder, without a network, and return the exit code.

    Much faster than another process, which would import torch again.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MLPKIT_OFFLINE", "1")

    def run(*words: str) -> int:
        try:
            return main.run(words)
        except SystemExit as end:  # tyro's way out
            return int(end.code or 0)

    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run: a classifier of the 8x8 digits with 95 % and more on the test set."""
    splits = digits()
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxClassifier.for_data(splits.train, (64,), generator=generator)
    config = TrainerConfig(epochs=12, batch_size=64, optimizer=OptimizerConfig(lr=3e-3))
    Trainer(model, config).fit(splits.train)
    folder = tmp_path_factory.mktemp("runs") / "digits"
    model.save(folder / "model")
    (folder / "config.toml").write_text("")
    return folder
