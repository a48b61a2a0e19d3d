"""Errors of a data set: each names the argument, the rule and the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mlpkit.data import LabeledTensors

CLASSES = ("cat", "dog", "eel")


@pytest.mark.parametrize(
    ("inputs", "targets", "weights", "message"),
    [
        (
            torch.zeros(3, 2),
            torch.zeros(2).long(),
            None,
            r"targets must be one value for each of the 3",
        ),
        (torch.zeros(3), torch.tensor([0, 3, 1]), None, r"in \[0, 3\), got 3; see example 1"),
        (torch.zeros(3), torch.tensor([0, 1, -1]), None, r"in \[0, 3\), got -1; see example 2"),
        (torch.zeros(2), torch.zeros(2, 3).long(), None, r"targets must be of shape \(N,\) if"),
        (torch.tensor([1.0, torch.nan]), torch.zeros(2).long(), None, "first is in example 1"),
        (torch.tensor(1.0), torch.zeros(1).long(), None, r"inputs must be a tensor of shape \(N"),
        (torch.zeros(2), torch.zeros(2).long(), torch.ones(3), "weights must be one value for"),
        (torch.zeros(2), torch.zeros(2).long(), torch.ones(2, 1), r"weights must be of shape \(N"),
        (torch.zeros(2), torch.zeros(2).long(), torch.tensor([1, -0.5]), "at least 0, got -0.5"),
        (torch.zeros(2), torch.zeros(2).long(), torch.tensor([1, torch.inf]), "weights must be fi"),
    ],
)
def test_invalid_values_are_refused(
    inputs: Tensor, targets: Tensor, weights: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LabeledTensors(inputs, targets, CLASSES, weights=weights)


def test_float_targets_must_be_finite() -> None:
    with pytest.raises(
        ValueError,
        match="targets must be finite in every element, got 1 element that is not finite; ",
    ):
        LabeledTensors(torch.zeros(2), torch.tensor([0.0, torch.inf]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], torch.zeros(1).long()), "inputs must be a tensor.*from_numpy for arrays"),
        ((torch.zeros(1), [0]), "targets must be a tensor of class indices or"),
        ((torch.zeros(1), torch.tensor([True])), "targets must be .*, got torch.bool"),
        ((torch.zeros(1), torch.zeros(1).long(), "ab"), "classes must be a sequence of strings"),
        ((torch.zeros(1), torch.zeros(1).long(), (1, 2)), "classes must be a sequence of strings"),
    ],
)
def test_wrong_types_are_refused(arguments: tuple[Tensor, Tensor], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        LabeledTensors(*arguments)


def test_weights_must_be_floating_point() -> None:
    with pytest.raises(
        TypeError, match=r"weights must be a floating-point tensor, got torch.int64"
    ):
        LabeledTensors(torch.zeros(1), torch.zeros(1).long(), weights=torch.ones(1).long())


@pytest.mark.parametrize("classes", [(), ("a", "a")])
def test_class_names_must_be_distinct(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="classes must be one or more distinct names"):
        LabeledTensors(torch.zeros(1), torch.zeros(1).long(), classes)


def test_invalid_indices_are_refused() -> None:
    data = LabeledTensors(torch.zeros(7, 2), torch.zeros(7).long())
    with pytest.raises(ValueError, match=r"indices must be integers in \[0, 7\), got 7"):
        data.subset([0, 7])
    with pytest.raises(ValueError, match=r"indices must be integers in \[0, 7\), got -1"):
        data.subset([0, -1])
    with pytest.raises(ValueError, match=r"indices must be a mask of shape \(7,\), got \(2,\)"):
        data.subset(torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"indices must be one-dimensional, got \(1, 2\)"):
        data.subset(torch.tensor([[1, 2]]))
    with pytest.raises(TypeError, match="indices must be integers or a boolean mask"):
        data.subset(torch.tensor([0.5]))


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8", ">i4", ">u2", "i8"])
def test_index_arrays_of_every_type_and_stride(dtype: str) -> None:
    """The oracle is NumPy's indexing; the arrays include read-only and reversed ones."""
    inputs = np.arange(7.0)
    data = LabeledTensors(torch.from_numpy(inputs), torch.zeros(7).long())
    positions = np.array([6, 0, 3, 3], dtype=dtype)
    positions.setflags(write=False)
    for indices in (positions, positions[::-1], positions[::2]):
        assert np.array_equal(data.subset(indices).inputs.numpy(), inputs[indices])
    with pytest.raises(ValueError, match=r"indices must be integers in \[0, 7\), got 9"):
        data.subset(np.array([0, 9], dtype=dtype))


def test_an_index_beyond_int64_is_shown_unchanged() -> None:
    data = LabeledTensors(torch.zeros(7), torch.zeros(7).long())
    with pytest.raises(ValueError, match=r"indices must be integers .*, got 18446744073709551615"):
        data.subset(np.array([2**64 - 1], dtype=np.uint64))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("place", ["inputs", "targets", "weights"])
def test_the_cure_for_nested_tensors_works(layout: torch.layout, place: str) -> None:
    """A nested tensor has rows of different sizes; a padded one is dense."""
    odd = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)
    given: dict[str, Any] = {"inputs": torch.ones(2, 4), "targets": torch.zeros(2), place: odd}
    message = f"^{place} must be a dense tensor, got a nested one; pad it with "
    with pytest.raises(TypeError, match=message) as caught:
        LabeledTensors(**given)
    code = str(caught.value).partition("pad it with ")[2]
    padded = eval(code, {"torch": torch, place: odd})  # noqa: S307 - from this package
    assert padded.shape == (2, 3)
    if place != "weights":  # which have one axis
        assert len(LabeledTensors(**{**given, place: padded})) == 2


def test_sparse_weights_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^weights must be a dense tensor, got torch\.sparse_coo"):
        LabeledTensors(torch.ones(2, 4), torch.zeros(2), weights=torch.ones(2).to_sparse())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("place", ["inputs", "targets", "weights"])
@pytest.mark.parametrize("kind", ["float8", "quantized", "meta"])
def test_tensors_with_which_torch_does_not_compute_are_refused(place: str, kind: str) -> None:
    """They hold no values, or values of a dtype without arithmetic."""
    odd, message = {
        "float8": (torch.ones(2, dtype=torch.float8_e4m3fn), r"with \w+\.float\(\)"),
        "quantized": (
            torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8),
            r"(with \w+\.dequantize\(\)|a floating-point tensor)",
        ),
        "meta": (torch.ones(2, device="meta"), "on a device that holds values, got 'meta'"),
    }[kind]
    given = {"inputs": torch.ones(2), "targets": torch.zeros(2), "weights": torch.ones(2)}
    given[place] = odd
    with pytest.raises((TypeError, ValueError), match=rf"^{place} must be .*{message}"):
        LabeledTensors(given["inputs"], given["targets"], weights=given["weights"])


@pytest.mark.parametrize("indices", [None, "x", {}, [[1], [2, 3]], [None], [10**30], object()])
def test_indices_that_are_no_tensor_are_refused(indices: object) -> None:
    data = LabeledTensors(torch.zeros(7, 2), torch.zeros(7).long())
    with pytest.raises(TypeError, match=r"^indices must be integers or a boolean mask, got "):
        data.subset(indices)  # type: ignore[arg-type]
