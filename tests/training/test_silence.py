"""A run without progress writes nothing to the terminal; its messages are warnings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import everything, examples, network

from mlpkit.training import CSVLogger, Trainer, fit_many


def test_a_run_without_progress_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also in the file descriptors, with each option of the scenario."""
    config = everything(tmp_path / "run", epochs=2, restore_best=True)
    trainer = Trainer(network(), config, callbacks=[CSVLogger(tmp_path / "history.csv")])
    trainer.fit(examples(), examples(20, seed=1))
    trainer.fit(examples(), examples(20, seed=1), resume="auto")
    trainer.load_best()
    trainer.evaluate(examples())
    trainer.predict_proba(torch.zeros(2, 6))
    trainer.find_lr(examples(), high=100.0, steps=20)
    together = replace(config, checkpoints=None, early_stopping=None, reduce_lr_on_plateau=None)
    fit_many([network(0), network(1)], examples(), examples(20, seed=1), config=together)
    assert capfd.readouterr() == ("", "")


def test_with_progress_it_writes(capfd: pytest.CaptureFixture[str]) -> None:
    """The test above can fail."""
    config = replace(everything(None, epochs=1), progress=True)
    Trainer(network(), config).fit(examples(), examples(20, seed=1))
    assert "epoch 1" in capfd.readouterr().err
