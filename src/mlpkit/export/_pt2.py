"""export_pt2: a model as a program of torch.export."""

from __future__ import annotations

import io
import os
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._files import write_atomically
from mlpkit.export._deployed import (
    Deployed,
    ExportableModel,
    any_number_shapes,
    raw_examples,
    sample_batch,
)

__all__ = ["export_pt2"]


def export_pt2(
    model: ExportableModel, path: str | os.PathLike[str], *, examples: Tensor | None = None
) -> Path:
    """Write a model as a program of :func:`torch.export.export`, and return its path.

    The program takes raw inputs of shape ``(N, *input_shape)`` for any N and standardizes them. It
    returns ``(logits, probabilities)`` of a classifier. Of a regressor it returns ``(prediction,)``
    or, with ``predicts_std``, ``(prediction, std)``. All are float32 on the CPU. The program
    contains no Python code of mlpkit: ``torch.export.load(path).module()(input)`` runs it without
    mlpkit.

    mlpkit writes this format but never reads it. Loading a ``.pt2`` file can execute code that its
    author included; load only files that you trust. Use :meth:`mlpkit.SoftmaxClassifier.save` for
    models that mlpkit loads again; its files contain no code.

    Args:
        model: The model, which is not modified.
        path: The file, which is replaced if it exists; the usual suffix is ``.pt2``.
        examples: Raw inputs, whose dtype is that of the program's input. None means uint8 if
            ``input_shape`` has two or more dimensions, as for images, and the standard deviation of
            the model is at least 1; else float32.

    Raises:
        TypeError: If ``model`` is not one of mlpkit, or ``examples`` has another type or dtype.
        ValueError: If the shape of ``examples`` does not match the model.
        OSError: If the file cannot be written; an older one is then unchanged.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> from mlpkit.export import export_pt2
        >>> model = SoftmaxClassifier(MLP(4, (8,), 3), classes=("a", "b", "c"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = export_pt2(model, f"{folder}/model.pt2")
        ...     logits, probabilities = torch.export.load(path).module()(torch.zeros(5, 4))
        >>> probabilities.shape
        torch.Size([5, 3])
    """
    raw = raw_examples(model, examples)
    program = _program(Deployed(model), raw)
    # In memory first: torch aborts the process if the disk is full while it writes.
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def _program(deployed: Deployed, raw: Tensor) -> torch.export.ExportedProgram:
    """Return the program for any batch size."""
    program = torch.export.export(
        deployed, (sample_batch(raw),), dynamic_shapes=any_number_shapes()
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program
