"""What the loggers of tracking services have in common."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from mlpkit._checks import error_message
from mlpkit._serialization import JSONValue, to_dict
from mlpkit.errors import MissingDependencyError
from mlpkit.training._callbacks import Callback
from mlpkit.training._fit_result import FitResult
from mlpkit.training._trainer import Trainer
from mlpkit.training.metrics import EpochRow

__all__ = ["TrackingLogger", "import_service"]


class TrackingLogger(Callback, ABC):
    """Logs each epoch once to a run of a tracking service; a subclass talks to the service.

    Args:
        given_id: Id of a run that the caller has started; None starts one in ``fit``.
        options: Options of a run that is started in ``fit``; all None if a run is given.

    Attributes:
        run_id: Id of the run in the service; None before it is started.
    """

    on_every_rank = False

    def __init__(self, given_id: str | None, options: Mapping[str, object]) -> None:
        for name, value in options.items():
            if given_id is not None and value is not None:
                cure = "set it where the run is started"
                raise ValueError(error_message(name, "None if a run is given", value, cure))
        self.run_id = given_id
        self._is_given = given_id is not None
        self._logged_step = 0
        self._is_active = False

    def on_fit_start(self, trainer: Trainer) -> None:
        """Start a run, or continue that of the checkpoint; log the epochs that it does not have."""
        is_new = trainer.state.step == 0
        if is_new:
            self._logged_step = 0
            self.run_id = self.run_id if self._is_given else None
        logged_step = self._start()
        self._is_active = True
        self._log_parameters(_parameters(trainer))
        if not is_new:
            self._logged_step = max(self._logged_step, logged_step)
        for row in trainer.history:
            self.on_epoch_end(trainer, row)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
        """Log the row, unless the run has it already."""
        if self._is_active and row.step > self._logged_step:
            values = {name: value for name, value in row.to_dict().items() if value is not None}
            self._log(values, row.step)
            self._logged_step = row.step

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:  # noqa: ARG002
        """End the run as a failed one, unless the caller has started it."""
        self._end(error)

    def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:  # noqa: ARG002
        """Log the result, and end the run unless the caller has started it."""
        if self._is_active:
            state = result.state
            best = {"best_epoch": state.best_epoch, "best_value": state.best_value}
            known = {name: value for name, value in best.items() if value is not None}
            self._log_result(result.stop_reason, known, state.step)
        self._end(None)

    def state_dict(self) -> dict[str, JSONValue]:
        """Return the id of the run and the step of the last row; empty before there is a run."""
        if self.run_id is None:
            return {}
        return {"run_id": self.run_id, "step": self._logged_step}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Continue the run of the checkpoint; a given run that is another one gets every row."""
        run_id, step = state["run_id"], state["step"]
        if isinstance(run_id, str) and isinstance(step, int):
            is_other = self._is_given and run_id != self.run_id
            self.run_id = self.run_id if is_other else run_id
            self._logged_step = 0 if is_other else step

    def _end(self, error: BaseException | None) -> None:
        is_own, self._is_active = self._is_active and not self._is_given, False
        if is_own:
            self._finish(error)

    @abstractmethod
    def _start(self) -> int:
        """Start or continue the run, set ``run_id``, and return the last step that the run has."""

    @abstractmethod
    def _log_parameters(self, parameters: Mapping[str, JSONValue]) -> None:
        """Log the settings; a given run keeps the parameters that it has."""

    @abstractmethod
    def _log(self, values: Mapping[str, float], step: int) -> None:
        """Log the columns of one epoch."""

    @abstractmethod
    def _log_result(self, stop_reason: str, best: Mapping[str, float], step: int) -> None:
        """Log how the training run ended."""

    @abstractmethod
    def _finish(self, error: BaseException | None) -> None:
        """End the run, as a failed one if there is an error."""


def import_service(package: str, logger: str) -> ModuleType:
    """Import an optional package whose extra has the same name."""
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"{logger} needs {package}, which cannot be imported; pip install 'mlpkit[{package}]'"
        ) from error


def _parameters(trainer: Trainer) -> dict[str, JSONValue]:
    """Return the settings of the run and of the first module of the model with a config."""
    model: dict[str, JSONValue] = {"class": type(trainer.model).__name__}
    for module in trainer.model.modules():
        config: object = getattr(module, "config", None)
        if dataclasses.is_dataclass(config) and not isinstance(config, type):
            model |= to_dict(config)
            break
    objective = type(trainer.objective).__name__
    return {**trainer.config.to_dict(), "objective": objective, "model": model}
