"""The default network of each kind of model: one table for the library and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mlpkit.nn import MLPOptions
from mlpkit.training import Task

__all__ = ["NETWORK_DEFAULTS", "NetworkDefaults"]

_SMALL = 10_000  # examples


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkDefaults:
    """The network that ``for_data`` builds unless it is given widths or options.

    Attributes:
        hidden_features: Output width of each hidden layer.
        small_hidden_features: The widths for fewer than 10,000 examples; None means
            ``hidden_features``.
        options: The other options of the network.
    """

    hidden_features: tuple[int, ...] = (512, 256)
    small_hidden_features: tuple[int, ...] | None = None
    options: MLPOptions = field(default_factory=lambda: MLPOptions(dropout=0.1))

    def widths(self, num_examples: int) -> tuple[int, ...]:
        """Return the output width of each hidden layer for a number of training examples."""
        if num_examples < _SMALL and self.small_hidden_features is not None:
            return self.small_hidden_features
        return self.hidden_features


NETWORK_DEFAULTS: Mapping[Task, NetworkDefaults] = MappingProxyType(
    {
        "classification": NetworkDefaults(),
        "multilabel": NetworkDefaults(),
        # A wide network overfits a small regression: diabetes has R2 0.25 with (512, 256).
        "regression": NetworkDefaults(small_hidden_features=(128, 64)),
    }
)
