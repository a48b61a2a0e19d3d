"""The sections about the history of a run: loss and validation error over the epochs."""

from __future__ import annotations

from mlpkit.report._charts import Line, line_chart
from mlpkit.report._sections import key_legend, section
from mlpkit.training import History

__all__ = ["curve_sections"]

_OBJECTIVE_NOTE = (
    '<p class="legend">The training loss is the mean of the objective: by default, a classifier '
    "is trained on smoothed labels. It is therefore usually higher than the validation loss, which "
    "is the cross-entropy without smoothing or weights. The dotted line is the objective on the "
    "validation data; compare the training loss with it.</p>"
)


def curve_sections(history: History, *, loss_label: str, loss_note: str = "") -> str:
    """Return the sections about a history; empty without an epoch.

    Args:
        history: The history.
        loss_label: Label of the axis of the loss, with its unit.
        loss_note: What the loss is; empty to leave it out.
    """
    if not len(history):
        return ""
    train = [(row.epoch + 1.0, row.train_loss) for row in history]
    val = [(row.epoch + 1.0, row.val_loss) for row in history if row.val_loss is not None]
    objective = [
        (row.epoch + 1.0, row.val_objective_loss)
        for row in history
        if row.val_objective_loss is not None
    ]
    losses = [loss for _, loss in train + val + objective]
    lines = [Line(label="training", points=train, style="second")]
    if objective:
        lines.append(Line(label="objective on validation data", points=objective, style="third"))
    if val:
        lines.append(Line(label="validation", points=val, style="first"))
    loss = line_chart(
        lines,
        title="Loss over the epochs",
        x_label="epoch",
        y_label=loss_label,
        y_range=None if min(losses) >= 0 else _range(losses),
        log=min(losses) > 0 and max(losses) >= 10 * min(losses),
        whole_x=True,
    )
    keys = key_legend((line.label, line.style) for line in lines)
    note = f'<p class="legend">{loss_note}</p>' if loss_note else ""
    note += _OBJECTIVE_NOTE if objective else ""
    sections = section("Loss", loss + keys + note, wide=False)
    errors = [
        (row.epoch + 1.0, 100 * row.val_error) for row in history if row.val_error is not None
    ]
    if errors:
        error, epoch = min((error, epoch) for epoch, error in errors)
        chart = line_chart(
            [Line(label="validation", points=errors, style="first")],
            title="Validation error over the epochs",
            x_label="epoch",
            y_label="error [%]",
            whole_x=True,
        )
        legend = f'<p class="legend">Lowest error: {error:.2f} % in epoch {epoch:.0f}.</p>'
        sections += section("Validation error", chart + legend, wide=False)
    return sections


def _range(losses: list[float]) -> tuple[float, float]:
    """Return the limits of an axis for losses of which some are negative."""
    low, high = min(losses), max(losses)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
