"""export_pt2: a classifier as a program of PyTorch's own export."""

from __future__ import annotations

import io
import os
from pathlib import Path

import torch
from torch import Tensor

from mlpkit._files import write_atomically
from mlpkit.export._deployed import Deployed, any_number_shapes, raw_examples, sample_batch
from mlpkit.models import SoftmaxClassifier

__all__ = ["export_pt2"]


def export_pt2(
    model: SoftmaxClassifier, path: str | os.PathLike[str], *, examples: Tensor | None = None
) -> Path:
    """Write a classifier as a program of :func:`torch.export.export`, and return the path.

    The program takes raw inputs of shape ``(N, *input_shape)``, any N, standardizes them itself,
    and returns ``(logits, probabilities)`` in float32, on the CPU. It holds no Python code of
    mlpkit: ``torch.export.load(path).module()(input)`` runs it where mlpkit is not installed.

    mlpkit writes this format and never reads it: loading a ``.pt2`` file can run code that its
    author put in, so load none from a stranger. What shall come back into mlpkit is saved by
    :meth:`mlpkit.SoftmaxClassifier.save`, whose files hold numbers alone.

    Args:
        model: The classifier, which stays as it is.
        path: The file, which is replaced whole if it exists; by custom it ends in ``.pt2``.
        examples: Raw inputs, whose dtype becomes that of the program's input. None means uint8
            for a model of pictures, that is where ``input_shape`` has two axes or more, else
            float32.

    Raises:
        TypeError: If ``model`` is no classifier, or ``examples`` of another type.
        ValueError: If ``examples`` do not fit the model.
        OSError: If the file cannot be written; an older one is then untouched.

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
    program = _program(Deployed(model), raw_examples(model, examples))
    # In memory first: torch ends the whole process where it meets a full disk while writing.
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def _program(deployed: Deployed, raw: Tensor) -> torch.export.ExportedProgram:
    """Return the program for any number of examples."""
    program = torch.export.export(
        deployed, (sample_batch(raw),), dynamic_shapes=any_number_shapes()
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of whoever exported
    return program
