"""Fixtures for the tests of the commands: a runner for command lines, and trained models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mlpkit.cli import _main as main
from mlpkit.data import digits
from mlpkit.models import SoftmaxClassifier
from mlpkit.training import OptimizerConfig, Trainer, TrainerConfig


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs arguments of `mlpkit` and returns the exit code.

    It runs in the folder of the test and offline. It is faster than a separate process, which would
    import torch again.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MLPKIT_OFFLINE", "1")

    def run(*words: str) -> int:
        try:
            return main.run(words)
        except SystemExit as end:  # raised by tyro
            return int(end.code or 0)

    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a classifier of the 8x8 digits whose test accuracy is at least 95 %."""
    splits = digits()
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxClassifier.for_data(splits.train, (64,), generator=generator)
    config = TrainerConfig(epochs=12, batch_size=64, optimizer=OptimizerConfig(lr=3e-3))
    Trainer(model, config).fit(splits.train)
    folder = tmp_path_factory.mktemp("runs") / "digits"
    model.save(folder / "model")
    (folder / "config.toml").write_text("")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `mlpkit train` with one epoch, with an image of a digit, digit.png."""
    folder = tmp_path_factory.mktemp("trained")
    words = ("train", "--epochs", "1", "--hidden-features", "16", "--runs", str(folder))
    assert main.run(words) == 0
    (path,) = folder.iterdir()
    ink = Image.fromarray(255 - 15 * digits().test.inputs[0].numpy()).resize((80, 80))
    image = Image.new("L", (160, 160), 255)
    image.paste(ink, (40, 40))
    image.save(path / "digit.png")
    return path
