"""What a training has left: read back from its folder, or put together by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from mlpkit import _serialization
from mlpkit._checks import check_choice, error_message
from mlpkit.data import DatasetName, LabeledTensors, load
from mlpkit.errors import ConfigError
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import ActivationStatistics
from mlpkit.report._layer_health import read_layer_health
from mlpkit.training import History

__all__ = ["Run", "read_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A training that is over.

    Attributes:
        title: What it is called.
        model: The trained classifier.
        test: Examples that it was not trained on.
        history: Its epochs.
        config: Its options, as text for people; empty where there are none.
        layer_health: What the hidden layers did, by the number of epochs made before; empty where
            nobody has measured.
    """

    title: str
    model: SoftmaxClassifier
    test: LabeledTensors
    history: History
    config: str = ""
    layer_health: Mapping[int, ActivationStatistics] = field(default_factory=dict)


def read_run(folder: str | Path, *, root: str | Path | None = None) -> Run:
    """Read the folder that ``mlpkit train`` has written, with the test set that it names.

    Args:
        folder: The folder of the run.
        root: Folder with the data files; None: where the run had them, or else the place that
            :func:`mlpkit.data.load` knows.

    Raises:
        ConfigError: If the folder is not that of a finished run, or its files cannot be read.
        ArtifactError: If the model is missing or damaged.
        DataError: If the data set cannot be found.
    """
    path = Path(folder)
    for name in ("config.toml", "history.json", "model"):
        if not (path / name).exists():
            rule = "the folder of a run that mlpkit train has finished"
            raise ConfigError(error_message("run", rule, str(path), f"there is no {name} in it"))
    text = (path / "config.toml").read_text(encoding="utf-8")
    values = _serialization.parse_toml(text, source=str(path / "config.toml"))
    argument = f"dataset in {path / 'config.toml'}"
    try:
        dataset = check_choice(argument, values.get("dataset"), get_args(DatasetName))
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
    record = path / "layer_health.json"
    known = values.get("root")
    if root is None and isinstance(known, str):
        root = known
    return Run(
        title=path.resolve().name,
        model=SoftmaxClassifier.load(path / "model"),
        test=load(dataset, root=None if root is None else Path(root)).test,
        history=History.from_json(path / "history.json"),
        config=text,
        layer_health=read_layer_health(record) if record.exists() else {},
    )
