"""The stream is the training's own, and is lent, not taken."""

from __future__ import annotations

import pytest
import torch

from mlpkit.training.checkpoints import RandomStream

CPU = torch.device("cpu")


def test_it_depends_on_the_seed_alone() -> None:
    def draw(seed: int) -> list[float]:
        torch.rand(3)
        with RandomStream(seed, CPU).active():
            return torch.rand(4).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    torch.manual_seed(1)
    assert draw(1) != torch.rand(4).tolist(), "not the numbers of a model with the same seed"


def test_the_caller_goes_on_where_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    stream = RandomStream(0, CPU)
    first = torch.rand(1)
    with stream.active():
        torch.rand(10)
        with stream.paused():
            second = torch.rand(1)
        torch.rand(10)
    assert torch.equal(torch.cat([first, second, torch.rand(2)]), expected)


def test_a_pause_leaves_no_gap() -> None:
    whole, broken = RandomStream(0, CPU), RandomStream(0, CPU)
    with whole.active():
        expected = torch.rand(6)
    with broken.active():
        one = torch.rand(3)
        with broken.paused(), broken.paused():
            torch.rand(100)
        two = torch.rand(3)
    assert torch.equal(torch.cat([one, two]), expected)


@pytest.mark.parametrize("where", ["active", "paused", "outside"])
def test_a_saved_stream_goes_on(where: str) -> None:
    stream, other = RandomStream(0, CPU), RandomStream(9, CPU)
    with stream.active():
        torch.rand(3)
        state = stream.state_dict()
        if where == "paused":
            with stream.paused():
                torch.rand(1)
                state = stream.state_dict()
        expected = torch.rand(4)
    if where == "outside":
        state = stream.state_dict()
        with stream.active():
            expected = torch.rand(4)
    other.load_state_dict(state)
    with other.active():
        assert torch.equal(torch.rand(4), expected)
