"""A checkpoint of something else is refused, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from tests.training.scenario import everything, examples, network, noise, train
from torch import nn

from mlpkit._serialization import Saved
from mlpkit.data import Batches, LabeledTensors
from mlpkit.errors import ResumeMismatchError
from mlpkit.training import (
    CheckpointConfig,
    CrossEntropy,
    OptimizerConfig,
    Schedule,
    Trainer,
    TrainerConfig,
    TrainingData,
)
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.checkpoints._file_format import write_checkpoint
from mlpkit.training.checkpoints._fingerprint import normalize_reprs, run_fingerprint


class TestSomethingElse:
    """Resuming another training is refused, and each field is named, saved and now."""

    def resumed(
        self,
        folder: Path,
        *,
        config: TrainerConfig | None = None,
        model: nn.Module | None = None,
        data: LabeledTensors | None = None,
    ) -> Mapping[str, tuple[str, str]]:
        saved = everything(folder)
        train(saved)
        now = saved if config is None else config
        trainer = Trainer(network() if model is None else model, now)
        batches = Batches(examples() if data is None else data, 8, augment=noise)
        with pytest.raises(ResumeMismatchError, match="resume must continue the same") as caught:
            trainer.fit(batches, examples(20, seed=1), resume=folder / "last.pt")
        for field, (was, is_now) in caught.value.differences.items():
            assert f"{field}: saved {was}, now {is_now}" in str(caught.value)
        return caught.value.differences

    def test_other_data(self, tmp_path: Path) -> None:
        data = examples()
        changed = LabeledTensors(data.inputs + 1e-6, data.targets)
        assert list(self.resumed(tmp_path, data=changed)) == ["data.train"]

    def test_another_batch_size(self, tmp_path: Path) -> None:
        """Oracle: the two sizes. The digest of the order alone would name the data."""
        folder = CheckpointConfig(folder=tmp_path)
        config = TrainerConfig(
            epochs=2, batch_size=8, schedule=Schedule(), checkpoints=folder, progress=False
        )
        Trainer(network(), config).fit(examples())
        changes: list[tuple[TrainerConfig, TrainingData]] = [
            (replace(config, batch_size=16), examples()),
            (config, examples().batches(16)),
        ]
        for settings, data in changes:
            trainer = Trainer(network(), settings)
            message = r"differs in batch_size: saved 8, now 16; data\.train: "
            with pytest.raises(ResumeMismatchError, match=message):
                trainer.fit(data, resume="auto")

    def test_another_model(self, tmp_path: Path) -> None:
        model = network()
        model[3] = nn.Dropout(0.3)
        found = self.resumed(tmp_path, model=model)
        assert found == {
            "model.3": ("Dropout(p=0.2, inplace=False)", "Dropout(p=0.3, inplace=False)")
        }

    def test_another_schedule_length(self, tmp_path: Path) -> None:
        found = self.resumed(tmp_path, config=replace(everything(tmp_path), epochs=5))
        assert found == {"schedule.total_steps": ("12", "15")}

    def test_other_settings(self, tmp_path: Path) -> None:
        config = replace(
            everything(tmp_path), clip_grad_norm=None, optimizer=OptimizerConfig(lr=0.03)
        )
        assert self.resumed(tmp_path, config=config) == {
            "config.clip_grad_norm": ("0.5", "None"),
            "config.optimizer.lr": ("0.02", "0.03"),
            "config.optimizer.weight_decay": ("0.1", "0.0"),
        }


def test_a_setting_newer_than_the_file_has_its_default_there(tmp_path: Path) -> None:
    """A checkpoint that was written before a setting existed still resumes."""
    train(everything(tmp_path, epochs=2))
    content = read_checkpoint(tmp_path / "last.pt")
    config = cast("dict[str, Saved]", content["config"])
    del config["sync_every"], config["mixup"]
    write_checkpoint(tmp_path / "last.pt", content)
    _, result = train(everything(tmp_path, epochs=2), resume="auto")
    assert result.state.step == 6


def test_addresses_are_no_difference() -> None:
    """A module that shows a function in its repr is the same in another process."""

    class Shows(nn.Module):
        def extra_repr(self) -> str:
            return f"function={(lambda: None)}"

    batches = examples().batches(8)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    one, other = (
        run_fingerprint(Shows(), CrossEntropy(), optimizer, batches, None) for _ in range(2)
    )
    assert one == other
    assert " at 0x" not in str(one)


@pytest.mark.parametrize(
    ("saved", "same"),
    [
        ("BatchNorm1d(4, eps=1e-05, momentum=0.1)", True),
        ("BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, novel=7)", True),
        ("BatchNorm1d(4, eps=0.001, momentum=0.1)", False),
        ("BatchNorm1d(5, eps=1e-05, momentum=0.1)", False),
        ("LayerNorm(4, eps=1e-05, momentum=0.1)", False),
    ],
)
def test_another_torch_may_word_its_own_modules_otherwise(saved: str, same: bool) -> None:
    """Options that only one of the two shows do not count; every other difference does."""
    model = nn.Sequential(nn.BatchNorm1d(4))
    now = {"model.0": f"BatchNorm1d({model[0].extra_repr()})"}
    assert (normalize_reprs({"model.0": saved}, now, model) == now) is same


def test_own_modules_keep_their_words() -> None:
    """Only torch's classes are torch's to reword."""

    class Own(nn.Module):
        pass

    saved, now = {"model.0": "Own(a=1)"}, {"model.0": "Own(a=1, b=2)"}
    assert normalize_reprs(saved, now, nn.Sequential(Own())) == saved
