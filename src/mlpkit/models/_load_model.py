"""load_model: the model in a folder, whichever kind it is."""

from __future__ import annotations

from pathlib import Path

import torch

from mlpkit._devices import check_device
from mlpkit.models._artifact import ENSEMBLE, read_artifact
from mlpkit.models._ensemble import Ensemble
from mlpkit.models._multilabel_classifier import MultilabelClassifier
from mlpkit.models._regressor import Regressor
from mlpkit.models._softmax_classifier import SoftmaxClassifier

__all__ = ["load_model"]


def load_model(
    path: str | Path, *, device: torch.device | str = "cpu"
) -> SoftmaxClassifier | MultilabelClassifier | Regressor | Ensemble:
    """Return the model saved in a folder, of the class that it was saved as, in evaluation mode.

    Loading never runs code.

    Args:
        path: What the method ``save`` of a model wrote, or its ``model.safetensors`` alone.
        device: Device of the weights.

    Raises:
        ArtifactError: If the file is missing, damaged or of an unknown version.
        ValueError: If this machine does not have the device.

    Example:
        >>> import tempfile
        >>> from mlpkit import MLP, Regressor
        >>> from mlpkit.models import load_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_model(Regressor(MLP(4, (8,), 1)).save(folder)).target_shape
        ()
    """
    target = check_device(device)
    artifact = read_artifact(Path(path))
    if artifact.kind is ENSEMBLE:
        return Ensemble._build(artifact, path).to(target)
    for each in (SoftmaxClassifier, MultilabelClassifier, Regressor):
        if artifact.kind is each._kind:
            return each._build(artifact, path).to(target)
    raise AssertionError("each kind has a class")
