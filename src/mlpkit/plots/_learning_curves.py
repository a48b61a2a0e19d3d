"""Loss and validation error of one or several runs over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from mlpkit._checks import error_message
from mlpkit.plots._style import Appearance, Look, add_legend, new_figure, style_axes
from mlpkit.training import EpochRow, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["learning_curves"]

_LEGEND_WIDTH = 140  # characters that fit below the panels
_MIN_LOG_RATIO = 10.0  # of the largest to the smallest loss, for a logarithmic axis


def learning_curves(
    runs: History | Mapping[str, History], *, appearance: Appearance = "light"
) -> Figure:
    """Plot the loss and, if the history has it, the validation error over the epochs.

    Training is dashed, validation solid. Epochs are counted from 1, as on the command line. The
    axis of the loss is logarithmic if the losses span a factor of ten or more.

    The validation loss of a classifier is its cross-entropy. If the classifier is trained on
    another loss, for instance with smoothed labels, the training loss is usually higher; the plot
    of one run then also shows the mean of that loss on the validation data, dotted.

    Args:
        runs: The history of one run, or a mapping from names to the histories of several.
        appearance: ``"light"`` or ``"dark"`` background.

    Raises:
        TypeError: If ``runs`` is of another type.
        ValueError: If ``runs`` or one of the histories is empty.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> from mlpkit.plots import learning_curves
        >>> from mlpkit.training import EpochRow, History
        >>> history = History(
        ...     EpochRow(epoch=e, step=e, lr=0.1, train_loss=2.0**-e, seconds=1.0,
        ...              examples_per_second=1.0, val_loss=1.5**-e, val_error=0.1 / (e + 1))
        ...     for e in range(5)
        ... )
        >>> figure = learning_curves(history)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss', 'error [%]']
    """
    named = _named_runs(runs)
    rows = [row for history in named.values() for row in history]
    shows_objective = len(named) == 1 and any(row.val_objective_loss is not None for row in rows)
    panels = 2 if any(row.val_error is not None for row in rows) else 1
    figure, look = new_figure(5.0 * panels, 3.6, appearance)
    all_axes = figure.subplots(1, panels, squeeze=False)[0]
    is_classifier = any(row.val_accuracy is not None for row in rows)
    _loss_panel(all_axes[0], named, look, "loss [nats]" if is_classifier else "loss")
    if panels == 2:
        _error_panel(all_axes[1], named, look)
    handles = _legend(
        named,
        look,
        with_validation=any(row.val_loss is not None for row in rows),
        with_objective=shows_objective,
    )
    labels = [str(handle.get_label()) for handle in handles]
    columns = max(1, min(4, _LEGEND_WIDTH // (max(map(len, labels)) + 8)))
    add_legend(figure, look, handles, labels, columns=columns)
    return figure


def _named_runs(runs: History | Mapping[str, History]) -> Mapping[str, History]:
    named = {"": runs} if isinstance(runs, History) else runs
    given: object = named
    is_mapping = isinstance(given, Mapping)
    if not is_mapping or not all(isinstance(history, History) for history in named.values()):
        raise TypeError(error_message("runs", "a History or histories by name", runs))
    if not named or not all(len(history) for history in named.values()):
        rule = "at least one history, none without an epoch"
        raise ValueError(error_message("runs", rule, {name: len(h) for name, h in named.items()}))
    return named


def _colors(named: Mapping[str, History], look: Look) -> tuple[str, ...]:
    """Return one color per run."""
    return tuple(look.series[index % len(look.series)] for index in range(len(named)))


def _line(
    axes: Axes, history: History, value: Callable[[EpochRow], float | None], color: str, style: str
) -> None:
    """Plot a value over the epochs that have it."""
    found = [(row.epoch + 1, number) for row in history if (number := value(row)) is not None]
    if found:
        axes.plot(
            [epoch for epoch, _ in found],
            [number for _, number in found],
            color=color,
            linestyle=style,
            linewidth=1.8,
            marker="o" if len(found) == 1 else "",
            markersize=5,
        )


def _loss_panel(axes: Axes, named: Mapping[str, History], look: Look, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    alone = len(named) == 1
    for color, history in zip(_colors(named, look), named.values(), strict=True):
        _line(axes, history, lambda row: row.train_loss, look.series[1] if alone else color, "--")
        if alone:
            _line(axes, history, lambda row: row.val_objective_loss, look.series[1], ":")
        _line(axes, history, lambda row: row.val_loss, color, "-")
    losses = [
        loss
        for history in named.values()
        for row in history
        for loss in (row.train_loss, row.val_loss, row.val_objective_loss if alone else None)
        if loss is not None
    ]
    if min(losses) > 0.0 and max(losses) / min(losses) >= _MIN_LOG_RATIO:
        axes.set_yscale("log")
        wide = max(losses) / min(losses) > 1e3
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    style_axes(axes, look, title="Loss")


def _error_panel(axes: Axes, named: Mapping[str, History], look: Look) -> None:
    from matplotlib.ticker import MaxNLocator

    for color, history in zip(_colors(named, look), named.values(), strict=True):
        _line(
            axes,
            history,
            lambda row: None if row.val_error is None else 100 * row.val_error,
            color,
            "-",
        )
    bests = [found for history in named.values() if (found := _best(history)) is not None]
    best, epoch = min(bests)
    axes.plot([epoch], [100 * best], "o", color=look.ink, markersize=5, zorder=3, clip_on=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("error [%]")
    style_axes(axes, look, title=f"Validation error, best {100 * best:.2f} % (epoch {epoch})")


def _best(history: History) -> tuple[float, int] | None:
    """Return the smallest validation error and its epoch, counted from 1; None if there is none."""
    errors = [(row.val_error, row.epoch + 1) for row in history if row.val_error is not None]
    return min(errors, default=None)


def _legend(
    named: Mapping[str, History], look: Look, *, with_validation: bool, with_objective: bool
) -> list[Line2D]:
    """Return the entries of the legend: the runs by color, training and validation by dashes."""
    from matplotlib.lines import Line2D

    def entry(label: str, color: str, style: Literal["-", "--", ":"]) -> Line2D:
        return Line2D([], [], label=label, color=color, linestyle=style, linewidth=1.8)

    alone = len(named) == 1
    runs = []
    for color, (name, history) in zip(_colors(named, look), named.items(), strict=True):
        best = _best(history)
        label = name if best is None else f"{name}, best {100 * best[0]:.2f} %"
        runs.append(entry(label, color, "-"))
    kinds = [entry("training", look.series[1] if alone else look.quiet, "--")]
    if with_validation:
        kinds.append(entry("validation", look.series[0] if alone else look.quiet, "-"))
    if with_objective:
        kinds.append(entry("training loss on the validation data", look.series[1], ":"))
    return kinds if alone else runs + kinds
