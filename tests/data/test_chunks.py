"""Parts of tensors, and their content."""

from __future__ import annotations

import pytest
import torch

from mlpkit.data._chunks import chunks, content
from mlpkit.data._mapped_inputs import MappedInputs


@pytest.mark.parametrize("size", [1, 6, 7, 100])
@pytest.mark.parametrize("shape", [(5, 2, 3), (5,), (0, 4), (5, 0)])
def test_the_parts_are_the_rows_in_order(shape: tuple[int, ...], size: int) -> None:
    values = torch.rand(shape)
    parts = list(chunks(values, size))
    assert all(len(part) == 1 or part.numel() <= size for part in parts)
    assert torch.equal(torch.cat([*parts, values[:0]]), values)
    for mapped in (
        MappedInputs(values),
        MappedInputs(values.flip(0), torch.arange(len(values)).flip(0)),
    ):
        assert [part.tolist() for part in chunks(mapped, size)] == [part.tolist() for part in parts]


def test_the_content_is_in_row_major_order() -> None:
    values = torch.arange(6, dtype=torch.int16).view(2, 3)
    assert bytes(content(values.T)) == values.numpy().T.tobytes()
    assert bytes(content(torch.ones(2, dtype=torch.bfloat16))) == b"\x80\x3f" * 2
