"""What the processes of a run tell one another."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from tests.training.distributed.processes import run_ranks
from torch import nn

from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._ranks import ALONE, Ranks, join_ranks


@given(count=st.integers(0, 100), size=st.integers(1, 9))
def test_parts_are_disjoint_and_complete(count: int, size: int) -> None:
    items = list(range(count))
    parts = [items[Ranks(rank, size).part(count)] for rank in range(size)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def talk() -> tuple[object, ...]:
    """Return what each method returns on this process."""
    ranks = join_ranks()
    model = nn.BatchNorm1d(1)
    model.running_mean = torch.tensor([float(ranks.rank + 5)])
    ranks.share_tensors(model.buffers())
    done: list[int] = []
    ranks.do_on_first(lambda: done.append(ranks.rank))
    with pytest.raises(OSError, match="no space is left"):
        ranks.do_on_first(fail)
    return (
        (ranks.rank, ranks.size, ranks.is_first),
        ranks.sum(torch.tensor([1.0, float(ranks.rank)])).tolist(),
        ranks.largest([ranks.rank, -ranks.rank]),
        ranks.gather(str(ranks.rank)),
        ranks.share(str(ranks.rank)),
        float(model.running_mean),
        done,
    )


def fail() -> None:
    raise OSError("no space is left")


@pytest.mark.distributed
def test_processes_agree() -> None:
    """Sums, maxima, lists, buffers, and the error of an action of the first one."""
    for rank, said in enumerate(run_ranks(talk, 3)):
        assert said == (
            (rank, 3, rank == 0),
            [3.0, 3.0],
            [2, 0],
            ["0", "1", "2"],
            "0",
            5.0,
            [0] if rank == 0 else [],
        )


def test_a_process_without_a_group_is_alone() -> None:
    """It says what it was told, without communication."""
    assert join_ranks() is ALONE
    tensor = torch.ones(2)
    assert ALONE.sum(tensor) is tensor
    assert ALONE.largest([3, -1]) == [3, -1]
    assert ALONE.gather("a") == ["a"]
    assert ALONE.share("a") == "a"
    with pytest.raises(OSError, match="no space is left"):
        ALONE.do_on_first(fail)
    assert ALONE.device(torch.device("cpu")) == torch.device("cpu")


def test_a_group_without_a_backend_for_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes exchange numbers there, such as a signal."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend_config", lambda: "cuda:nccl")
    with pytest.raises(ValueError, match="must be a process group with a backend for the CPU"):
        join_ranks()


def test_a_step_that_is_not_finite_can_be_sent() -> None:
    """Its numbers and its notes, as every process raises what the first one found."""
    step = NonFiniteStep(3, math.inf, 1.5)
    step.add_note("the weights")
    sent = pickle.loads(pickle.dumps(step))
    assert (sent.step, sent.loss, sent.grad_norm) == (3, math.inf, 1.5)
    assert (str(sent), sent.__notes__) == (str(step), ["the weights"])
