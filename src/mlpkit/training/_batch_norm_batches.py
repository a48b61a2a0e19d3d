"""Batches of one example, on which batch norm of vectors cannot be trained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlpkit._checks import error_message
from mlpkit.training._ranks import ALONE, Ranks
from mlpkit.training.batches import BatchLike, BatchSource, num_examples

__all__ = ["check_known_sizes", "explain_batch_of_one"]

_TORCH = "Expected more than 1 value per channel"  # the beginning of torch's message


def check_known_sizes(model: nn.Module, train: BatchSource, *, ranks: Ranks = ALONE) -> None:
    """Raise if training batches of a known size leave a process a single example.

    Args:
        model: The model.
        train: Batches to train on. The sizes are known for those of ``LabeledTensors``, ``Batches``
            and a ``DataLoader`` with a ``batch_size``.
        ranks: The processes, among which each batch is divided.

    Raises:
        ValueError: If the model has batch norm of vectors and a batch has one example.
    """
    source: object = getattr(train, "source", train)  # of epochs that are no passes over the data
    size: object = getattr(source, "batch_size", None)
    num_examples: object = getattr(source, "num_examples", None)
    if not isinstance(size, int) or not _normalizes_vectors(model):
        return
    least = 2 * ranks.size
    processes = "" if ranks.size == 1 else f" on each of {ranks.size} processes"
    if size < least:
        rule = f"at least {least} for batch norm{processes}"
        raise ValueError(error_message("batch_size", rule, size))
    last = num_examples % size if isinstance(num_examples, int) else 0
    if 0 < last < least:
        count = "one" if last == 1 else last
        rule = f"a divisor that leaves no last batch of {count} of {num_examples} examples"
        need = f"batch norm needs two{processes}"
        cure = f"{need}; choose another batch_size, or set drop_last=True"
        raise ValueError(error_message("batch_size", rule, size, cure))


def _normalizes_vectors(model: nn.Module) -> bool:
    """Return whether batch norm has one value of each channel for each example.

    Behind a convolution it has several, so that one example is enough.
    """
    modules = list(model.modules())
    has_norm = any(isinstance(module, nn.BatchNorm1d) for module in modules)
    return has_norm and not any(isinstance(module, nn.Conv1d) for module in modules)


def explain_batch_of_one(
    model: nn.Module, batches: Sequence[BatchLike], error: ValueError
) -> ValueError:
    """Return the error of a step, in the words of this library if torch's batch norm raised it."""
    has_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    sizes = [(batch.targets.shape[0], num_examples(batch)) for batch in batches]
    is_single = any(1 in size for size in sizes)
    if not (has_norm and is_single and str(error).startswith(_TORCH)):
        return error
    rule = "of at least 2 examples for batch norm in training"
    return ValueError(error_message("a batch of train", rule, 1, "drop or merge batches of one"))
