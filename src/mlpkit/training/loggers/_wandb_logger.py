"""Callback that logs a run to Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, get_args

from mlpkit._checks import check_choice
from mlpkit._serialization import JSONValue
from mlpkit.training.loggers._tracking_logger import TrackingLogger, import_service

__all__ = ["WandbLogger"]

WandbMode: TypeAlias = Literal["online", "offline", "disabled"]


class _Config(Protocol):
    """The methods of wandb's Config that the logger uses."""

    def keys(self) -> Iterable[str]: ...

    def update(self, d: dict[str, JSONValue], *, allow_val_change: bool) -> None: ...


class _Summary(Protocol):
    """The methods of wandb's Summary that the logger uses."""

    def get(self, key: str, default: object = None) -> object: ...

    def update(self, d: dict[str, str | float]) -> None: ...


class WandbRun(Protocol):
    """The attributes of ``wandb.Run`` that the logger uses."""

    @property
    def id(self) -> str: ...

    @property
    def config(self) -> _Config: ...

    @property
    def summary(self) -> _Summary: ...

    def define_metric(self, name: str, step_metric: str | None = None) -> object: ...

    def log(self, data: dict[str, float], step: int | None = None) -> None: ...

    def finish(self, exit_code: int | None = None) -> None: ...


class WandbLogger(TrackingLogger):
    """Logs a run to Weights & Biases: settings, one row per epoch, and the result.

    The configuration of the run at the service has the settings of the trainer, and under ``model``
    those of the model. Each epoch adds one row with the columns of the history, over the optimizer
    step. At the end the summary has ``stop_reason``, ``best_epoch`` and ``best_value``; after an
    exception the run has failed. A resumed run continues the run of its checkpoint, and logs no
    epoch again that the checkpoint or the summary of the run has. Offline, a resumed run has files
    of both processes, and the summary is unknown: an epoch that was logged after the last
    checkpoint is in both, at the same step.

    Args:
        project: Name of the project; None means that of the environment (``WANDB_PROJECT``).
        entity: User or team that owns the project; None means the default one.
        name: Name of the run; None chooses one.
        group: Group of the run, such as the name of a sweep; None means no group.
        tags: Tags of the run; None means none.
        folder: Folder of wandb's files; None means that of the environment, ``./wandb``.
        mode: ``"online"`` uploads the run, ``"offline"`` only writes files, which ``wandb sync``
            uploads later, and ``"disabled"`` writes nothing; None means that of the environment
            (``WANDB_MODE``), online by default.
        run: A run that ``wandb.init`` has started. It is not ended, and keeps the settings that it
            has. The other options must be None then. To continue it, give the resumed run.

    Attributes:
        run_id: Id of the run in the service; None before it is started.

    Raises:
        ValueError: If ``mode`` is unknown, or an option is set together with ``run``.
        MissingDependencyError: If wandb is not installed; raised when the run starts.

    Example:
        >>> from mlpkit.training import WandbLogger
        >>> logger = WandbLogger(project="digits", mode="offline")
    """

    def __init__(
        self,
        *,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        mode: WandbMode | None = None,
        run: WandbRun | None = None,
    ) -> None:
        options: dict[str, object] = {
            "project": project,
            "entity": entity,
            "name": name,
            "group": group,
            "tags": tags,
            "folder": folder,
            "mode": mode if mode is None else check_choice("mode", mode, get_args(WandbMode)),
        }
        super().__init__(None if run is None else run.id, options)
        self._options = {"dir": options.pop("folder"), **options}
        self._run = run
        self._columns: set[str] = set()

    def _start(self) -> int:
        if not self._is_given:
            self._run = import_service("wandb", "WandbLogger").init(
                **self._options,
                id=self.run_id,
                resume=None if self.run_id is None else "allow",
                reinit="create_new",  # leaves other runs of the process alone
            )
        run = self._active_run
        self.run_id, self._columns = run.id, set()
        step = run.summary.get("step")
        return step if isinstance(step, int) else 0

    def _log_parameters(self, parameters: Mapping[str, JSONValue]) -> None:
        config = self._active_run.config
        kept = set(config.keys()) if self._is_given else set()
        new = {name: value for name, value in parameters.items() if name not in kept}
        config.update(new, allow_val_change=True)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        run = self._active_run
        for column in values.keys() - self._columns - {"step"}:
            run.define_metric(column, step_metric="step")
            self._columns.add(column)
        # A given run counts its own steps, which must not decrease.
        run.log(dict(values), step=None if self._is_given else step)

    def _log_result(self, stop_reason: str, best: Mapping[str, float], step: int) -> None:  # noqa: ARG002
        self._active_run.summary.update({"stop_reason": stop_reason, **best})

    def _finish(self, error: BaseException | None) -> None:
        self._active_run.finish(exit_code=0 if error is None else 1)
        self._run = None

    @property
    def _active_run(self) -> WandbRun:
        assert self._run is not None
        return self._run
