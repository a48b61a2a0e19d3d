"""The objective of a run: the given one, or the one that the configuration describes."""

from __future__ import annotations

from torch import nn

from mlpkit._checks import error_message
from mlpkit.training._config import TrainerConfig
from mlpkit.training.objectives import CrossEntropy, Mixup, Objective

__all__ = ["choose_objective"]


def choose_objective(config: TrainerConfig, given: Objective | None) -> Objective:
    """Return ``given``, or cross-entropy with the label smoothing and mixup of ``config``.

    Raises:
        TypeError: If ``given`` is no function of a model and a batch.
        ValueError: If ``config`` sets an option that a custom objective has itself.
    """
    if given is None:
        plain = CrossEntropy(label_smoothing=config.label_smoothing)
        return plain if config.mixup is None else Mixup(config.mixup, objective=plain)
    found: object = given
    if isinstance(found, type | nn.modules.loss._Loss) or not callable(found):
        rule = "a function of a model and a batch that returns one loss for each example"
        cure = "use an instance such as CrossEntropy() or MeanSquaredError() of mlpkit.training"
        raise TypeError(error_message("objective", rule, found, cure))
    for name, value, default in (
        ("label_smoothing", config.label_smoothing, 0.0),
        ("mixup", config.mixup, None),
    ):
        if value != default:
            cure = f"set {name} in the objective"
            raise ValueError(error_message(name, f"{default} with a custom objective", value, cure))
    return given
