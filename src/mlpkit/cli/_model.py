"""The argument MODEL: the folder of a run or of a saved classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import tyro
from tyro.conf import Positional

from mlpkit._checks import error_message
from mlpkit.cli._run_folder import RunFolder
from mlpkit.errors import ArtifactError
from mlpkit.models import SoftmaxClassifier

__all__ = ["ModelArgument", "load_model"]

ModelArgument: TypeAlias = Annotated[Positional[Path], tyro.conf.arg(metavar="MODEL")]


def load_model(path: Path) -> SoftmaxClassifier:
    """Load the classifier of a run folder, a model folder or a ``model.safetensors`` file.

    Raises:
        ArtifactError: If the model is missing or damaged.
    """
    run = RunFolder(path)
    if run.model.is_dir():
        return SoftmaxClassifier.load(run.model)
    if not path.exists():
        rule = "the folder of a run or of a model"
        cure = "mlpkit train creates one in runs"
        raise ArtifactError(error_message("MODEL", rule, str(path), cure))
    if run.config.exists():
        cure = f"resume it with: mlpkit train --resume {path}"
        raise ArtifactError(error_message("MODEL", "a finished run", str(path), cure))
    return SoftmaxClassifier.load(path)
