"""The exceptions: one base class, and the matching built-in class for each."""

from __future__ import annotations

import inspect
import pickle
import signal
from pathlib import Path

import pytest

from mlpkit import errors


def test_every_exception_is_public_and_in_the_docstring() -> None:
    """It derives from MlpkitError, is in ``__all__`` and in the tree of the module docstring.

    The only other base is KeyboardInterrupt, of the class for Ctrl-C.
    """
    defined = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }
    assert sorted(defined) == errors.__all__
    for name, kind in defined.items():
        base = KeyboardInterrupt if "Keyboard" in name else errors.MlpkitError
        assert issubclass(kind, base)
        assert name in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.DownloadError, OSError),
        (errors.DownloadError, errors.DataError),
        (errors.ArtifactError, ValueError),
        (errors.MissingDependencyError, ImportError),
        (errors.NonFiniteError, ArithmeticError),
        (errors.CheckpointWriteError, OSError),
        (errors.CheckpointCorruptError, errors.CheckpointError),
        (errors.CheckpointVersionError, errors.CheckpointError),
        (errors.ResumeMismatchError, ValueError),
    ],
)
def test_builtin_parents(kind: type[Exception], builtin: type[Exception]) -> None:
    """`except ValueError` and the like catch them."""
    assert issubclass(kind, builtin)


def test_messages_have_the_details() -> None:
    """Step, loss, file and each setting that differs."""
    nonfinite = errors.NonFiniteError(
        step=7, epoch=1, loss=float("nan"), lr=0.5, grad_norm=None, checkpoint=Path("last.pt")
    )
    assert "loss nan" in str(nonfinite)
    assert "step 7 (epoch 1, lr 0.5)" in str(nonfinite)
    assert str(nonfinite).endswith("Last good checkpoint: last.pt")
    mismatch = errors.ResumeMismatchError(Path("a.pt"), {"epochs": ("3", "5"), "lr": ("1", "2")})
    assert "epochs: saved 3, now 5; lr: saved 1, now 2;" in str(mismatch)
    one_of_many = errors.NonFiniteError(
        step=7, epoch=1, loss=1.0, lr=0.5, grad_norm=None, checkpoint=None, network=3
    )
    assert str(one_of_many).startswith("training of network 3 must stay finite")
    assert str(errors.TrainingInterrupted(15, None)).endswith("no checkpoint was written")


@pytest.mark.parametrize("checkpoint", [Path("last.pt"), None])
def test_ctrl_c_is_no_exception_that_a_sweep_continues_after(checkpoint: Path | None) -> None:
    """One is a KeyboardInterrupt and no Exception, the other an MlpkitError; both are pickled."""
    by_hand = errors.TrainingKeyboardInterrupt(signal.SIGINT, checkpoint)
    by_system = errors.TrainingInterrupted(signal.SIGTERM, checkpoint)
    assert isinstance(by_hand, KeyboardInterrupt)
    assert not isinstance(by_hand, Exception)
    assert isinstance(by_system, errors.MlpkitError)
    assert not isinstance(by_system, KeyboardInterrupt)
    hint = "no checkpoint was written" if checkpoint is None else "resume from last.pt"
    for error, signum in ((by_hand, 2), (by_system, 15)):
        assert (error.signum, error.checkpoint) == (signum, checkpoint)
        assert str(error) == f"training was interrupted by signal {signum}; {hint}"
        copy = pickle.loads(pickle.dumps(error))  # as a process of a pool sends it
        assert type(copy) is type(error)
        assert (str(copy), copy.signum, copy.checkpoint) == (str(error), signum, checkpoint)


@pytest.mark.parametrize(
    "error",
    [
        errors.NonFiniteError(
            step=7, epoch=1, loss=1.0, lr=0.5, grad_norm=2.0, checkpoint=Path("last.pt"), network=3
        ),
        errors.ResumeMismatchError(Path("a.pt"), {"epochs": ("3", "5")}),
        errors.CheckpointWriteError("the disk is full"),
        errors.DownloadError("no address answers"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_process_of_a_pool_can_send_it(error: errors.MlpkitError) -> None:
    """Type, message, attributes and notes are those of the original."""
    error.add_note("of run 5")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))


def test_a_mismatch_of_many_settings_is_short() -> None:
    """The first settings are those that the user chose; all of them are in the attribute."""
    differences = {f"model.layers.{index}": ("x" * 500, "y" * 500) for index in range(40)}
    differences["config.lr"] = ("1", "2")
    differences["data.train"] = ("0123", "4567")
    mismatch = errors.ResumeMismatchError(Path("a.pt"), differences)
    assert mismatch.differences == differences
    assert "config.lr: saved 1, now 2; data.train: saved 0123, now 4567; model." in str(mismatch)
    assert "; and 38 more; use the saved settings" in str(mismatch)
    assert len(str(mismatch)) < 600
