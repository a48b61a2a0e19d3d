"""The exceptions: one base class, and the matching built-in class for each."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from mlpkit import errors


def test_every_exception_is_public_and_in_the_docstring() -> None:
    """It derives from MlpkitError, is in ``__all__`` and in the tree of the module docstring."""
    defined = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }
    assert sorted(defined) == errors.__all__
    for name, kind in defined.items():
        assert issubclass(kind, errors.MlpkitError)
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
    assert "epochs: saved 3, now 5; lr: saved 1, now 2" in str(mismatch)
    one_of_many = errors.NonFiniteError(
        step=7, epoch=1, loss=1.0, lr=0.5, grad_norm=None, checkpoint=None, network=3
    )
    assert str(one_of_many).startswith("training of network 3 must stay finite")
    assert str(errors.TrainingInterrupted(15, None)).endswith("no checkpoint was written")
