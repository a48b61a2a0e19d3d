"""Random numbers in place, from generators on any device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlpkit.nn._draw import normal_, uniform_


class DistantGenerator(torch.Generator):
    """A generator of the CPU that claims to be on another device, as one on a GPU is."""

    device = torch.device("cpu", 0)


@pytest.mark.parametrize("kind", [torch.Generator, DistantGenerator])
def test_numbers_are_those_of_the_generator(kind: type[torch.Generator]) -> None:
    """The numbers that a generator on another device draws are copied."""
    weight, expected = nn.Parameter(torch.empty(4, 5)), torch.empty(4, 5)
    own = torch.Generator()
    normal_(weight, 0.5, kind().manual_seed(1))
    assert torch.equal(weight, expected.normal_(0.0, 0.5, generator=own.manual_seed(1)))
    uniform_(weight, 2.0, kind().manual_seed(1))
    assert torch.equal(weight, expected.uniform_(-2.0, 2.0, generator=own.manual_seed(1)))


def test_a_tensor_without_memory_takes_no_numbers() -> None:
    generator = torch.Generator().manual_seed(1)
    normal_(torch.empty(4, device="meta"), 1.0, generator)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(1).get_state())
