"""The argument MODEL: the folder of a run or of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import tyro
from tyro.conf import Positional

from mlpkit import models
from mlpkit._checks import Unquoted, error_message
from mlpkit.cli._run_folder import RunFolder, missing_run_cure
from mlpkit.errors import ArtifactError
from mlpkit.models import Ensemble, MultilabelClassifier, Regressor, SoftmaxClassifier

__all__ = ["Model", "ModelArgument", "as_classifier", "load_model"]

Model: TypeAlias = SoftmaxClassifier | MultilabelClassifier | Regressor

ModelArgument: TypeAlias = Annotated[Positional[Path], tyro.conf.arg(metavar="MODEL")]


def load_model(path: Path) -> Model:
    """Load the model of a run folder, a model folder or a ``model.safetensors`` file.

    Raises:
        ArtifactError: If the model is missing or damaged.
    """
    run = RunFolder(path)
    if run.model.is_dir():
        return _one_model(run.model)
    if not path.exists():
        rule = "the folder of a run or of a model"
        cure = missing_run_cure(path)
        raise ArtifactError(error_message("MODEL", rule, str(path), cure))
    if run.config.exists():
        cure = f"resume it with: mlpkit train --resume {path}"
        raise ArtifactError(error_message("MODEL", "a finished run", str(path), cure))
    return _one_model(path)


def _one_model(path: Path) -> Model:
    """Load a model that is no ensemble."""
    model = models.load_model(path)
    if isinstance(model, Ensemble):
        rule, found = "a model of one network for the command line", Unquoted("an Ensemble")
        cure = "use it from Python: mlpkit.models.load_model loads it"
        raise ArtifactError(error_message("MODEL", rule, found, cure))
    return model


def as_classifier(model: Model, command: str, path: Path) -> SoftmaxClassifier:
    """Return the model itself for a command that needs a :class:`SoftmaxClassifier` of images.

    Args:
        model: The model.
        command: The command, for the error message.
        path: The path of the model, for the error message.

    Raises:
        ArtifactError: If the model is of another kind.
    """
    if isinstance(model, SoftmaxClassifier) and model.encoder is None:
        return model
    rule = f"a SoftmaxClassifier of images for mlpkit {command}"
    found = f"a {type(model).__name__}"
    cure = f"mlpkit export {path} writes it as one file that maps inputs to predictions"
    if model.encoder is not None:
        found += " of a table"
        cure = f"mlpkit predict --model {path} FILE.csv prints its predictions"
    raise ArtifactError(error_message("MODEL", rule, Unquoted(found), cure))
