"""Callback that logs a run to MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from mlpkit._checks import error_message
from mlpkit._serialization import JSONValue, flattened
from mlpkit.errors import TrainingInterrupted
from mlpkit.training.loggers._tracking_logger import TrackingLogger, import_service

__all__ = ["MLflowLogger"]


class _RunInfo(Protocol):
    @property
    def run_id(self) -> str: ...


@runtime_checkable
class MLflowRun(Protocol):
    """The attributes of MLflow's ``Run`` and ``ActiveRun`` that the logger uses."""

    @property
    def info(self) -> _RunInfo: ...


class MLflowLogger(TrackingLogger):
    """Logs a run to MLflow: settings, one value per column and epoch, and the result.

    The parameters of the run are the settings of the trainer, such as ``optimizer.lr``, and those
    of the model, such as ``model.class``. Each epoch adds the columns of the history as metrics
    over the optimizer step. At the end ``best_epoch`` and ``best_value`` are metrics, and
    ``stop_reason`` is a tag. After an exception the status of the run is ``FAILED``, after SIGTERM
    or Ctrl-C ``KILLED``. A resumed run continues the run of its checkpoint, and logs no epoch again
    that it has. Parameters cannot be changed in MLflow: the run keeps those that it has.

    Args:
        experiment_name: Name of the experiment, which is created if it does not exist; None means
            ``"Default"``.
        run_name: Name of the run; None means one that MLflow chooses.
        tracking_uri: Where the runs are stored, such as ``"sqlite:///mlflow.db"`` or the address of
            a server; None means that of MLflow (``MLFLOW_TRACKING_URI``).
        tags: Tags of the run; None means none.
        run: A run that has been started, such as ``mlflow.active_run()``. It is not ended.
            ``experiment_name``, ``run_name`` and ``tags`` must be None then. To continue it, give
            the same run again.

    Attributes:
        run_id: Id of the run in the service; None before it is started.

    Raises:
        TypeError: If ``run`` is no run of MLflow.
        ValueError: If an option is set together with ``run``.
        MissingDependencyError: If mlflow is not installed; raised when the run starts.

    Example:
        >>> from mlpkit.training import MLflowLogger
        >>> logger = MLflowLogger(experiment_name="digits", tracking_uri="sqlite:///mlflow.db")
    """

    def __init__(
        self,
        *,
        experiment_name: str | None = None,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
        run: MLflowRun | None = None,
    ) -> None:
        if run is not None and not isinstance(run, MLflowRun):
            raise TypeError(error_message("run", "a run of MLflow", run))
        options = {"experiment_name": experiment_name, "run_name": run_name, "tags": tags}
        super().__init__(None if run is None else run.info.run_id, options)
        self._experiment_name = experiment_name or "Default"
        self._run_name = run_name
        self._tracking_uri = tracking_uri
        self._tags = None if tags is None else dict(tags)

    def _start(self) -> int:
        mlflow = import_service("mlflow", "MLflowLogger")
        self._entities = mlflow.entities
        self._client = client = mlflow.MlflowClient(self._tracking_uri)
        if self.run_id is None:
            name = self._experiment_name
            found = client.get_experiment_by_name(name)
            experiment = client.create_experiment(name) if found is None else found.experiment_id
            run = client.create_run(experiment, run_name=self._run_name, tags=self._tags)
            self.run_id = str(run.info.run_id)
        elif not self._is_given:
            client.update_run(self.run_id, status="RUNNING")
        rows = client.get_metric_history(self.run_id, "train_loss")
        return max((int(row.step) for row in rows), default=0)

    def _log_parameters(self, parameters: Mapping[str, JSONValue]) -> None:
        known = self._client.get_run(self.run_id).data.params
        new = [
            self._entities.Param(name, str(value))
            for name, value in flattened(parameters).items()
            if name not in known
        ]
        self._client.log_batch(self.run_id, params=new)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = time.time_ns() // 1_000_000
        columns = [
            self._entities.Metric(name, value, now, step)
            for name, value in values.items()
            if name != "step"
        ]
        self._client.log_batch(self.run_id, metrics=columns)

    def _log_result(self, stop_reason: str, best: Mapping[str, float], step: int) -> None:
        self._log(best, step)
        self._client.set_tag(self.run_id, "stop_reason", stop_reason)

    def _finish(self, error: BaseException | None) -> None:
        is_killed = isinstance(error, TrainingInterrupted | KeyboardInterrupt)
        status = "FINISHED" if error is None else "KILLED" if is_killed else "FAILED"
        self._client.set_terminated(self.run_id, status)
