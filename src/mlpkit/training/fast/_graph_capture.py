"""Optimizer steps as one CUDA graph, captured once and replayed for every batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.amp import GradScaler

from mlpkit._checks import error_message
from mlpkit._protocols import Batch
from mlpkit.training._engine import StepEngine, StepResult
from mlpkit.training.batches import BatchLike, LazyBatch

__all__ = [
    "CUDAGraphCapture",
    "CapturedEngine",
    "CapturedStep",
    "GraphCapture",
    "MakeStep",
    "keep_lr_on_device",
]

MakeStep: TypeAlias = Callable[[int, BatchLike], StepResult]
_Result = TypeVar("_Result")

# cuBLAS, the allocator and the optimizer initialize themselves in the first steps, which cannot be
# captured: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs asks for warmup.
_WARMUP_STEPS = 3


class GraphCapture(Protocol):
    """Turns work on fixed tensors into a function that repeats it."""

    def warmup(self, work: Callable[[], _Result]) -> _Result:
        """Do the work under the conditions of the capture, so that everything is initialized."""
        ...

    def capture(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Return the tensors that hold the result of the work, and the function that repeats it.

        Nothing is computed before the first repetition.
        """
        ...


class CUDAGraphCapture:
    """Captures CUDA graphs: a step becomes one launch, whatever its number of kernels."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not annotate it
        self._pool = torch.cuda.graph_pool_handle()

    def warmup(self, work: Callable[[], _Result]) -> _Result:
        """Do the work on the stream of the capture, so that autograd uses this stream."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            result = work()
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
        return result

    def capture(self, work: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Return the tensors of the result, and the replay of the graph."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                result = work()
        except RuntimeError as error:
            rule = "False for a step that cannot be captured"
            reason = (
                f"{str(error).splitlines()[0]}; set cuda_graph=False, or remove the synchronization"
            )
            raise RuntimeError(error_message("cuda_graph", rule, True, reason)) from error  # noqa: FBT003 - the value
        return result, graph.replay


class _Kind(NamedTuple):
    """What one graph is valid for: shapes and dtypes of a batch, or how it is gathered."""

    size: int
    epoch: int | None
    tensors: tuple[tuple[torch.Size, torch.dtype] | None, ...]


class _Graph(NamedTuple):
    kind: _Kind
    batch: BatchLike
    outputs: Tensor  # loss, gradient norm and, where examples have weights, their sum
    weight: float | None
    replay: Callable[[], None]

    def result(self) -> StepResult:
        """Return the result of the latest replay, in memory that the next one does not write."""
        loss, grad_norm, *weights = self.outputs.clone().unbind()
        return StepResult(loss, weights[0] if self.weight is None else self.weight, grad_norm)


class CapturedStep:
    """Makes optimizer steps by replaying captured ones.

    The graph reads the batch and the learning rate from tensors that are filled before each replay.
    A :class:`~mlpkit.training.batches.LazyBatch` is gathered and augmented within the graph; if the
    augmentation depends on the epoch, the step is captured again in each epoch. It is also captured
    again for a batch of another shape or dtype. There is one graph for the largest batches, and one
    for shorter batches of a single size, such as the last batch of each epoch. The first steps of a
    size, and batches of any other size, are computed eagerly.

    Decisions of the host are fixed at the time of the capture.

    Args:
        make_step: Computes a step without synchronizing with the device. The learning rates of its
            optimizer are tensors; see :func:`keep_lr_on_device`.
        capture: Captures the graphs.
        begin: Discards memory that steps reuse. It is called in the capture before the step, so
            that the memory that the step reuses belongs to the graph, and again after the capture.
    """

    def __init__(
        self, make_step: MakeStep, capture: GraphCapture, *, begin: Callable[[], None]
    ) -> None:
        self._make_step = make_step
        self._capture = capture
        self._begin = begin
        self._largest = 0
        # Both by the size of the batch; the first counts the steps that were computed eagerly.
        self._warmed_up: Counter[int] = Counter()
        self._graphs: dict[int, _Graph] = {}

    def step(self, step: int, batch: BatchLike) -> StepResult:
        """Make step number ``step`` on a batch."""
        kind = _kind(batch)
        size = kind.size
        if size > self._largest:
            self._largest = size
            self._warmed_up.clear()
            self._graphs.clear()
        if self._warmed_up[size] < _WARMUP_STEPS or not self._pays(kind):
            self._warmed_up[size] += 1
            return self._capture.warmup(lambda: self._make_step(step, batch))
        graph = self._graphs.get(size)
        if graph is None or graph.kind != kind:
            self._graphs[size] = graph = self._captured(kind, step, batch)
        _fill(graph.batch, batch)
        graph.replay()
        return graph.result()

    def forget(self) -> None:
        """Free the memory of the graphs."""
        self._graphs.clear()

    def _pays(self, kind: _Kind) -> bool:
        """Return whether a graph of a batch will be replayed often, or exists already."""
        if kind.size == self._largest or kind.size in self._graphs:
            return True
        others = len(self._graphs.keys() - {self._largest})
        return kind.epoch is None and others == 0

    def _captured(self, kind: _Kind, step: int, batch: BatchLike) -> _Graph:
        fixed = _fixed(batch)

        def work() -> tuple[Tensor, float | None]:
            self._begin()
            loss, weight, grad_norm = self._make_step(step, _not_gathered(fixed))
            if isinstance(weight, Tensor):
                return torch.stack([loss, grad_norm, weight]), None
            return torch.stack([loss, grad_norm]), weight

        (outputs, weight), replay = self._capture.capture(work)
        self._begin()  # eager steps must not write to memory of the graph
        return _Graph(kind, fixed, outputs, weight, replay)


class CapturedEngine:
    """Wraps an engine, so that its steps are replays of a captured graph.

    Args:
        engine: Computes the steps that are captured.
        optimizer: The optimizer of the engine; its learning rates are moved to the device.
        device: Where the model is.
        capture: Captures the graphs; None captures CUDA graphs.
    """

    def __init__(
        self,
        engine: StepEngine,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        capture: GraphCapture | None = None,
    ) -> None:
        self._engine = engine
        self._optimizer = optimizer
        self._device = device
        self._captured = CapturedStep(
            lambda step, batch: engine.step(step, [batch]),
            CUDAGraphCapture(device) if capture is None else capture,
            begin=engine.begin_epoch,
        )
        self._lr_tensors: list[Tensor] = []
        keep_lr_on_device(optimizer, device)

    @property
    def scaler(self) -> GradScaler | None:
        """Loss scaler of the engine; None without fp16."""
        return self._engine.scaler

    def begin_epoch(self) -> None:
        """Prepare the steps of an epoch."""
        keep_lr_on_device(self._optimizer, self._device)  # a restored optimizer has new rates
        self._engine.begin_epoch()

    def step(self, step: int, microbatches: Sequence[BatchLike]) -> StepResult:
        """Make one optimizer step on the only microbatch."""
        (batch,) = microbatches
        lr_tensors: list[Tensor] = [group["lr"] for group in self._optimizer.param_groups]
        if list(map(id, lr_tensors)) != list(
            map(id, self._lr_tensors)
        ):  # graphs read the old tensors
            self._captured.forget()
            self._lr_tensors = lr_tensors
        return self._captured.step(step, batch)

    def end(self) -> None:
        """Free the memory of the steps and of the graphs."""
        self._engine.end()
        self._captured.forget()


def keep_lr_on_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep every learning rate in a tensor, which a graph reads at each replay.

    Groups with the same base rate share one tensor. Rates that are on the device already stay.
    """
    groups = optimizer.param_groups
    if all(isinstance(group["lr"], Tensor) and group["lr"].device == device for group in groups):
        return
    rates: dict[float, Tensor] = {}
    for group in groups:
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
    """Return a copy of the batch whose tensors stay where they are."""
    if isinstance(batch, LazyBatch):
        return LazyBatch(batch.source, batch.indices.clone(), batch.epoch)
    weights = None if batch.weights is None else batch.weights.clone()
    return Batch(batch.inputs.clone(), batch.targets.clone(), weights, batch.indices.clone())


def _not_gathered(batch: BatchLike) -> BatchLike:
    """Return the batch as one that has not been gathered yet."""
    if isinstance(batch, LazyBatch):
        return LazyBatch(batch.source, batch.indices, batch.epoch)
    return batch


def _fill(fixed: BatchLike, batch: BatchLike) -> None:
    """Copy a batch of the captured kind to where the graph reads it."""
    fixed.indices.copy_(batch.indices)
    if isinstance(batch, LazyBatch):
        return
    fixed.inputs.copy_(batch.inputs)
    fixed.targets.copy_(batch.targets)
    if fixed.weights is not None and batch.weights is not None:
        fixed.weights.copy_(batch.weights)
