"""A finished run, read from its folder or constructed by the caller."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from mlpkit import _serialization
from mlpkit._checks import Unquoted, check_choice, error_message
from mlpkit._files import open_regular, printable
from mlpkit.data import DatasetName, FileSource, LabeledTensors, TableEncoder, load
from mlpkit.errors import ConfigError
from mlpkit.models import Ensemble, MultilabelClassifier, Regressor, SoftmaxClassifier, load_model
from mlpkit.nn import ActivationStatistics
from mlpkit.report._layer_health import read_layer_health
from mlpkit.training import History

__all__ = ["Run", "read_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        title: The title of the report.
        model: The trained model.
        test: The test set.
        history: The history of the run.
        config: The options of the run as text; empty if there are none.
        layer_health: Activation statistics of the hidden layers by the number of completed epochs;
            empty if they were not measured.
        dataset: The name of the data set, or of its file or folder; empty if it has none.
        started: The time at which the run started; None if it is unknown.
    """

    title: str
    model: SoftmaxClassifier | MultilabelClassifier | Regressor
    test: LabeledTensors
    history: History
    config: str = ""
    layer_health: Mapping[int, ActivationStatistics] = field(default_factory=dict)
    dataset: str = ""
    started: datetime.datetime | None = None


def read_run(folder: str | Path, *, root: str | Path | None = None) -> Run:
    """Read the folder of a run of ``mlpkit train``, and load the test set of its data set.

    The time at which the run started is taken from the name of the folder.

    Args:
        folder: The folder of the run.
        root: Folder with the data files; None uses the folder that the run used, or the default of
            :func:`mlpkit.data.load`. For a run on a CSV file or a folder of images, the folder in
            which it is now, or the new path of the CSV file.

    Raises:
        ConfigError: If the folder is not that of a finished run, its files cannot be read, or the
            data set has class indices and the model needs other targets.
        ArtifactError: If the model is missing or damaged.
        DataError: If the data set cannot be found.
    """
    path = Path(folder)
    for name in ("config.toml", "history.json", "model"):
        if not (path / name).exists():
            rule = "the folder of a run that mlpkit train has finished"
            cure = f"there is no {name} in it"
            if name != "config.toml":
                cure += f"; resume it with: mlpkit train --resume {path}"
            raise ConfigError(error_message("run", rule, str(path), cure))
    try:
        with open_regular(path / "config.toml") as file:
            text = file.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        rule = "a readable TOML file"
        raise ConfigError(
            error_message(str(path / "config.toml"), rule, Unquoted(str(error)))
        ) from error
    values = _serialization.parse_toml(text, source=str(path / "config.toml"))
    layer_health = path / "layer_health.json"
    model = load_model(path / "model")
    test = _load_test(values, root, path / "config.toml", model.encoder)
    is_class_index = not test.targets.is_floating_point()
    if isinstance(model, Ensemble) or isinstance(model, SoftmaxClassifier) != is_class_index:
        rule = f"the folder of a model for the targets of its data set, {values['dataset']}"
        cure = "build a Run with a test set of the model"
        found = Unquoted(f"a {type(model).__name__}")
        raise ConfigError(error_message("run", rule, found, cure))
    return Run(
        title=printable(path.resolve().name),
        model=model,
        test=test,
        history=History.load_json(path / "history.json"),
        config=text,
        layer_health=read_layer_health(layer_health) if layer_health.exists() else {},
        dataset=printable(Path(str(values["dataset"])).name),
        started=_started(path.resolve().name),
    )


def _started(name: str) -> datetime.datetime | None:
    """Return the time in the name of a folder, as mlpkit train writes it; None without one.

    No other record is as good: a copy of the folder may have new times of modification.
    """
    found = re.search(r"-(\d{8}-\d{6})(-\d+)?$", name)
    if found is None:
        return None
    try:
        return datetime.datetime.strptime(found[1], "%Y%m%d-%H%M%S")
    except ValueError:
        return None


def _load_test(
    values: Mapping[str, object],
    root: str | Path | None,
    source: Path,
    encoder: TableEncoder | None,
) -> LabeledTensors:
    """Return the test set of a run.

    Args:
        values: The content of its ``config.toml``.
        root: As in :func:`read_run`.
        source: The path of that file, for error messages.
        encoder: The encoder of the model, for the rows of a table.
    """
    given = values.get("dataset")
    files = None
    if isinstance(given, str) and Path(given).is_absolute():  # as `mlpkit train` writes paths
        files = FileSource.from_config(values)
    if files is not None:
        if root is not None:
            path = Path(root)
            moved = path if path.is_file() else path / Path(files.path).name
            files = dataclasses.replace(files, path=moved)
        return files.load(encoder=encoder).test
    try:
        dataset = check_choice(f"dataset in {source}", given, get_args(DatasetName))
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
    root_of_run = values.get("root")
    if root is None and isinstance(root_of_run, str):
        root = root_of_run
    verify = values.get("verify") is not False
    return load(dataset, root=None if root is None else Path(root), verify=verify).test
