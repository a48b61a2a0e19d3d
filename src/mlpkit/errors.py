"""Every exception that mlpkit raises on its own behalf, in one tree.

A wrong argument raises the built-in ``TypeError`` or ``ValueError`` with the sentence
``<argument> must be <rule>, got <value>; <what to do>``. What a program may want to catch
has a type of its own, which also derives from the built-in that a reader would expect::

    MlpkitError
    +-- ConfigError (ValueError)             a configuration file that cannot be used
    +-- DataError (ValueError)               a data file or data set that cannot be trusted
    |   +-- DownloadError (also OSError)     no source could deliver a data set
    +-- ArtifactError (ValueError)           a saved model folder that cannot be used
    +-- MissingDependencyError (ImportError) an optional package is absent or broken
    +-- NonFiniteError (ArithmeticError)     training met NaN or infinity
    +-- CheckpointError (OSError)
    |   +-- CheckpointWriteError             a checkpoint could not be written
    |   +-- CheckpointCorruptError           a checkpoint is damaged
    |   +-- CheckpointVersionError           a checkpoint of an unknown format
    +-- ResumeMismatchError (ValueError)     a checkpoint of something else
    +-- TrainingInterrupted                  a signal stopped the training
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
]


class MlpkitError(Exception):
    """The root of the tree: catch it to catch everything that is mlpkit's own."""


class ConfigError(MlpkitError, ValueError):
    """A configuration file or mapping has an unknown key or cannot be read."""


class DataError(MlpkitError, ValueError):
    """A data file or data set is not what it claims to be."""


class DownloadError(DataError, OSError):
    """No source delivered the data; the message lists each address with its reason."""


class ArtifactError(MlpkitError, ValueError):
    """A saved model folder is incomplete, damaged or of an unknown version."""


class MissingDependencyError(MlpkitError, ImportError):
    """An optional package is not installed, or cannot be imported beside this torch."""


class NonFiniteError(MlpkitError, ArithmeticError):
    """Training met NaN or infinity and stopped before it could spread.

    Attributes:
        step: The optimizer step, counted from 0, in which the value appeared.
        epoch: The epoch, counted from 0, that the step belongs to.
        loss: Loss of that step in nats, possibly NaN.
        lr: Learning rate of that step.
        grad_norm: Euclidean norm of the gradient of that step; None where none was computed.
        checkpoint: The last checkpoint written before the step; None where there is none.
        network: Which of several networks that are trained at once, from 0; None for a single one.
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
    ) -> None:
        self.step = step
        self.epoch = epoch
        self.loss = loss
        self.lr = lr
        self.grad_norm = grad_norm
        self.checkpoint = checkpoint
        self.network = network
        which = "training" if network is None else f"training of network {network}"
        norm = "not computed" if grad_norm is None else f"{grad_norm:g}"
        last = "none was written" if checkpoint is None else str(checkpoint)
        super().__init__(
            f"{which} must stay finite, got loss {loss:g} and gradient norm {norm} at step {step} "
            f"(epoch {epoch}, lr {lr:g}); lower the learning rate or check the inputs. "
            f"Last good checkpoint: {last}"
        )


class CheckpointError(MlpkitError, OSError):
    """A checkpoint could not be written or read."""


class CheckpointWriteError(CheckpointError):
    """A checkpoint could not be written; an older one at the same path is untouched."""


class CheckpointCorruptError(CheckpointError):
    """A checkpoint is truncated, altered, or not a checkpoint at all."""


class CheckpointVersionError(CheckpointError):
    """A checkpoint has a format version that this mlpkit does not know."""


class ResumeMismatchError(MlpkitError, ValueError):
    """A checkpoint belongs to other data, another model or another schedule.

    Attributes:
        differences: For each field that differs, the value saved and the value now.
    """

    def __init__(self, checkpoint: Path, differences: Mapping[str, tuple[str, str]]) -> None:
        self.checkpoint = checkpoint
        self.differences = dict(differences)
        listed = "; ".join(
            f"{field}: saved {saved}, now {now}" for field, (saved, now) in differences.items()
        )
        super().__init__(
            f"resume must continue the same training, got a checkpoint ({checkpoint}) that differs "
            f"in {listed}; use the saved settings, or start anew without resume"
        )


class TrainingInterrupted(MlpkitError):  # noqa: N818 - an interruption is not an error
    """A signal asked the training to stop, and it stopped after the step it was in.

    Attributes:
        signum: Number of the signal, for instance 15 for SIGTERM.
        checkpoint: The checkpoint written on the way out; None where none was asked for.
    """

    def __init__(self, signum: int, checkpoint: Path | None) -> None:
        self.signum = signum
        self.checkpoint = checkpoint
        kept = "no checkpoint was asked for" if checkpoint is None else f"resume from {checkpoint}"
        super().__init__(f"training was interrupted by signal {signum}; {kept}")
