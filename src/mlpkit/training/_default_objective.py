"""The objective of a run: the given one, that of the model, or the cross-entropy."""

from __future__ import annotations

from torch import nn

from mlpkit._checks import Unquoted, error_message
from mlpkit.training._config import TrainerConfig
from mlpkit.training._defaults import default_label_smoothing
from mlpkit.training._predictor import find_objective_chooser
from mlpkit.training.objectives import (
    CrossEntropy,
    Mixup,
    Objective,
    OutputObjective,
    check_objective,
    unmixed,
)

__all__ = ["choose_objective", "label_smoothing_of"]


def choose_objective(config: TrainerConfig, model: nn.Module, given: Objective | None) -> Objective:
    """Return the objective of a run.

    A model whose type has a method ``choose_objective``, such as :class:`mlpkit.Regressor`, names
    its default objective, and adapts a given one to its targets. The default of all others is the
    cross-entropy, which refuses targets that are no classes. A default objective has the label
    smoothing and the mixup of ``config``.

    Raises:
        TypeError: If ``given`` is no function of a model and a batch.
        ValueError: If ``config`` sets an option that the objective does not have, or has itself.
    """
    chooser = find_objective_chooser(model)
    if given is None:
        plain: Objective = CrossEntropy() if chooser is None else chooser.choose_objective(None)
        if plain == CrossEntropy():
            smoothing = config.label_smoothing
            if smoothing is None:
                smoothing = default_label_smoothing(config)
            plain = CrossEntropy(label_smoothing=smoothing)
        elif config.label_smoothing:
            rule = f"None or 0 for the default objective of the model, {plain!r}"
            raise ValueError(error_message("label_smoothing", rule, config.label_smoothing))
        if config.mixup is None:
            return plain
        if not isinstance(plain, OutputObjective):
            rule = f"None for the default objective of the model, {plain!r}"
            raise ValueError(error_message("mixup", rule, config.mixup))
        return Mixup(config.mixup, objective=plain)
    check_objective(given)
    own = set(model.parameters())
    for name, parameter in given.named_parameters() if isinstance(given, nn.Module) else ():
        if parameter.requires_grad and parameter not in own:
            rule = "one without trainable parameters, which are those of the model"
            cure = "make it a submodule of the model, or freeze it with requires_grad_(False)"
            raise ValueError(error_message("objective", rule, Unquoted(f"one with {name}"), cure))
    for name, value in (("label_smoothing", config.label_smoothing), ("mixup", config.mixup)):
        if value:
            cure = f"set {name} in the objective"
            raise ValueError(error_message(name, "None with a custom objective", value, cure))
    return given if chooser is None else chooser.choose_objective(given)


def label_smoothing_of(objective: Objective) -> float:
    """Return the label smoothing of an objective; 0 if it has none."""
    plain = unmixed(objective)
    return plain.label_smoothing if isinstance(plain, CrossEntropy) else 0.0
