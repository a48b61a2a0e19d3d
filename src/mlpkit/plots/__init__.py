"""Pictures of a training and of a network: each function returns a matplotlib figure.

Nothing touches pyplot, so no window opens and no figure has to be closed: save one with
``figure.savefig("curves.png")``; a notebook shows it by itself. matplotlib comes with
``pip install 'mlpkit[plot]'`` and is imported when the first picture is drawn.
"""

from __future__ import annotations

from mlpkit.plots._activations import activation_functions
from mlpkit.plots._calibration import Reliability, ReliabilityBin, calibration, reliability
from mlpkit.plots._confusion import confusion_matrix
from mlpkit.plots._layer_health import layer_health
from mlpkit.plots._learning_curves import learning_curves
from mlpkit.plots._mistakes import Mistake, find_mistakes, worst_mistakes
from mlpkit.plots._style import Appearance
from mlpkit.plots._weights import first_layer_weights

__all__ = [
    "Appearance",
    "Mistake",
    "Reliability",
    "ReliabilityBin",
    "activation_functions",
    "calibration",
    "confusion_matrix",
    "find_mistakes",
    "first_layer_weights",
    "layer_health",
    "learning_curves",
    "reliability",
    "worst_mistakes",
]
