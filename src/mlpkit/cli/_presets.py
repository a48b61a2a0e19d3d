"""The presets of `mlpkit train`: named defaults of its options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mlpkit._batch_sizes import even_batch_size
from mlpkit._small_data import SMALL_DATA
from mlpkit.cli._options import NetworkOptions, TrainingOptions
from mlpkit.data import DatasetName, info
from mlpkit.models import NETWORK_DEFAULTS
from mlpkit.training import OptimizerConfig, Schedule, Task, TrainerConfig, fill_defaults

__all__ = [
    "DEFAULTS_DEPEND_ON",
    "PRESETS",
    "DataFacts",
    "Preset",
    "PresetName",
    "preset",
    "preset_for",
]

PresetName: TypeAlias = Literal["default", "fast", "accurate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """Defaults of `mlpkit train` for one data set.

    Attributes:
        network: The options of the network, with the data set's in_features and out_features.
        training: The options of the run.
        pool: Side of the pixel blocks that are averaged for training; 1 for no pooling.
    """

    network: NetworkOptions
    training: TrainingOptions
    pool: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recipe:
    """A preset that is not adapted to a data set yet."""

    hidden_features: tuple[int, ...]
    training: TrainerConfig
    dropout: float = 0.0
    input_dropout: float = 0.0
    pool: int = 1


def _one_cycle(
    epochs: int,
    lr: float,
    batch_size: int,
    *,
    weight_decay: float,
    betas: tuple[float, float] | None = None,
) -> TrainerConfig:
    return TrainerConfig(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=OptimizerConfig(lr=lr, weight_decay=weight_decay, betas=betas),
        schedule=Schedule(kind="one_cycle"),
    )


_DROPOUT = NETWORK_DEFAULTS["classification"].options.dropout
assert isinstance(_DROPOUT, float), "one number for all layers"

PRESETS: Mapping[PresetName, _Recipe] = {
    # What `Trainer(SoftmaxClassifier.for_data(train))` uses.
    "default": _Recipe(
        hidden_features=NETWORK_DEFAULTS["classification"].hidden_features,
        training=TrainerConfig(),
        dropout=_DROPOUT,
    ),
    # Selected on 5,000 of MNIST's training images; `python -m benchmarks.launch` measures it.
    "fast": _Recipe(
        hidden_features=(256,),
        training=_one_cycle(4, 2e-2, 512, weight_decay=0.01, betas=(0.8, 0.95)),
        pool=2,
    ),
    "accurate": _Recipe(
        hidden_features=(1024, 1024),
        training=_one_cycle(40, 3e-3, 256, weight_decay=0.05),
        dropout=0.4,
        input_dropout=0.1,
    ),
}
# Of a small data set, such as the 8x8 digits with 1,437 training images.
_SMALL_EPOCHS = 4  # times those of the recipe
_SMALL_BATCH_SIZE = 64
_LARGEST_SMALL_LR = 5e-3
#: Options on which the defaults of others depend: a run that may end early has a constant rate.
DEFAULTS_DEPEND_ON = (
    *("early_stopping", "max_seconds", "mixup", "batch_size", "gradient_accumulation_steps"),
    *(
        "epochs",
        "schedule",
        "reduce_lr_on_plateau",
        "optimizer",
        "max_steps",
        "steps_per_epoch",
        "drop_last",
    ),
)
# Images with a shorter side are not pooled.
_SMALLEST_POOLED_SIDE = 28


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """What a preset depends on.

    Attributes:
        num_examples: Number of training examples.
        input_shape: Shape of one example.
        out_features: Number of outputs of the network.
        task: What the targets are.
    """

    num_examples: int
    input_shape: tuple[int, ...]
    out_features: int
    task: Task = "classification"


def preset(
    name: PresetName, dataset: DatasetName, given: Mapping[str, object] | None = None
) -> Preset:
    """Return a preset, adapted to the image shape, the classes and the size of a data set.

    Args:
        name: The preset.
        dataset: The data set.
        given: Options of the run that the user gives, by the names of ``DEFAULTS_DEPEND_ON``.
    """
    facts = info(dataset)
    return preset_for(
        name,
        DataFacts(
            num_examples=facts.num_train - facts.val_size,
            input_shape=facts.image_shape,
            out_features=len(facts.classes),
        ),
        given,
    )


def preset_for(
    name: PresetName, facts: DataFacts, given: Mapping[str, object] | None = None
) -> Preset:
    """Return a preset, adapted to the shape, the task and the number of the examples."""
    recipe = PRESETS[name]
    base, options = recipe.training, given or {}
    if facts.num_examples < SMALL_DATA and base.epochs and base.batch_size and base.optimizer:
        base = dataclasses.replace(
            base,
            epochs=base.epochs * _SMALL_EPOCHS,
            batch_size=even_batch_size(facts.num_examples, min(base.batch_size, _SMALL_BATCH_SIZE)),
            optimizer=dataclasses.replace(
                base.optimizer, lr=min(base.optimizer.lr, _LARGEST_SMALL_LR)
            ),
        )
    if "optimizer" in options:  # L-BFGS: a batch has all examples, and the rate is constant
        base = dataclasses.replace(base, batch_size=None, schedule=None)
    if options.get("max_steps") is not None:  # limits the run in the place of the preset's epochs
        base = dataclasses.replace(base, epochs=None)
    wanted = dataclasses.replace(base, **options)  # type: ignore[arg-type]  # checked before
    filled = fill_defaults(wanted, task=facts.task, num_examples=facts.num_examples)
    training = TrainingOptions(
        **{field.name: getattr(filled, field.name) for field in dataclasses.fields(filled)}
    )
    widths = recipe.hidden_features
    if name == "default":
        widths = NETWORK_DEFAULTS[facts.task].widths(facts.num_examples)
    sides = facts.input_shape
    is_pooled = len(sides) == 2 and min(sides) >= _SMALLEST_POOLED_SIDE
    is_pooled = is_pooled and all(side % recipe.pool == 0 for side in sides)
    return Preset(
        network=NetworkOptions(
            in_features=math.prod(facts.input_shape),
            hidden_features=widths,
            out_features=facts.out_features,
            dropout=recipe.dropout,
            input_dropout=recipe.input_dropout,
        ),
        training=training,
        pool=recipe.pool if is_pooled else 1,
    )
