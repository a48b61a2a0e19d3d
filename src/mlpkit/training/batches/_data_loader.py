"""Adapter from a torch DataLoader to a source of batches."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Sized

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mlpkit._checks import Unquoted, error_message
from mlpkit._devices import seed_of
from mlpkit._protocols import Batch
from mlpkit.training.batches._sources import HasState

__all__ = ["LoaderBatches", "checked_batch"]


class LoaderBatches:
    """The batches of a torch ``DataLoader``.

    The order of epoch ``e`` is a pure function of ``(seed, e)``: torch's global generator is seeded
    from both while the loader draws its permutation and the seeds of its workers, and restored
    afterwards. A ``generator`` of the loader or its sampler is seeded likewise, from its initial
    seed too. A run that is resumed within an epoch reads the skipped batches again. The resume is
    exact if the data set draws its random numbers from torch's global generator only and the
    sampler draws the order of a pass before its first batch.

    The ``indices`` of a batch are -1, since a loader does not provide positions in the data set.

    Args:
        loader: Yields ``(inputs, targets)`` or ``(inputs, targets, weights)``.
        seed: Seed of the order, at least 0.

    Attributes:
        num_examples: Number of examples in one epoch; None if the loader does not know it.
        batch_size: Number of examples in a batch; None for batches of unknown sizes.
    """

    def __init__(self, loader: DataLoader[tuple[Tensor, ...]], *, seed: int = 0) -> None:
        self.loader = loader
        self.seed = seed
        self.num_examples = _num_examples(loader)
        self.batch_size = loader.batch_size

    def __len__(self) -> int:
        """Return the number of batches in one epoch; raises TypeError if the loader has none."""
        return len(self.loader)

    @property
    def fingerprint(self) -> str:
        """Digest of types, sizes and seed, and for a ``TensorDataset`` of its tensors."""
        loader = self.loader
        dataset: object = loader.dataset
        parts = [type(dataset).__qualname__, type(loader.sampler).__qualname__]
        parts += [str(self.num_examples), str(loader.batch_size), str(loader.drop_last)]
        if loader.batch_size is None and loader.batch_sampler is not None:
            parts.append(type(loader.batch_sampler).__qualname__)
        parts += [str(generator.initial_seed()) for generator in _generators(loader)]
        if isinstance(dataset, TensorDataset):
            parts += [_digest(tensor) for tensor in dataset.tensors]
        return hashlib.sha256("\0".join([*parts, str(self.seed)]).encode()).hexdigest()

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, from batch number ``start`` on."""
        text = f"mlpkit.loader {self.seed} {epoch}"
        with contextlib.ExitStack() as stack:
            stack.enter_context(_seeded(torch.default_generator, text))
            for generator in _generators(self.loader):
                stack.enter_context(_seeded(generator, f"{text} {generator.initial_seed()}"))
            batches = iter(self.loader)
            # The permutation is drawn with the first batch. Skipped batches are drawn here too, so
            # that they do not advance the random stream that the checkpoint restored.
            first = list(itertools.islice(batches, start, start + 1))
        for batch in itertools.chain(first, batches):
            yield checked_batch(batch)


@contextlib.contextmanager
def _seeded(generator: torch.Generator, text: str) -> Iterator[None]:
    """Seed a generator from a text within a ``with`` block; its state is restored afterwards."""
    caller_state = generator.get_state()
    generator.manual_seed(seed_of(text))
    try:
        yield
    finally:
        generator.set_state(caller_state)


def _generators(loader: DataLoader[tuple[Tensor, ...]]) -> list[torch.Generator]:
    """Return the generators that were given to a loader or its samplers, each once.

    Those of a loader with a state belong to its state.
    """
    if isinstance(loader, HasState):
        return []
    holders = (loader, loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    found = (getattr(holder, "generator", None) for holder in holders)
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())


def _num_examples(loader: DataLoader[tuple[Tensor, ...]]) -> int | None:
    """Return the number of examples in one pass; None if batches of unknown sizes are given."""
    size, sampler = loader.batch_size, loader.sampler
    examples: object = loader.dataset if isinstance(loader.dataset, IterableDataset) else sampler
    if size is None or not isinstance(examples, Sized):
        return None
    return len(examples) // size * size if loader.drop_last else len(examples)


def checked_batch(batch: object) -> Batch:
    """Return what a loader yields as a batch.

    Raises:
        TypeError: If it is no pair or triple of dense tensors.
        ValueError: If shapes do not fit, or a value is not finite.
    """
    inputs, targets, *rest = _checked(batch)
    weights = rest[0] if rest else None
    _check_values(inputs, targets, weights)
    # A loader does not tell which examples it takes.
    return Batch(inputs, targets, weights, torch.full((len(targets),), -1))


def _checked(batch: object) -> tuple[Tensor, ...] | list[Tensor]:
    if (
        isinstance(batch, tuple | list)
        and len(batch) in (2, 3)
        and all(isinstance(part, Tensor) for part in batch)
    ):
        return batch
    shown = [type(part).__name__ for part in batch] if isinstance(batch, tuple | list) else batch
    raise TypeError(
        error_message(
            "a batch of a DataLoader",
            "(inputs, targets) or (inputs, targets, weights), all tensors",
            shown,
            "give the DataLoader a collate_fn that returns one of these",
        )
    )


def _check_values(inputs: Tensor, targets: Tensor, weights: Tensor | None) -> None:
    """Raise for what :class:`mlpkit.data.LabeledTensors` refuses too."""
    for name, values in (("inputs", inputs), ("targets", targets), ("weights", weights)):
        if values is not None and (values.is_nested or values.layout is not torch.strided):
            cure = "convert it in the collate_fn"
            found = Unquoted("a nested one") if values.is_nested else values.layout
            raise TypeError(error_message(f"{name} of a DataLoader", "dense tensors", found, cure))
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets):
        rule = f"one for each of the {len(inputs) if inputs.ndim else 0} inputs"
        hint = None if targets.ndim else "give the DataLoader a batch_size"
        raise ValueError(error_message("targets of a DataLoader", rule, tuple(targets.shape), hint))
    for name, values in (("inputs", inputs), ("targets", targets)):
        if values.is_floating_point() and not bool(values.isfinite().all()):
            cure = "remove or impute these examples"
            raise ValueError(
                error_message(
                    f"{name} of a DataLoader", "finite", Unquoted("NaN or infinity"), cure
                )
            )
    if weights is None:
        return
    if not weights.is_floating_point() or weights.shape != targets.shape[:1]:
        rule = f"floating-point of shape ({len(targets)},)"
        got = f"{weights.dtype} of shape {tuple(weights.shape)}"
        cure = "the third tensor of a batch is the weight of each example, not its number"
        raise ValueError(error_message("weights of a DataLoader", rule, Unquoted(got), cure))
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(error_message("weights of a DataLoader", "finite and at least 0", weights))


def _digest(tensor: Tensor) -> str:
    """Return shape, dtype and the digest of about 1,024 evenly spaced rows of a tensor."""
    rows = tensor[:: max(1, len(tensor) // 1024)].detach().cpu().contiguous()
    content = hashlib.sha256(rows.view(torch.uint8).numpy().tobytes()).hexdigest()
    return f"{tuple(tensor.shape)} {tensor.dtype} {content}"
