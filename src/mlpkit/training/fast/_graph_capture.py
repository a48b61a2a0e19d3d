"""An optimizer step that is recorded once, and replayed for every batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit._protocols import Batch
from mlpkit.training._engine import StepResult
from mlpkit.training.batches import BatchLike, LazyBatch

__all__ = ["CudaRecorder", "MakeStep", "Recorder", "StepGraph", "keep_lr_on_device"]

MakeStep: TypeAlias = Callable[[int, BatchLike], StepResult]
_Result = TypeVar("_Result")

# cuBLAS, the allocator and the optimizer set themselves up in the first steps, which cannot be
# recorded: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs asks for some.
_STEPS_BEFORE = 3


class Recorder(Protocol):
    """Turns work on fixed tensors into a function that repeats it."""

    def prepare(self, work: Callable[[], _Result]) -> _Result:
        """Do the work as it will be recorded, so that everything is set up."""
        ...

    def record(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Return the tensors that the work leaves its result in, and what repeats the work.

        Nothing is computed before the first repetition.
        """
        ...


class CudaRecorder:
    """Records CUDA graphs: a step is then one launch, however many kernels it has."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch types it so
        self._pool = torch.cuda.graph_pool_handle()

    def prepare(self, work: Callable[[], _Result]) -> _Result:
        """Do the work on the stream that records, where autograd then has its nodes."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            result = work()
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Return the tensors of the result, and the replay of the graph."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                result = work()
        except RuntimeError as error:
            rule = "False where a step does what no CUDA graph can hold"
            reason = f"{str(error).splitlines()[0]}; set it, or look for what waits for the device"
            raise RuntimeError(error_message("cuda_graph", rule, True, reason)) from error  # noqa: FBT003 - the value
        return result, graph.replay


class _Kind(NamedTuple):
    """What one recording holds for: the shapes and types of a batch, or how it is gathered."""

    size: int
    epoch: int | None
    tensors: tuple[tuple[torch.Size, torch.dtype] | None, ...]


class _Recording(NamedTuple):
    kind: _Kind
    batch: BatchLike
    figures: Tensor  # loss, norm of the gradient and, where examples have weights, their sum
    weight: float | None
    replay: Callable[[], None]

    def result(self) -> StepResult:
        """Return what the latest replay left, in memory that the next one does not write."""
        loss, grad_norm, *weights = self.figures.clone().unbind()
        return StepResult(loss, weights[0] if self.weight is None else self.weight, grad_norm)


class StepGraph:
    """Makes optimizer steps, each by replaying the record of one.

    The record reads the batch and the learning rate from tensors that are filled before each
    replay. A batch that knows how it is gathered, and augmented, is so within the record; where the
    augmentation draws anew in each epoch, each epoch is recorded anew, and so is a batch of another
    shape or type. There is a record for the largest batches and one for shorter ones of one size,
    the last of each epoch; the first steps of a size, and any other size, are computed as usual.

    What the host decides is as it was when the step was recorded.

    Args:
        make_step: Computes a step, and nothing that waits for the device. The learning rates of
            its optimizer are tensors; see :func:`keep_lr_on_device`.
        recorder: What records.
        begin: Forgets memory that steps use again and again. Called within the record before its
            step, so that what the step uses is of the record and lasts as long, and after it.
    """

    def __init__(
        self, make_step: MakeStep, recorder: Recorder, *, begin: Callable[[], None]
    ) -> None:
        self._make_step = make_step
        self._recorder = recorder
        self._begin = begin
        self._largest = 0
        # Both by the size of the batch; the first counts the steps that were computed as usual.
        self._prepared: Counter[int] = Counter()
        self._recordings: dict[int, _Recording] = {}

    def step(self, step: int, batch: BatchLike) -> StepResult:
        """Make step number ``step`` on a batch."""
        kind = _kind(batch)
        size = kind.size
        if size > self._largest:
            self._largest = size
            self._prepared.clear()
            self._recordings.clear()
        if self._prepared[size] < _STEPS_BEFORE or not self._pays(kind):
            self._prepared[size] += 1
            return self._recorder.prepare(lambda: self._make_step(step, batch))
        recording = self._recordings.get(size)
        if recording is None or recording.kind != kind:
            self._recordings[size] = recording = self._record(kind, step, batch)
        _fill(recording.batch, batch)
        recording.replay()
        return recording.result()

    def forget(self) -> None:
        """Give back the memory of the records."""
        self._recordings.clear()

    def _pays(self, kind: _Kind) -> bool:
        """Return whether a record of a batch will be replayed often, or is there already."""
        if kind.size == self._largest or kind.size in self._recordings:
            return True
        others = len(self._recordings.keys() - {self._largest})
        return kind.epoch is None and others == 0

    def _record(self, kind: _Kind, step: int, batch: BatchLike) -> _Recording:
        fixed = _fixed(batch)

        def work() -> tuple[Tensor, float | None]:
            self._begin()
            loss, weight, grad_norm = self._make_step(step, _anew(fixed))
            if isinstance(weight, Tensor):
                return torch.stack([loss, grad_norm, weight]), None
            return torch.stack([loss, grad_norm]), weight

        (figures, weight), replay = self._recorder.record(work)
        self._begin()  # steps of their own write to no memory of the record
        return _Recording(kind, fixed, figures, weight, replay)


def keep_lr_on_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep every learning rate in a tensor, which a record reads at each replay.

    Groups with the same base rate share one.
    """
    rates: dict[float, Tensor] = {}
    for group in optimizer.param_groups:
        lr = torch.tensor(float(group["lr"]), device=device)
        group["lr"] = rates.setdefault(group["initial_lr"], lr)
        if "capturable" in group:
            group["capturable"] = True


def _kind(batch: BatchLike) -> _Kind:
    size = len(batch.indices)
    if isinstance(batch, LazyBatch):
        return _Kind(size, batch.epoch if batch.source.is_augmented else None, ())
    tensors = (batch.inputs, batch.targets, batch.weights)
    described = tuple(None if each is None else (each.shape, each.dtype) for each in tensors)
    return _Kind(size, None, described)


def _fixed(batch: BatchLike) -> BatchLike:
    """Return a batch whose tensors stay where they are."""
    if isinstance(batch, LazyBatch):
        return LazyBatch(batch.source, batch.indices.clone(), batch.epoch)
    weights = None if batch.weights is None else batch.weights.clone()
    return Batch(batch.inputs.clone(), batch.targets.clone(), weights, batch.indices.clone())


def _anew(batch: BatchLike) -> BatchLike:
    """Return the batch as one that has not been gathered yet."""
    if isinstance(batch, LazyBatch):
        return LazyBatch(batch.source, batch.indices, batch.epoch)
    return batch


def _fill(fixed: BatchLike, batch: BatchLike) -> None:
    """Put a batch of the recorded kind where the record reads it."""
    fixed.indices.copy_(batch.indices)
    if isinstance(batch, LazyBatch):
        return
    fixed.inputs.copy_(batch.inputs)
    fixed.targets.copy_(batch.targets)
    if fixed.weights is not None and batch.weights is not None:
        fixed.weights.copy_(batch.weights)
