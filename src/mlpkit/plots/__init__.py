"""Plots of training runs and of networks. Each function returns a matplotlib figure.

The functions do not use pyplot: no window opens, and no figure needs to be closed. Save a figure
with ``figure.savefig("curves.png")``. A notebook displays the figure that is the last expression of
a cell, without a magic command such as ``%matplotlib inline``; elsewhere in a cell, use
``display(figure)``. matplotlib is installed by ``pip install 'mlpkit[plot]'`` and imported when the
first plot is made.

The numbers behind the plots are available without matplotlib: :func:`find_mistakes`,
:func:`reliability`, :func:`label_curves` and :func:`first_layer_images`.
"""

from __future__ import annotations

from mlpkit.plots._activations import activation_functions
from mlpkit.plots._calibration import Reliability, ReliabilityBin, calibration, reliability
from mlpkit.plots._confusion import confusion_matrix
from mlpkit.plots._label_curves import (
    LabelCurves,
    label_curves,
    precision_recall_curves,
    roc_curves,
)
from mlpkit.plots._layer_health import layer_health
from mlpkit.plots._learning_curves import learning_curves
from mlpkit.plots._mistakes import Mistake, find_mistakes, worst_mistakes
from mlpkit.plots._regression import predicted_against_true, residuals
from mlpkit.plots._style import Appearance
from mlpkit.plots._weights import FirstLayerImages, first_layer_images, first_layer_weights

__all__ = [
    "Appearance",
    "FirstLayerImages",
    "LabelCurves",
    "Mistake",
    "Reliability",
    "ReliabilityBin",
    "activation_functions",
    "calibration",
    "confusion_matrix",
    "find_mistakes",
    "first_layer_images",
    "first_layer_weights",
    "label_curves",
    "layer_health",
    "learning_curves",
    "precision_recall_curves",
    "predicted_against_true",
    "reliability",
    "residuals",
    "roc_curves",
    "worst_mistakes",
]
