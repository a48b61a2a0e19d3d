"""export_onnx: a classifier as one ONNX file, verified before it is written."""

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
TOLERANCE = 1e-4  # relative to the larger of 1 and the largest logit; both compute in float32


def export_onnx(
    model: SoftmaxClassifier,
    path: str | os.PathLike[str],
    *,
    examples: Tensor | None = None,
    verify: bool = True,
) -> Path:
    """Write a classifier as one ONNX file, and return its path.

    The file contains the preprocessing, the network with its weights, and the softmax:

    ================= ======= ======================= =========================================
    name              kind    shape                   values
    ================= ======= ======================= =========================================
    ``input``         input   ``(N, *input_shape)``   raw inputs of
                                                      :class:`mlpkit.SoftmaxClassifier`; any N
    ``logits``        output  ``(N, num_classes)``    float32
    ``probabilities`` output  ``(N, num_classes)``    float32, with the fitted temperature
    ================= ======= ======================= =========================================

    The metadata contain the names of the classes, as JSON with the key ``classes``. The weights are
    converted to float32.

    Args:
        model: The classifier, which is not modified.
        path: The file, which is replaced if it exists; the usual suffix is ``.onnx``.
        examples: Raw inputs for the verification, preferably real ones. Their dtype is that of
            ``input`` in the file. None generates random inputs with the mean and standard deviation
            of the model: uint8 if ``input_shape`` has two or more dimensions, as for images, else
            float32.
        verify: Whether to run the file with onnxruntime on batches of several sizes and compare
            the results with PyTorch before the file is written.

    Raises:
        ArtifactError: If the results of onnxruntime and PyTorch differ; no file is written.
        MissingDependencyError: If onnx, onnxscript or, with ``verify``, onnxruntime is not
            installed.
        TypeError: If ``model`` is not a classifier, or ``examples`` has another type or dtype.
        ValueError: If the shape of ``examples`` does not match the model.
        OSError: If the file cannot be written; an older one is then unchanged.

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
        _import(package)
    runtime = _import("onnxruntime") if verify else None
    deployed = Deployed(model)
    content = _onnx_bytes(deployed, raw, model.classes)

    def check(written: Path) -> None:
        if runtime is not None:
            _compare(runtime, written, deployed, raw)

    return write_atomically(path, lambda file: file.write(content), check=check)


def _import(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"export_onnx needs {package}, which cannot be imported; pip install 'mlpkit[onnx]'"
        ) from error


def _onnx_bytes(deployed: Deployed, raw: Tensor, classes: Sequence[str]) -> bytes:
    with warnings.catch_warnings():
        # the exporter warns about its own code; its result is verified afterwards
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
        part.ClearField("metadata_props")  # stack traces with paths of this machine
    entry = proto.metadata_props.add()
    entry.key, entry.value = "classes", json.dumps(list(classes))
    content: bytes = proto.SerializeToString()
    return content


def _compare(runtime: ModuleType, written: Path, deployed: Deployed, raw: Tensor) -> None:
    """Raise unless onnxruntime and PyTorch give the same results for batches of several sizes."""
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
            # "not <=" instead of ">", so that NaN fails, too
            if not (worst <= TOLERANCE and drift <= TOLERANCE):
                raise ArtifactError(
                    f"the exported network must equal the original, got logits that differ by "
                    f"{worst:.2g} and probabilities by {drift:.2g} of the largest logit on a "
                    f"batch of {size}; nothing was written, report this with the network's config"
                )
