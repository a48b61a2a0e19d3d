"""export_onnx: a classifier as one ONNX file, compared with the original before it is written."""

from __future__ import annotations

import importlib
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from mlpkit._checks import check_bool
from mlpkit._files import write_atomically
from mlpkit.errors import ArtifactError, MissingDependencyError
from mlpkit.export._deployed import (
    INPUT,
    OUTPUTS,
    Deployed,
    any_number_shapes,
    raw_examples,
    sample_batch,
)
from mlpkit.models import SoftmaxClassifier

__all__ = ["export_onnx"]

BATCH_SIZES = (1, 2, 7, 64)
TOLERANCE = 1e-4  # of the largest logit, or of 1: both sides compute in float32


def export_onnx(
    model: SoftmaxClassifier,
    path: str | os.PathLike[str],
    *,
    examples: Tensor | None = None,
    verify: bool = True,
) -> Path:
    """Write a classifier as one ONNX file, and return the path.

    The file holds the whole way from raw values to probabilities, weights included:

    ================= ======= ======================= =========================================
    name              kind    shape                   values
    ================= ======= ======================= =========================================
    ``input``         input   ``(N, *input_shape)``   raw, as :class:`mlpkit.SoftmaxClassifier`
                                                      takes them; any N
    ``logits``        output  ``(N, num_classes)``    float32
    ``probabilities`` output  ``(N, num_classes)``    float32, with the fitted temperature
    ================= ======= ======================= =========================================

    Its metadata give the names of the classes, as JSON under ``classes``. The weights are float32
    whatever they are in the model.

    Args:
        model: The classifier, which stays as it is.
        path: The file, which is replaced whole if it exists; by custom it ends in ``.onnx``.
        examples: Raw inputs to compare the two on, best real ones; their dtype becomes that of
            ``input``. None means random ones of the model's mean and standard deviation: uint8
            for a model of pictures, that is where ``input_shape`` has two axes or more, else
            float32.
        verify: Whether onnxruntime runs the file, on batches of several sizes, and must agree
            with PyTorch before the file is put at its path.

    Raises:
        ArtifactError: If onnxruntime computes something else than PyTorch; no file is written.
        MissingDependencyError: If onnx, onnxscript or, to verify, onnxruntime is not installed.
        TypeError: If ``model`` is no classifier, or ``examples`` of another type.
        ValueError: If ``examples`` do not fit the model.
        OSError: If the file cannot be written; an older one is then untouched.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> from mlpkit.export import export_onnx
        >>> network = MLP(784, (64,), 10)
        >>> model = SoftmaxClassifier(
        ...     network, classes=tuple("0123456789"), mean=33.3, std=78.6, input_shape=(28, 28)
        ... )
        >>> path = export_onnx(model, "digits.onnx")  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession(path)  # doctest: +SKIP
        >>> (p,) = session.run(["probabilities"], {"input": images})  # doctest: +SKIP

    References:
        Open Neural Network Exchange, https://onnx.ai/onnx/intro/concepts.html
    """
    check_bool("verify", verify)
    raw = raw_examples(model, examples)
    for package in ("onnx", "onnxscript"):
        _needed(package)
    runtime = _needed("onnxruntime") if verify else None
    deployed = Deployed(model)
    content = _onnx_bytes(deployed, raw, model.classes)

    def check(written: Path) -> None:
        if runtime is not None:
            _compare(runtime, written, deployed, raw)

    return write_atomically(path, lambda file: file.write(content), check=check)


def _needed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"export_onnx needs {package}, which cannot be imported; pip install 'mlpkit[onnx]'"
        ) from error


def _onnx_bytes(deployed: Deployed, raw: Tensor, classes: Sequence[str]) -> bytes:
    with warnings.catch_warnings():
        # what the exporter warns of is its own code's; what it computes is compared afterwards
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployed,
            (sample_batch(raw),),
            dynamo=True,
            dynamic_shapes=any_number_shapes(),
            external_data=False,
            input_names=[INPUT],
            output_names=OUTPUTS,
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns a program"
    proto = program.model_proto
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")  # how the exporter went about it
    entry = proto.metadata_props.add()
    entry.key, entry.value = "classes", json.dumps(list(classes))
    content: bytes = proto.SerializeToString()
    return content


def _compare(runtime: ModuleType, written: Path, deployed: Deployed, raw: Tensor) -> None:
    """Raise unless onnxruntime gives what PyTorch gives, for batches of several sizes."""
    session = runtime.InferenceSession(str(written), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        for size in BATCH_SIZES:
            batch = raw[torch.arange(size) % len(raw)]
            logits, probabilities = (
                torch.from_numpy(value) for value in session.run(OUTPUTS, {INPUT: batch.numpy()})
            )
            expected = deployed(batch)
            scale = max(1.0, float(expected[0].abs().max()))
            worst = float((logits - expected[0]).abs().max()) / scale
            drift = float((probabilities - expected[1]).abs().max()) / scale
            # written so that NaN fails too
            if not (worst <= TOLERANCE and drift <= TOLERANCE):
                raise ArtifactError(
                    f"the exported network must equal the original, got logits that differ by "
                    f"{worst:.2g} and probabilities by {drift:.2g} of the largest logit on a "
                    f"batch of {size}; nothing was written, report it with the network's config"
                )
