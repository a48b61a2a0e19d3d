"""The misclassified examples with the largest loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit._class_names import check_same_classes
from mlpkit.data import LabeledTensors
from mlpkit.models import SoftmaxClassifier
from mlpkit.plots._style import Appearance, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Mistake", "find_mistakes", "worst_mistakes"]

_COLUMNS = 5
_SHORT = 2  # characters; longer class names get a separate line


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One misclassified example.

    Attributes:
        index: Index of the example in its data set.
        true: Index of the true class.
        predicted: Index of the predicted class.
        probability: Probability of the predicted class.
        true_probability: Probability of the true class.
    """

    index: int
    true: int
    predicted: int
    probability: float
    true_probability: float


def find_mistakes(
    model: SoftmaxClassifier, data: LabeledTensors, *, count: int | None = None
) -> tuple[Mistake, ...]:
    """Return the misclassified examples in descending order of their cross-entropy.

    Args:
        model: The classifier.
        data: Examples with class indices as targets.
        count: Maximum number of examples; None for all.

    Raises:
        TypeError: If the targets are not class indices.
        ValueError: If the classes of the data are not those of the model, or ``count`` is not
            positive.

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
    check_same_classes({"model": model, "data": data})
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
    *,
    count: int = 25,
    appearance: Appearance = "light",
) -> Figure:
    """Plot the misclassified images with the largest cross-entropy.

    The caption of each image is its true class, the predicted class and the probability of the
    predicted class.

    Args:
        model: A classifier of images.
        data: Images with class indices as targets.
        count: Maximum number of images.
        appearance: ``"light"`` or ``"dark"`` background.

    Shape:
        - data.inputs: ``(N, H, W)``, ``(N, 1, H, W)`` or ``(N, 3, H, W)``.

    Raises:
        TypeError: If the targets are not class indices.
        ValueError: If the inputs have another shape, or for the reasons given in
            :func:`find_mistakes`.
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
    images = _as_images(data.inputs)
    mistakes = find_mistakes(model, data, count=count)
    rows = max(1, math.ceil(len(mistakes) / _COLUMNS))
    are_short = max(map(len, model.classes)) <= _SHORT
    figure, look = new_figure(7.5, 0.5 + rows * (1.6 if are_short else 1.75), appearance)
    if not mistakes:
        figure.set_size_inches(7.5, 1.2)
        text = f"no mistakes in {len(data):,} examples"
        figure.text(0.5, 0.5, text, ha="center", va="center", color=look.ink)
        return figure
    figure.suptitle(
        "true class \N{RIGHTWARDS ARROW} predicted class and its probability",
        color=look.ink,
        fontsize=10,
        fontweight="bold",
    )
    high = float(data.inputs.max()) or 1.0
    grid = figure.add_gridspec(rows, _COLUMNS)
    for position, mistake in enumerate(mistakes):
        axes = figure.add_subplot(grid[position // _COLUMNS, position % _COLUMNS])
        axes.imshow(images[mistake.index].numpy() / high, cmap="gray", vmin=0, vmax=1)
        separator = " " if are_short else "\n"
        axes.set_xlabel(
            f"{model.classes[mistake.true]}{separator}\N{RIGHTWARDS ARROW} "
            f"{model.classes[mistake.predicted]}, {_format_percent(mistake.probability)}",
            color=look.ink,
            fontsize=9 if are_short else 8,
        )
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(look.grid)
    return figure


def _format_percent(probability: float) -> str:
    """Format a probability in percent; a probability below 1 is never rounded to 100 %."""
    return ">99.9 %" if probability > 0.9995 else f"{100 * probability:.1f} %"


def _as_images(inputs: Tensor) -> Tensor:
    """Return images in matplotlib's layout: ``(N, H, W)`` or ``(N, H, W, 3)``."""
    values = inputs.cpu()
    if values.ndim == 4 and values.shape[1] == 1:
        values = values.squeeze(1)
    elif values.ndim == 4 and values.shape[1] == 3:
        values = values.movedim(1, -1)
    elif values.ndim != 3:
        cure = "reshape flat inputs to height and width"
        rule = "of shape (N, H, W) or (N, 1 or 3, H, W)"
        raise ValueError(error_message("inputs of data", rule, tuple(inputs.shape), cure))
    return values
