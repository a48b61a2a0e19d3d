"""How a training run ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mlpkit import _html
from mlpkit.training._tracker import TrainState
from mlpkit.training.metrics import History

__all__ = ["FitResult", "StopReason"]

StopReason: TypeAlias = Literal["callback", "completed", "early_stopping", "time"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FitResult:
    """The result of a run; notebooks show it as a small table.

    Attributes:
        stop_reason: ``"completed"``, ``"early_stopping"``, ``"time"`` (``max_seconds`` have passed)
            or ``"callback"`` (a callback called ``trainer.stop()``).
        state: Counters of the run at its end.
        history: One row for each epoch.
        last: Path of the newest checkpoint; None without checkpoints.
        best: Path of the checkpoint of the best epoch; None if there is none.
    """

    stop_reason: StopReason
    state: TrainState
    history: History
    last: Path | None
    best: Path | None

    def __repr__(self) -> str:
        state = self.state
        first = (
            f"FitResult(stop_reason={self.stop_reason!r}, epochs={state.epoch}, "
            f"steps={state.step}, seconds={state.seconds:.1f})"
        )
        return "\n".join([first, *(f"  {name}: {text}" for name, text in self._details())])

    def _repr_html_(self) -> str:
        state = self.state
        first = [
            ("stop reason", self.stop_reason),
            ("epochs", str(state.epoch)),
            ("steps", str(state.step)),
            ("seconds", f"{state.seconds:.1f}"),
        ]
        return _html.table((), [*first, *self._details()], left=2)

    def _details(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of the last epoch, the best one and the checkpoint."""
        state = self.state
        if len(self.history):
            numbers = self.history[-1].to_dict()
            shown = ("train_loss", "val_objective_loss", "val_loss", "val_accuracy")
            known = [(name, numbers[name]) for name in shown if numbers[name] is not None]
            metrics = ", ".join(f"{name} {value:.4f}" for name, value in known)
            yield f"epoch {self.history[-1].epoch}", metrics
        if state.best_epoch is not None and state.best_value is not None:
            yield "best epoch", f"{state.best_epoch}, monitored {state.best_value:.4g}"
        if self.last is not None:
            yield "checkpoint", str(self.last)
