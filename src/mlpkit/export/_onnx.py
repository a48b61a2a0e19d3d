"""export_onnx: a model as one ONNX file, verified before it is written."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from mlpkit._checks import check_bool
from mlpkit._files import write_atomically
from mlpkit.errors import ArtifactError, MissingDependencyError
from mlpkit.export._deployed import (
    INPUT,
    Deployed,
    ExportableModel,
    any_number_shapes,
    raw_examples,
    sample_batch,
)

__all__ = ["export_onnx"]

BATCH_SIZES = (1, 2, 7, 64)
TOLERANCE = 1e-4  # relative to the larger of 1 and the largest output; both compute in float32


def export_onnx(
    model: ExportableModel,
    path: str | os.PathLike[str],
    *,
    examples: Tensor | None = None,
    verify: bool = True,
) -> Path:
    """Write a model as one ONNX file, and return its path.

    The file contains the preprocessing, the network with its weights, and the conversion of its
    outputs:

    ================= ======= ======================= =========================================
    name              kind    shape                   values
    ================= ======= ======================= =========================================
    ``input``         input   ``(N, *input_shape)``   raw inputs of the model; any N
    ``logits``        output  that of the model       float32, of a classifier
    ``probabilities`` output  like ``logits``         float32, with the fitted temperature
    ``prediction``    output  ``(N, *target_shape)``  float32, of a regressor, in the units of the
                                                      targets
    ``std``           output  like ``prediction``     float32, of a regressor with ``predicts_std``
    ================= ======= ======================= =========================================

    The metadata contain as JSON with the key ``kind`` the name of the class, with ``classes`` the
    names of the classes or labels, with ``thresholds`` the thresholds of the labels, and with
    ``targets`` the names of the targets or null. The weights are converted to float32.

    Args:
        model: The model, which is not modified.
        path: The file, which is replaced if it exists; the usual suffix is ``.onnx``.
        examples: Raw inputs for the verification, preferably real ones. Their dtype is that of
            ``input`` in the file. None generates random inputs with the mean and standard deviation
            of the model: uint8 if ``input_shape`` has two or more dimensions, as for images, and
            the standard deviation is at least 1; else float32.
        verify: Whether to run the file with onnxruntime on batches of several sizes and compare
            the results with PyTorch before the file is written.

    Raises:
        ArtifactError: If the results of onnxruntime and PyTorch differ; no file is written.
        MissingDependencyError: If onnx, onnxscript or, with ``verify``, onnxruntime is not
            installed.
        TypeError: If ``model`` is not one of mlpkit, or ``examples`` has another type or dtype.
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
    content = _onnx_bytes(deployed, raw)

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


def _onnx_bytes(deployed: Deployed, raw: Tensor) -> bytes:
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
            output_names=deployed.output_names,
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns a program"
    proto = program.model_proto
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")  # stack traces with paths of this machine
    for key, value in deployed.metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = proto.SerializeToString()
    return content


def _compare(runtime: ModuleType, written: Path, deployed: Deployed, raw: Tensor) -> None:
    """Raise unless onnxruntime and PyTorch give the same results for batches of several sizes."""
    session = runtime.InferenceSession(str(written), providers=["CPUExecutionProvider"])
    names = deployed.output_names
    with torch.inference_mode():
        for size in BATCH_SIZES:
            batch = raw[torch.arange(size) % len(raw)]
            found = [torch.from_numpy(each) for each in session.run(names, {INPUT: batch.numpy()})]
            expected = deployed(batch)
            scale = max(1.0, float(expected[0].abs().max()))
            worst = [
                float((one - other).abs().max()) / scale
                for one, other in zip(found, expected, strict=True)
            ]
            if not all(each <= TOLERANCE for each in worst):  # NaN fails, too
                listed = " and ".join(
                    f"{name} that differ by {each:.2g}"
                    for name, each in zip(names, worst, strict=True)
                )
                raise ArtifactError(
                    f"the exported network must equal the original, got {listed} of the largest "
                    f"of {names[0]} on a batch of {size}; nothing was written, report this with "
                    "the network's config"
                )
