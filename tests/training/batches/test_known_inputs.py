"""Inputs that are known before the first batch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import DataLoader

from mlpkit.data import LabeledTensors
from mlpkit.training.batches import known_inputs


def test_inputs_in_memory_are_all_known() -> None:
    data = LabeledTensors(torch.rand(5, 2), torch.zeros(5))
    assert known_inputs(data) is data.inputs
    assert known_inputs(data.batches(2)) is data.inputs
    assert known_inputs(DataLoader(data.as_torch_dataset())) is None


def test_of_inputs_in_a_file_some_are_read(tmp_path: Path) -> None:
    data = LabeledTensors(torch.arange(5_000.0).unsqueeze(1), torch.zeros(5_000))
    mapped = LabeledTensors.open(data.save(tmp_path / "x"))
    for found, rows in (
        (known_inputs(mapped), torch.arange(5_000)[::5]),
        (known_inputs(mapped.subset([7, 3, 9]).batches(2)), torch.tensor([7, 3, 9])),
        (known_inputs(mapped[:0]), torch.arange(0)),
    ):
        assert found is not None
        assert torch.equal(found, data.inputs[rows])
