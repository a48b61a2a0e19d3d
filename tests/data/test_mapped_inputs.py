"""Mapped examples against the same examples in memory."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
import torch
from tests.data.test_mapped_files import folder_of, resident, same
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlpkit import SoftmaxClassifier
from mlpkit.data import Batch, LabeledTensors, RandomAffine
from mlpkit.errors import DataError


@pytest.fixture
def mapped(tmp_path: Path) -> LabeledTensors:
    return LabeledTensors.open(resident().save(tmp_path / "x"))


SELECTIONS: tuple[Callable[[LabeledTensors], LabeledTensors], ...] = (
    lambda data: data[3:17],
    lambda data: data[::3],
    lambda data: data[5:5],
    lambda data: data.subset([4, 4, 30, 0]),
    lambda data: data[data.targets == 1],
    lambda data: data.split([0.7, 0.3], seed=3)[0],
    lambda data: data.split([20, 11])[1][2:9:2],
    lambda data: data[4:].subset(torch.tensor([0, 7, 2]))[[2, 1]],
    lambda data: data.with_classes(("ß", "b", "a", "c")),
)


@pytest.mark.parametrize("number", range(len(SELECTIONS)))
def test_selections_are_those_of_examples_in_memory(mapped: LabeledTensors, number: int) -> None:
    select = SELECTIONS[number]
    found, expected = select(mapped), select(resident())
    assert found.is_mapped
    assert not expected.is_mapped
    assert same(found, expected)
    assert [target.item() for _, target in found] == expected.targets.tolist()
    assert all(
        torch.equal(row, inputs) for (row, _), inputs in zip(found, expected.inputs, strict=True)
    )
    if len(found):
        assert torch.equal(found[-1][0], expected[-1][0])
        assert torch.equal(found.as_torch_dataset()[0][0], expected[0][0])
    with pytest.raises(IndexError):
        found[len(found)]


@pytest.mark.parametrize("whole", [True, False])
def test_batches_are_those_of_examples_in_memory(mapped: LabeledTensors, whole: bool) -> None:
    def batches(data: LabeledTensors) -> list[Batch]:
        part = data if whole else data.split([20, 11])[0]
        augmented = part.batches(8, seed=1, balanced=True, augment=RandomAffine(degrees=30.0))
        return [*augmented.epoch(2), *part.batches(7, shuffle=False).epoch(0, start=1)]

    for found, expected in zip(batches(mapped), batches(resident()), strict=True):
        for one, other in zip(found, expected, strict=True):
            assert one is not None
            assert other is not None
            assert torch.equal(one, other)


@pytest.mark.parametrize("how", ["global", "feature"])
def test_models_for_mapped_data_are_those_for_data_in_memory(
    mapped: LabeledTensors, how: Literal["global", "feature"]
) -> None:
    for select in SELECTIONS[:2] + SELECTIONS[3:6]:
        found, expected = (
            SoftmaxClassifier.for_data(select(data), (4,), standardize=how)
            for data in (mapped, resident())
        )
        assert torch.equal(found.mean, expected.mean)
        assert torch.equal(found.std, expected.std)
        assert found.input_shape == expected.input_shape


def test_nothing_is_read_before_a_batch(tmp_path: Path) -> None:
    """And a batch reads the rows that it has: one that is not finite is found when it is read."""
    inputs = np.zeros((6, 2), np.float32)
    inputs[4, 1] = np.nan
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "targets.npy", np.zeros(6))
    data = LabeledTensors.open(tmp_path)
    message = "inputs must be finite in every element, got 1 element that is .* in example "
    first, second, third = data.batches(2, shuffle=False).batch_indices(0)
    for indices in (first, second):
        assert data.batches(2).gather(indices, epoch=0).inputs.tolist() == [[0.0, 0.0]] * 2
    with pytest.raises(ValueError, match=f"{message}4"):
        data.batches(2).gather(third, epoch=0)
    with pytest.raises(ValueError, match=f"{message}1"):
        list(data[3:].batches(1).epoch(0))
    parts = (data, data[1:], data.subset([1, 4]))  # one rule, whether rows are copied or not
    for part, row in zip(parts, (4, 3, 1), strict=True):
        assert part.inputs.isnan().sum() == 1
        with pytest.raises(ValueError, match=f"{message}{row}"):
            part[row]


def test_what_cannot_be_checked_when_it_is_opened_is_checked_later(tmp_path: Path) -> None:
    inputs = np.ones((2_000, 700), np.float32)
    inputs[1_600, 1] = np.inf
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "targets.npy", np.arange(2_000) % 2)
    data = LabeledTensors.open(tmp_path)
    hows: tuple[Literal["global", "feature"], ...] = ("global", "feature")
    for how in hows:
        with pytest.raises(ValueError, match=r"inputs must be finite.* example 1600"):
            SoftmaxClassifier.for_data(data, standardize=how)
    with pytest.raises(ValueError, match=r"inputs must be finite.* example 399"):
        SoftmaxClassifier.for_data(data.subset(np.arange(2_000)[::-1].copy()))


def pickled(data: LabeledTensors) -> LabeledTensors:
    """Return what another process gets, which has the path and no content."""
    content = ForkingPickler.dumps(data)
    assert len(content) < 2_000
    found = pickle.loads(content)
    assert isinstance(found, LabeledTensors)
    return found


@pytest.mark.parametrize("number", range(len(SELECTIONS)))
@pytest.mark.parametrize("send", [pickled, copy.deepcopy, copy.copy])
def test_a_pickle_maps_the_files_again(
    tmp_path: Path, number: int, send: Callable[[LabeledTensors], LabeledTensors]
) -> None:
    data = resident(torch.arange(31.0 * 900).view(31, 900))
    opened = LabeledTensors.open(data.save(tmp_path / "x"))
    found = send(SELECTIONS[number](opened))
    assert found.is_mapped
    assert same(found, SELECTIONS[number](data))
    assert same(send(found), SELECTIONS[number](data))


def test_a_pickle_of_a_part_of_a_selection_has_no_other_indices(mapped: LabeledTensors) -> None:
    part = mapped.subset(torch.arange(31).repeat(1_000))[40:43]
    assert pickled(part).targets.tolist() == part.targets.tolist()


def test_a_pickle_of_a_folder_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(resident(), tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    data = LabeledTensors.open("a")
    monkeypatch.chdir("/")
    assert same(pickled(data), resident())


@pytest.mark.parametrize("kind", ["gone", "replaced", "classes"])
def test_a_pickle_of_files_that_changed_is_refused(tmp_path: Path, kind: str) -> None:
    path = folder_of(resident(), tmp_path / "a")
    data = LabeledTensors.open(path)
    content = pickle.dumps(data)
    if kind == "gone":
        shutil.rmtree(path)
    elif kind == "replaced":
        np.save(path / "inputs.npy", data.inputs.numpy() + 1)
    else:
        (path / "classes.json").unlink()
    message = "files that have changed or are missing; open them again with LabeledTensors.open"
    for again in (lambda: pickle.loads(content), lambda: copy.deepcopy(data)):
        with pytest.raises(DataError, match=message) as caught:
            again()
        assert str(path) in str(caught.value)


@pytest.mark.long
def test_a_worker_that_is_not_forked_maps_the_files_again(mapped: LabeledTensors) -> None:
    part = mapped.split([20, 11])[0]
    loader = DataLoader(
        cast("Dataset[tuple[Tensor, Tensor]]", part),
        batch_size=7,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    found = [torch.cat(column) for column in zip(*loader, strict=True)]
    assert torch.equal(found[0], part.inputs)
    assert torch.equal(found[1], part.targets)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_examples_that_are_moved_are_read_and_checked(mapped: LabeledTensors) -> None:
    moved = mapped[4:].to("cuda")
    assert not moved.is_mapped
    assert same(moved.to("cpu"), resident()[4:])
    mapped.inputs[7] = torch.inf
    with pytest.raises(ValueError, match=r"inputs must be finite .* in example 3"):
        mapped[4:].to("cuda")


def test_examples_stay_mapped_where_they_are(mapped: LabeledTensors) -> None:
    assert mapped.to("cpu") is mapped
