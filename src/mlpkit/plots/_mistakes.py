"""The examples that a classifier is most wrong about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit.data import LabeledTensors
from mlpkit.models import SoftmaxClassifier
from mlpkit.plots._style import Appearance, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Mistake", "find_mistakes", "worst_mistakes"]

_COLUMNS = 5
_SHORT = 2  # letters; longer class names get a line of their own


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One example that is put into a wrong class.

    Attributes:
        index: Where the example stands in its data set.
        true: Index of its class.
        predicted: Index of the class that it was put into.
        probability: Probability that the predicted class got.
        true_probability: Probability that the true class got.
    """

    index: int
    true: int
    predicted: int
    probability: float
    true_probability: float


def find_mistakes(
    model: SoftmaxClassifier, data: LabeledTensors, count: int | None = None
) -> tuple[Mistake, ...]:
    """Return the examples that are put into a wrong class, largest cross-entropy first.

    Args:
        model: The classifier.
        data: Examples with class indices as targets.
        count: How many at most; None for all.

    Raises:
        TypeError: If the targets are no class indices.
        ValueError: If ``count`` is not positive.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> from mlpkit.data import LabeledTensors
        >>> from mlpkit.plots import find_mistakes
        >>> model = SoftmaxClassifier(MLP(2, (), 2), classes=("no", "yes"))
        >>> inputs = torch.eye(2)
        >>> wrong = LabeledTensors(inputs, 1 - model.predict(inputs))
        >>> sorted(mistake.index for mistake in find_mistakes(model, wrong))
        [0, 1]
    """
    if data.targets.is_floating_point():
        raise TypeError(error_message("targets of data", "class indices", data.targets.dtype))
    most = len(data) if count is None else check_int("count", count, minimum=1)
    probabilities = model.predict_proba(data.inputs).cpu()
    targets = data.targets.cpu()
    predicted = probabilities.argmax(dim=1)
    of_true = probabilities.gather(1, targets[:, None]).squeeze(1)
    wrong = torch.nonzero(predicted != targets).flatten()
    order = wrong[torch.argsort(of_true[wrong], stable=True)][:most]
    return tuple(
        Mistake(
            index=index,
            true=int(targets[index]),
            predicted=int(predicted[index]),
            probability=float(probabilities[index].max()),
            true_probability=float(of_true[index]),
        )
        for index in order.tolist()
    )


def worst_mistakes(
    model: SoftmaxClassifier,
    data: LabeledTensors,
    count: int = 25,
    *,
    appearance: Appearance = "light",
) -> Figure:
    """Draw the examples with the largest cross-entropy among those put into a wrong class.

    Under each picture stands its true class, the predicted class, and the probability that the
    network gave to the predicted one.

    Args:
        model: A classifier of pictures.
        data: Pictures with class indices as targets, as ``(N, H, W)`` or ``(N, channels, H, W)``.
        count: How many pictures at most.
        appearance: ``"light"`` or ``"dark"`` paper.

    Raises:
        TypeError: If the targets are no class indices.
        ValueError: If the examples are no pictures with 1 or 3 channels, or ``count`` is not
            positive.
        MissingDependencyError: If matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> from mlpkit.data import digits
        >>> from mlpkit.plots import worst_mistakes
        >>> test = digits().test
        >>> model = SoftmaxClassifier.for_data(test, (8,))
        >>> figure = worst_mistakes(model, test, count=4)
        >>> len(figure.axes)
        4
    """
    pictures = _pictures(data.inputs)
    mistakes = find_mistakes(model, data, count)
    rows = max(1, math.ceil(len(mistakes) / _COLUMNS))
    are_short = max(map(len, model.classes)) <= _SHORT
    figure, look = new_figure(7.5, 0.5 + rows * (1.6 if are_short else 1.75), appearance)
    if not mistakes:
        figure.set_size_inches(7.5, 1.2)
        text = f"no mistake among {len(data):,} examples"
        figure.text(0.5, 0.5, text, ha="center", va="center", color=look.ink)
        return figure
    figure.suptitle(
        "true class \N{RIGHTWARDS ARROW} predicted class and its probability",
        color=look.ink,
        fontsize=10,
        fontweight="bold",
    )
    high = float(data.inputs.max())
    grid = figure.add_gridspec(rows, _COLUMNS)
    for place, mistake in enumerate(mistakes):
        axes = figure.add_subplot(grid[place // _COLUMNS, place % _COLUMNS])
        picture = pictures[mistake.index].numpy()
        axes.imshow(
            picture if picture.ndim == 2 else picture / max(high, 1e-12),
            cmap="gray",
            vmin=0,
            vmax=high,
        )
        between = " " if are_short else "\n"
        axes.set_xlabel(
            f"{model.classes[mistake.true]}{between}\N{RIGHTWARDS ARROW} "
            f"{model.classes[mistake.predicted]}, {_per_cent(mistake.probability)}",
            color=look.ink,
            fontsize=9 if are_short else 8,
        )
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(look.grid)
    return figure


def _per_cent(probability: float) -> str:
    """Return a probability in per cent, never rounded up to a certainty that it is not."""
    return ">99.9 %" if probability > 0.9995 else f"{100 * probability:.1f} %"


def _pictures(inputs: Tensor) -> Tensor:
    """Return pictures as matplotlib takes them: ``(N, H, W)``, or ``(N, H, W, 3)``."""
    values = inputs.cpu()
    if values.ndim == 4 and values.shape[1] == 1:
        values = values.squeeze(1)
    elif values.ndim == 4 and values.shape[1] == 3:
        values = values.movedim(1, -1)
    elif values.ndim != 3:
        cure = "only pictures can be drawn; give flat ones their height and width back"
        rule = "of shape (N, H, W) or (N, 1 or 3, H, W)"
        raise ValueError(error_message("inputs of data", rule, tuple(inputs.shape), cure))
    return values
