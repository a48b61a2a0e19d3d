"""Content of a checkpoint; saving and restoring of a run."""

from __future__ import annotations

import dataclasses
import functools
import platform
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit import _serialization
from mlpkit._checks import Unquoted, error_message
from mlpkit._serialization import JSONValue, Saved, flattened, to_saved
from mlpkit.errors import CheckpointCorruptError, ResumeMismatchError
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training._hooks import CallbackLike
from mlpkit.training._ranks import ALONE, Ranks
from mlpkit.training._shards import whole_state
from mlpkit.training._stepper import Stepper
from mlpkit.training._tracker import Tracker, TrainState
from mlpkit.training.batches import BatchSource, StatefulSource, StreamBatches
from mlpkit.training.checkpoints._file_format import (
    first_nonfinite,
    read_checkpoint,
    write_checkpoint,
)
from mlpkit.training.checkpoints._fingerprint import (
    check_same,
    normalize_reprs,
    run_fingerprint,
    settings,
)
from mlpkit.training.checkpoints._random_stream import RandomStream
from mlpkit.training.optim import AverageState, BestWeights, WeightSwapper

__all__ = ["Checkpointer", "saved_config"]

#: Settings that each process of a run may choose.
_OWN = ("device", "max_seconds", "progress")

_CONTENT = frozenset(
    {
        *("versions", "average", "config", "fingerprint", "model", "optimizer", "scaler"),
        *("total_steps", "state", "meter", "history", "callbacks", "rng"),
    }
)


class Checkpointer:
    """Collects the state of a run into a checkpoint, and restores a run from one.

    Args:
        config: The settings.
        model: The model.
        stepper: Holds the model or its sharded copy, the optimizer and the loss scaler.
        tracker: Holds counters, running means and history.
        weights: Holds the trained and the averaged weights.
        best: Keeps the weights of the best epoch; None keeps none.
        stream: Random stream of the run.
        val: Batches to validate on, or None.
        callbacks: Callbacks whose state is saved.
        ranks: The processes of the run, of which the first writes the files.

    Attributes:
        path: The newest checkpoint that was written or restored; None before one.
    """

    def __init__(
        self,
        config: FilledConfig,
        *,
        model: nn.Module,
        stepper: Stepper,
        tracker: Tracker,
        weights: WeightSwapper,
        best: BestWeights | None,
        stream: RandomStream,
        val: BatchSource | None,
        callbacks: Sequence[CallbackLike],
        ranks: Ranks = ALONE,
    ) -> None:
        self.path: Path | None = None
        self._config = config
        self._model = model
        self._stepper = stepper
        self._tracker = tracker
        self._weights = weights
        self._best = best
        self._stream = stream
        self._val = val
        self._callbacks = _by_name(callbacks)
        self._ranks = ranks
        self._obsolete: list[Path] = []

    def replace_on_save(self, paths: Sequence[Path]) -> None:
        """Remove checkpoints of an earlier run as soon as this run has written its first one."""
        self._obsolete = list(paths)

    def belongs_to_run(self, path: Path) -> bool:
        """Return whether a checkpoint is one of this run, by data, model and settings."""
        content = read_checkpoint(path)
        states = cast("dict[str, dict[str, JSONValue]]", content["callbacks"])
        try:
            self._check_same_run(path, content, states)
        except ResumeMismatchError:
            return False
        return True

    def save(self, path: Path) -> None:
        """Write a checkpoint, unless a number in it is not finite.

        Raises:
            NonFiniteStep: If a number is NaN or infinite; nothing is written then.
            CheckpointWriteError: If the file cannot be written.
        """
        self._stepper.guard.sync()
        content = self._content()
        self._ranks.do_on_first(lambda: self._write(path, content))
        self.path = path

    def check_same_on_ranks(self) -> None:
        """Check that all processes make the same run.

        Raises:
            ValueError: If their data, models or settings differ.
        """
        if self._ranks.size == 1:
            return
        plain = {key: value for key, value in self._config.to_dict().items() if key not in _OWN}
        named = {f"config.{key}": repr(value) for key, value in flattened(plain).items()}
        first, *others = self._ranks.gather({**self._fingerprint, **named})
        for rank, other in enumerate(others, 1):
            for name in sorted(first.keys() | other.keys()):
                if first.get(name) != other.get(name):
                    got = f"{first.get(name)} in process 0 and {other.get(name)} in process {rank}"
                    cure = "give all processes the same data, model and settings"
                    rule = "the same in every process"
                    raise ValueError(error_message(name, rule, Unquoted(got), cure))

    def _write(self, path: Path, content: Mapping[str, Saved]) -> None:
        name = first_nonfinite(self._judged(content))
        if name is not None:
            raise self._tracker.nonfinite_step(f"{name} in the checkpoint")
        write_checkpoint(path, content)
        for other in self._obsolete:
            if other != path:
                other.unlink(missing_ok=True)
        self._obsolete = []

    def _judged(self, content: Mapping[str, Saved]) -> dict[str, Saved]:
        """Return the part of a checkpoint that must be finite: all but the buffers of the model.

        A buffer may be infinite on purpose, as a mask is.
        """
        parameters = {name for name, _ in self._model.named_parameters()}
        weights = cast("dict[str, Tensor]", content["model"])
        average = cast("AverageState | None", content["average"])
        tensors = {} if average is None else average["tensors"]
        best = cast("dict[str, Tensor]", content["best"] or {})
        return {
            **content,
            "source": None,  # a state of other code, which is free to hold infinity
            "best": {name: value for name, value in best.items() if name in parameters},
            "model": {name: value for name, value in weights.items() if name in parameters},
            "average": {name: value for name, value in tensors.items() if name in parameters},
        }

    def _content(self) -> dict[str, Saved]:
        """Return the content of a checkpoint in tensors and plain values."""
        stepper = self._stepper
        content: dict[str, object] = {
            "versions": {
                "mlpkit": version("mlpkit"),
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            # without the folder, so that a shared file contains no path of the machine
            "config": dataclasses.replace(self._config, checkpoints=None).to_dict(),
            "model_config": _model_config(self._model),
            "fingerprint": self._fingerprint,
            **self._run_state(),
            "optimizer": to_saved("optimizer", stepper.optimizer.state_dict()),
            "total_steps": stepper.total_steps,
            "callbacks": self._callback_states(),
            "source": self._source_state(),
        }
        if stepper.model is self._model:
            return cast("dict[str, Saved]", content)
        return cast("dict[str, Saved]", whole_state(content, keep=self._ranks.is_first))

    def _run_state(self) -> dict[str, object]:
        """Return the state of the run; the tensors share memory with it."""
        scaler = self._stepper.engine.scaler
        return {
            "model": self._weights.trained_weights(),
            "average": self._weights.average_state(),
            "best": None if self._best is None else self._best.weights,
            "optimizer": self._stepper.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            **self._tracker.state_dict(),
            **self._random_states(),
        }

    def _random_states(self) -> dict[str, object]:
        """Return the random state of the first process, and those of the others in order."""
        first, *others = self._ranks.gather(self._stream.state_dict())
        return {"rng": first, "rng_of_ranks": others}

    def check_states(self) -> None:
        """Raise TypeError if a callback or the training data have a state that cannot be saved."""
        self._callback_states()
        self._source_state()

    def _source_state(self) -> Saved:
        """Return the state of a stream in tensors and plain values; None if it has none."""
        source = self._stepper.train
        if not isinstance(source, StatefulSource):
            return None
        return to_saved("the state of train", source.state_dict())

    def _callback_states(self) -> dict[str, Saved]:
        """Return the state of each callback that has one, in tensors and plain values.

        Raises:
            TypeError: If a callback returns something else.
        """
        states = {
            key: to_saved(f"callbacks.{key}", callback.state_dict())
            for key, callback in self._callbacks.items()
        }
        return {key: state for key, state in states.items() if state}

    def restore(self, path: Path, content: Mapping[str, Saved]) -> None:
        """Restore the state of a checkpoint, after checking that it belongs to this run.

        Raises:
            CheckpointCorruptError: If a part is missing from the checkpoint.
            ResumeMismatchError: If it belongs to other data, another model or other settings.
            ValueError: If the training data are a stream without a state.
        """
        source = self._stepper.train
        _check_has_position(source)
        _check_complete(path, content)
        states = cast("dict[str, dict[str, JSONValue]]", content["callbacks"])
        self._stepper.continue_from(TrainState(**cast("dict[str, int]", content["state"])))
        self._check_same_run(path, content, states)
        self._load_run_state(content)
        for key, state in states.items():
            self._callbacks[key].load_state_dict(state)
        if isinstance(source, StatefulSource):
            source.load_state_dict(dict(cast("dict[str, object]", content["source"])))
        self.path = path

    def continue_from(self, previous: Checkpointer) -> None:
        """Take over the state of the previous run of the same model, which goes on in this one.

        The schedule is that of the steps so far and those of the remaining epochs. The callbacks
        have their state. An epoch that has begun is continued if the training data are the same,
        and begun again otherwise. A stream continues if it is the same object.

        Raises:
            ValueError: If the model has other trainable parameters now.
        """
        _check_same_parameters(previous._stepper.optimizer, self._stepper.optimizer)
        previous._tracker.restart_clock()
        self._load_run_state(cast("dict[str, Saved]", previous._run_state()))
        if isinstance(self._stepper.train, StreamBatches):
            self._stepper.train.continue_from(previous._stepper.train)
        if self._tracker.state.batch:
            fields = [name for name in self._fingerprint if name.startswith("data.train")]
            if any(previous._fingerprint[name] != self._fingerprint[name] for name in fields):
                self._tracker.restart_epoch()
        self._stepper.continue_from(self._tracker.state)
        self.path, self._obsolete = previous.path, previous._obsolete

    def _load_run_state(self, content: Mapping[str, Saved]) -> None:
        stepper = self._stepper
        self._tracker.load_state_dict({key: content[key] for key in ("state", "meter", "history")})
        self._weights.load_state(
            cast("dict[str, Tensor]", content["model"]),
            cast("AverageState | None", content["average"]),
        )
        if self._best is not None:
            kept = cast("dict[str, Tensor] | None", content.get("best"))
            self._best.load(kept, stepper.model)
        stepper.optimizer.load_state_dict(cast("dict[str, object]", content["optimizer"]))
        if stepper.engine.scaler is not None:
            stepper.engine.scaler.load_state_dict(cast("dict[str, object]", content["scaler"]))
        others = cast("list[dict[str, Tensor]]", content.get("rng_of_ranks") or [])
        states = [cast("dict[str, Tensor]", content["rng"]), *others]
        if self._ranks.rank < len(states):  # a process that the run did not have starts its stream
            self._stream.load_state_dict(states[self._ranks.rank])

    def _check_same_run(
        self,
        path: Path,
        content: Mapping[str, Saved],
        states: Mapping[str, Mapping[str, JSONValue]],
    ) -> None:
        """Raise if data, model, settings, callbacks or the schedule so far differ."""
        saved = cast("dict[str, str]", content["fingerprint"])
        config = saved_config(content, path)
        written_with = cast("dict[str, str]", content["versions"])["torch"]
        has_same_torch = written_with == str(torch.__version__)
        if not has_same_torch:
            saved = normalize_reprs(saved, self._fingerprint, self._model)
        was, now = {**saved, **settings(config)}, {**self._fingerprint, **settings(self._config)}
        if was["data.train"] != now["data.train"]:  # its digest does not show the batch size
            name = "batch_size"  # of the settings, or of data that is already batched
            was[name], now[name] = str(config.batch_size), str(self._config.batch_size)
        check_same(path, was, now)
        check_same(
            path,
            {f"callbacks.{key}": "with a state" for key in states},
            {f"callbacks.{key}": "with a state" for key in states if key in self._callbacks},
        )
        if config.max_steps != self._config.max_steps and self._has_short_epoch(content, config):
            name = "config.max_steps"
            check_same(path, {name: str(config.max_steps)}, {name: str(self._config.max_steps)})
        name = "data.train.state"
        saved_state = content.get("source") is not None
        has_state = isinstance(self._stepper.train, StatefulSource)
        check_same(path, {name: str(saved_state)}, {name: str(has_state)})
        rates = self._stepper.rates
        total = cast("int", content["total_steps"])
        done = cast("dict[str, int]", content["state"])["step"]
        if rates.differ(total, steps_done=done):
            name = "schedule.total_steps"
            check_same(path, {name: str(total)}, {name: str(rates.total_steps)})
        if not has_same_torch:
            warnings.warn(
                f"{path} was written with torch {written_with}, resuming with "
                f"{torch.__version__}: the result may differ in the last bits",
                stacklevel=5,
            )

    def _has_short_epoch(self, content: Mapping[str, Saved], config: TrainerConfig) -> bool:
        """Return whether ``max_steps`` has cut the last epoch of a checkpoint short.

        With another limit a run would make the steps that are missing in it.
        """
        state = TrainState(**cast("dict[str, int]", content["state"]))
        rows = cast("list[dict[str, int]]", content["history"])
        if state.batch or state.step != config.max_steps or not rows:
            return False
        first_step = rows[-2]["step"] if len(rows) > 1 else 0
        return state.step - first_step < self._stepper.steps_per_epoch

    @functools.cached_property
    def _fingerprint(self) -> dict[str, str]:
        stepper = self._stepper
        return run_fingerprint(
            self._model, stepper.objective, stepper.optimizer, stepper.train, self._val
        )


def _by_name(callbacks: Sequence[CallbackLike]) -> dict[str, CallbackLike]:
    """Return the callbacks by class name, numbered from the second of a class on."""
    named: dict[str, CallbackLike] = {}
    for callback in callbacks:
        name = type(callback).__qualname__
        number = sum(key.partition("#")[0] == name for key in named)
        named[f"{name}#{number + 1}" if number else name] = callback
    return named


def _check_has_position(source: BatchSource) -> None:
    if isinstance(source, StreamBatches) and not isinstance(source, StatefulSource):
        rule = "a stream with state_dict and load_state_dict for resume"
        got = Unquoted("a DataLoader whose position is not known")
        cure = (
            "add these methods to the IterableDataset and read it with num_workers=0, use "
            "torchdata's StatefulDataLoader, or continue from the weights with init_from"
        )
        raise ValueError(error_message("train", rule, got, cure))  # noqa: TRY004 - a valid type


def _check_same_parameters(previous: Optimizer, optimizer: Optimizer) -> None:
    """Raise if the state of the previous optimizer belongs to other parameters."""
    before, now = (
        [[tuple(parameter.shape) for parameter in group["params"]] for group in one.param_groups]
        for one in (previous, optimizer)
    )
    if before != now:
        rule = "a model with the trainable parameters of the previous run for warm_start"
        cure = "call fit without warm_start: it starts from the weights of the model"
        raise ValueError(error_message("model", rule, Unquoted("others"), cure))


def _check_complete(path: Path, content: Mapping[str, Saved]) -> None:
    missing = sorted(_CONTENT - content.keys())
    if missing:
        raise CheckpointCorruptError(f"{path} must hold {', '.join(missing)}, got none")


def saved_config(content: Mapping[str, Saved], path: Path) -> TrainerConfig:
    """Return the settings in a checkpoint; those that are missing in the file get their default.

    Args:
        content: The content of the checkpoint.
        path: Its path, for error messages.

    Raises:
        CheckpointCorruptError: If a part is missing from the checkpoint.
    """
    _check_complete(path, content)
    values = cast("dict[str, JSONValue]", content["config"])
    return _serialization.from_dict(TrainerConfig, values, source=str(path))


def _model_config(model: nn.Module) -> dict[str, JSONValue] | None:
    """Return the configuration of a model, from which it can be rebuilt; None if it has none."""
    config: object = getattr(model, "config", None)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return _serialization.to_dict(config)
    return None
