"""The default networks of each kind of model, and the settings that train those for tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from mlpkit._batch_sizes import even_batch_size
from mlpkit._checks import check_choice, check_int
from mlpkit._small_data import SMALL_DATA
from mlpkit.nn import MLPOptions
from mlpkit.training import OptimizerConfig, Schedule, Task, TrainerConfig

__all__ = [
    "NETWORK_DEFAULTS",
    "TABULAR_DEFAULTS",
    "NetworkDefaults",
    "NetworkPreset",
    "tabular_config",
]

NetworkPreset: TypeAlias = Literal["mlp", "tabular"]

_FEW = 1000  # examples of a table
_FEWEST_STEPS = 500


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
        if num_examples < SMALL_DATA and self.small_hidden_features is not None:
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

_SELU = NetworkDefaults(
    hidden_features=(128, 128, 128), options=MLPOptions(activation="selu", dropout=0.15)
)
#: The same for ``preset="tabular"``.
TABULAR_DEFAULTS: Mapping[Task, NetworkDefaults] = MappingProxyType(
    {
        "classification": _SELU,
        "multilabel": _SELU,
        "regression": NetworkDefaults(
            hidden_features=(128, 128, 128), options=MLPOptions(activation="mish", dropout=0.15)
        ),
    }
)


def tabular_config(task: Task, num_examples: int) -> TrainerConfig:
    """Return the settings that train a model of ``preset="tabular"`` well.

    These are at least 64 epochs and at least 500 steps of AdamW with a one-cycle learning rate.
    A batch has at most 256 examples, or 64 for fewer than 1,000; the last one is at least half as
    large as the others. Afterwards the model has the weights of the epoch with the best
    ``val_loss``, so a part of the examples must be held out, such as a fifth.
    An :class:`Ensemble` of several members, trained with :func:`mlpkit.training.fit_many`, predicts
    better than one.

    Args:
        task: The task of the model.
        num_examples: Number of training examples, without those held out, at least 1.

    Raises:
        TypeError: If ``num_examples`` is no integer.
        ValueError: If an argument is out of range.

    Example:
        >>> import dataclasses
        >>> from mlpkit.models import tabular_config
        >>> config = tabular_config("regression", 100)
        >>> config.epochs, config.batch_size, config.optimizer.lr
        (250, 50, 0.07)
        >>> config = dataclasses.replace(config, seed=3, device="cpu")

    References:
        Holzmüller, Grinsztajn, Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and
        Boosted Trees on Tabular Data, arXiv:2407.04491, section 3 (without label smoothing).
    """
    check_choice("task", task, get_args(Task))
    count = check_int("num_examples", num_examples, minimum=1)
    batch_size = even_batch_size(count, 256 if count >= _FEW else 64)
    steps = -(-count // batch_size)
    return TrainerConfig(
        epochs=max(64, -(-_FEWEST_STEPS // steps)),
        batch_size=batch_size,
        optimizer=OptimizerConfig(
            name="adamw",
            lr=0.07 if task == "regression" else 0.04,
            betas=(0.9, 0.95),
            weight_decay=0.02,
        ),
        schedule=Schedule(kind="one_cycle"),
        label_smoothing=0.0 if task == "classification" else None,
        restore_best=True,
    )
