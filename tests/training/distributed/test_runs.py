"""One run of several processes: one folder, one checkpoint, one end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.training.distributed.processes import run_ranks
from tests.training.distributed.runs import (
    Found,
    find_lr_and_predict,
    find_lr_and_predict_with_and_without_shards,
    resume_elsewhere,
    shard_and_resume,
    stop_by_signal_and_time,
    train_and_resume,
)

pytestmark = pytest.mark.distributed


def check_equal(found: Found, expected: Found) -> None:
    assert found.history == expected.history
    assert all(torch.equal(found.weights[n], value) for n, value in expected.weights.items())


def test_a_run_that_one_process_stops_resumes_with_the_same_bits(tmp_path: Path) -> None:
    """Stopped within an epoch; every process has its dropout masks and its place back."""
    for whole, stopped, resumed in run_ranks(train_and_resume, 2, tmp_path):
        assert (stopped.stop_reason, stopped.steps) == ("callback", 7)
        check_equal(resumed, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history-0.csv", "run"]


def test_a_signal_or_a_clock_of_one_process_stops_all_and_any_number_resumes(
    tmp_path: Path,
) -> None:
    """After the same step, with a checkpoint, from which one and three processes continue."""
    for text, is_saved, short in run_ranks(stop_by_signal_and_time, 2, tmp_path):
        assert "signal 15" in text
        assert is_saved
        assert (short.stop_reason, short.steps) == ("time", 1)
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "run", alone / "run")
    for found in (resume_elsewhere(alone), *run_ranks(resume_elsewhere, 3, tmp_path)):
        assert (found.stop_reason, found.steps, len(found.history)) == ("completed", 15, 3)


def test_a_run_of_shards_resumes_with_and_without_them(tmp_path: Path) -> None:
    """Whole tensors are saved: with shards the same bits, without them the same numbers."""
    for whole, stopped, resumed, replicated in run_ranks(shard_and_resume, 2, tmp_path):
        assert (stopped.stop_reason, stopped.steps) == ("callback", 7)
        check_equal(resumed, whole)
        for name, value in whole.weights.items():
            torch.testing.assert_close(replicated.weights[name], value, rtol=1e-4, atol=1e-5)
    alone = resume_elsewhere(tmp_path / "alone")
    assert (alone.stop_reason, alone.steps, len(alone.history)) == ("completed", 15, 3)


def test_find_lr_and_callbacks_that_predict_work_as_in_one_process() -> None:
    """Also with the average of shards; a range test divides its batches and a copy of the model."""
    expected = 2 * find_lr_and_predict(sharding=False)
    for found in run_ranks(find_lr_and_predict_with_and_without_shards, 2):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
