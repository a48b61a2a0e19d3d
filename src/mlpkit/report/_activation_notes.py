"""What saturated values and dead units mean for the activations of a network, in words."""

from __future__ import annotations

from mlpkit.nn import ActivationStatistics

__all__ = ["activation_notes", "saturation_word"]

_BOTH_ENDS = "{name} is saturated at both ends of its range, where it is flat."
_NEGATIVE_END = "{name} is saturated for strongly negative pre-activations, where it is flat."
_WITH_MINIMUM = (
    "{name} is flat for strongly negative pre-activations, where its output is near 0, and at its "
    "minimum."
)
_BOUNDED = ("Sigmoid", "Tanh", "Softsign", "Hardtanh", "Hardsigmoid", "ReLU6")

# By the class of the activation; {limit} is the derivative below which a value is saturated.
_NOTES: dict[str, str] = {
    "ReLU": (
        "For ReLU, a saturated value is an output of 0: the unit is inactive for that example, "
        "which is no fault."
    ),
    "LeakyReLU": (
        "LeakyReLU multiplies negative pre-activations by a small slope: they count as saturated "
        "if it is below {limit}, and still pass that part of the gradient."
    ),
    "PReLU": (
        "PReLU multiplies negative pre-activations by a learned slope: they count as saturated "
        "where its size is below {limit}, and still pass that part of the gradient."
    ),
    "Maxout": (
        "A Maxout unit passes its gradient to the largest of its pieces: no value is saturated, "
        "and no unit is dead."
    ),
    **dict.fromkeys(_BOUNDED, _BOTH_ENDS),
    **dict.fromkeys(("ELU", "CELU", "SELU", "Softplus"), _NEGATIVE_END),
    **dict.fromkeys(("GELU", "SiLU", "Mish"), _WITH_MINIMUM),
}


def saturation_word(statistics: ActivationStatistics) -> str:
    """Return what the saturated values of a network are called: inactive if all are of ReLU."""
    return "inactive" if _names(statistics) == ["ReLU"] else "saturated"


def activation_notes(statistics: ActivationStatistics) -> str:
    """Return what saturated and dead mean for the hidden activations of a network."""
    limit = f"{statistics.threshold:g}"
    names = _names(statistics)
    if names == ["ReLU"]:
        return (
            "Inactive: values of 0, at which the derivative of ReLU is 0 and no gradient passes. "
            "That is no fault: a unit is inactive for some examples and active for others, and "
            "with random weights about half of the values are 0. Dead: units that are inactive for "
            f"all {statistics.num_examples:,} examples, so that none of them gives the weights of "
            "the unit a gradient."
        )
    notes = [_NOTES[name].format(name=name, limit=limit) for name in names if name in _NOTES]
    return " ".join(
        [
            f"Saturated: values at which the derivative of the activation is below {limit}, so",
            "that little of the gradient passes.",
            *notes,
            "Dead: units with a derivative of 0 for every example, so that none of them gives the",
            "weights of the unit a gradient.",
        ]
    )


def _names(statistics: ActivationStatistics) -> list[str]:
    """Return the classes of the activations, each once, first to last."""
    return list(dict.fromkeys(layer.activation.partition("(")[0] for layer in statistics.layers))
