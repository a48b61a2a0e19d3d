"""The exceptions of mlpkit, with one base class.

A wrong argument raises the built-in ``TypeError`` or ``ValueError`` with the message
``<argument> must be <rule>, got <value>; <what to do>``. For errors that a program may want to
catch there are separate classes, which also derive from the matching built-in exception:

.. code-block:: text

    MlpkitError
    +-- ConfigError (ValueError)             a configuration file cannot be used
    +-- DataError (ValueError)               a data file or data set is invalid
    |   +-- DownloadError (also OSError)     a data set could not be downloaded
    +-- ArtifactError (ValueError)           a saved model cannot be used
    +-- MissingDependencyError (ImportError) an optional package is missing or broken
    +-- NonFiniteError (ArithmeticError)     loss or gradient is NaN or infinite
    +-- CheckpointError (OSError)
    |   +-- CheckpointWriteError             a checkpoint could not be written
    |   +-- CheckpointCorruptError           a checkpoint is damaged
    |   +-- CheckpointVersionError           a checkpoint has an unknown format version
    +-- ResumeMismatchError (ValueError)     a checkpoint belongs to another run
    +-- TrainingInterrupted                  SIGTERM stopped the run

    KeyboardInterrupt
    +-- TrainingKeyboardInterrupt            Ctrl-C stopped the run

Ctrl-C raises a ``KeyboardInterrupt``, which ``except Exception`` does not catch, so a sweep that
continues after failed runs ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "ArtifactError",
    "CheckpointCorruptError",
    "CheckpointError",
    "CheckpointVersionError",
    "CheckpointWriteError",
    "ConfigError",
    "DataError",
    "DownloadError",
    "MissingDependencyError",
    "MlpkitError",
    "NonFiniteError",
    "ResumeMismatchError",
    "TrainingInterrupted",
    "TrainingKeyboardInterrupt",
]


class MlpkitError(Exception):
    """Base class of all exceptions of mlpkit."""


def _restored(kind: type[MlpkitError], message: str) -> MlpkitError:
    """Return an exception without its attributes, as the first step of unpickling it.

    An exception is unpickled by default by calling its class with the message alone, which does not
    work for a class with other arguments.
    """
    return kind.__new__(kind, message)


class ConfigError(MlpkitError, ValueError):
    """A configuration cannot be read, or has an unknown or a missing key."""


class DataError(MlpkitError, ValueError):
    """A data file or data set is damaged or does not have the expected content."""


class DownloadError(DataError, OSError):
    """A data set could not be downloaded; the message lists each address with its error."""


class ArtifactError(MlpkitError, ValueError):
    """A saved model is incomplete, damaged or has an unknown format version."""


class MissingDependencyError(MlpkitError, ImportError):
    """An optional package is not installed, or cannot be imported with this version of torch."""


class NonFiniteError(MlpkitError, ArithmeticError):
    """The loss or the gradient became NaN or infinite, and training stopped.

    The arguments are the attributes and ``cure``, what the message advises to do.

    Attributes:
        step: Index of the optimizer step, from 0, in which the value appeared.
        epoch: Index of the epoch of that step, from 0.
        loss: Loss of that step in nats.
        lr: Learning rate of that step.
        grad_norm: Euclidean norm of the gradient of that step; None if it was not computed.
        checkpoint: The last checkpoint written before that step; None if there is none.
        network: Index of the network, from 0, if several are trained together; else None.
    """

    def __init__(
        self,
        *,
        step: int,
        epoch: int,
        loss: float,
        lr: float,
        grad_norm: float | None,
        checkpoint: Path | None,
        network: int | None = None,
        cure: str = "lower the learning rate or check the inputs",
    ) -> None:
        self.step = step
        self.epoch = epoch
        self.loss = loss
        self.lr = lr
        self.grad_norm = grad_norm
        self.checkpoint = checkpoint
        self.network = network
        run = "training" if network is None else f"training of network {network}"
        norm = "not computed" if grad_norm is None else f"{grad_norm:g}"
        last = "none was written" if checkpoint is None else str(checkpoint)
        super().__init__(
            f"{run} must stay finite, got loss {loss:g} and gradient norm {norm} at step {step} "
            f"(epoch {epoch}, lr {lr:g}); {cure}. "
            f"Last good checkpoint: {last}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), str(self)), self.__dict__


class CheckpointError(MlpkitError, OSError):
    """A checkpoint could not be written or read."""


class CheckpointWriteError(CheckpointError):
    """A checkpoint could not be written; an older one at the same path is unchanged."""


class CheckpointCorruptError(CheckpointError):
    """A checkpoint is truncated or altered, or the file is not a checkpoint."""


class CheckpointVersionError(CheckpointError):
    """A checkpoint has a format version that this version of mlpkit cannot read."""


class ResumeMismatchError(MlpkitError, ValueError):
    """A checkpoint belongs to a run with other data, another model or other settings.

    Attributes:
        differences: For each setting that differs, the saved value and the current value.
    """

    _LISTED = 4  # differences that the message names
    #: Chosen by the user; models follow.
    _FIRST = ("batch_size", "data.", "config.", "objective", "optimizer")

    def __init__(self, checkpoint: Path, differences: Mapping[str, tuple[str, str]]) -> None:
        self.checkpoint = checkpoint
        self.differences = dict(differences)
        first = sorted(differences, key=lambda field: not field.startswith(self._FIRST))
        listed = "; ".join(
            f"{field}: saved {_shortened(differences[field][0])}, "
            f"now {_shortened(differences[field][1])}"
            for field in first[: self._LISTED]
        )
        if len(first) > self._LISTED:
            listed += f"; and {len(first) - self._LISTED} more"
        super().__init__(
            f"resume must continue the same run, got a checkpoint ({checkpoint}) that differs "
            f"in {listed}; use the saved settings, or start a new run without resume"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), str(self)), self.__dict__


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class TrainingInterrupted(MlpkitError):  # noqa: N818 - an interruption is not an error
    """SIGTERM requested the end of the run, which stopped after the current optimizer step.

    Attributes:
        signum: Number of the signal, 15 for SIGTERM.
        checkpoint: The checkpoint that was written; None if the run writes no checkpoints.
    """

    def __init__(self, signum: int, checkpoint: Path | None) -> None:
        self.signum = signum
        self.checkpoint = checkpoint
        super().__init__(signum, checkpoint)  # the arguments, so that it can be pickled

    def __str__(self) -> str:
        return _interruption_text(self.signum, self.checkpoint)


class TrainingKeyboardInterrupt(KeyboardInterrupt):
    """Ctrl-C requested the end of the run, which stopped after the current optimizer step.

    It is a ``KeyboardInterrupt`` and not an ``Exception``: ``except Exception`` does not catch it.

    Attributes:
        signum: Number of the signal, 2 for SIGINT.
        checkpoint: The checkpoint that was written; None if the run writes no checkpoints.
    """

    def __init__(self, signum: int, checkpoint: Path | None) -> None:
        self.signum = signum
        self.checkpoint = checkpoint
        super().__init__(signum, checkpoint)

    def __str__(self) -> str:
        return _interruption_text(self.signum, self.checkpoint)


def _interruption_text(signum: int, checkpoint: Path | None) -> str:
    hint = "no checkpoint was written" if checkpoint is None else f"resume from {checkpoint}"
    return f"training was interrupted by signal {signum}; {hint}"
