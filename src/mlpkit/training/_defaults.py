"""The one table of default settings: what None in a ``TrainerConfig`` means for a run."""

from __future__ import annotations

import dataclasses
from typing import Final, NamedTuple, get_args

from mlpkit._batch_sizes import even_batch_size
from mlpkit._checks import check_choice, check_int
from mlpkit._small_data import SMALL_DATA
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training.objectives import Task
from mlpkit.training.optim import OptimizerConfig, Schedule

__all__ = ["default_batch_size", "default_label_smoothing", "fill_defaults", "fill_from_run"]

_BATCH_SIZE: Final = 128
_SMALL_BATCH_SIZE: Final = 64
_LABEL_SMOOTHING: Final = 0.05
_LR: Final = 3e-3
_CONSTANT_LR: Final = 1e-3  # a rate that does not decay must be smaller
_WEIGHT_DECAY: Final = 0.01
_WARMUP_STEPS: Final = 100
_MIN_EPOCHS: Final = 10


class _Length(NamedTuple):
    """Length of a run: as many epochs as make ``steps`` steps, from 10 to ``max_epochs``."""

    steps: int
    max_epochs: int


# `python -m benchmarks.small_tables` compares them with scikit-learn on small tables. A regression
# overfits earlier than a classification, whose labels are smoothed.
_LENGTHS: Final[dict[Task, _Length]] = {
    "classification": _Length(steps=1000, max_epochs=200),
    "multilabel": _Length(steps=1000, max_epochs=200),
    "regression": _Length(steps=300, max_epochs=50),
}


def default_batch_size(num_examples: int, *, drop_last: bool) -> int:
    """Return the batch size for a number of training examples, which is 0 if it is unknown."""
    largest = _SMALL_BATCH_SIZE if num_examples < SMALL_DATA else _BATCH_SIZE
    if num_examples == 0:
        return largest
    if drop_last:  # with another size, almost a whole batch could be dropped
        return min(largest, num_examples)
    return even_batch_size(num_examples, largest)


def default_label_smoothing(config: TrainerConfig) -> float:
    """Return the label smoothing of the cross-entropy; mixup softens the targets itself."""
    return _LABEL_SMOOTHING if config.mixup is None else 0.0


def fill_defaults(
    config: TrainerConfig,
    *,
    task: Task,
    num_examples: int,
    num_batches: int | None = None,
    label_smoothing: float | None = None,
    class_weights: tuple[float, ...] | None = None,
) -> FilledConfig:
    """Return the settings of a run, with a value for each setting that is None.

    Args:
        config: The settings as given.
        task: The task of the run.
        num_examples: Number of training examples, at least 1.
        num_batches: Number of batches of one pass; None follows from the batch size.
        label_smoothing: Label smoothing of the objective of the run; None means that of ``config``,
            or of the default objective of the task.
        class_weights: The class weights as numbers; those of ``config`` are not used.

    Example:
        >>> from mlpkit.training import TrainerConfig, fill_defaults
        >>> filled = fill_defaults(TrainerConfig(), task="classification", num_examples=55_000)
        >>> filled.epochs, filled.batch_size, filled.schedule.kind
        (10, 128, 'one_cycle')
    """
    check_choice("task", task, get_args(Task))
    check_int("num_examples", num_examples, minimum=1)
    is_full_batch = config.optimizer is not None and config.optimizer.name == "lbfgs"
    batch_size = config.batch_size
    if batch_size is None:
        batch_size = default_batch_size(num_examples, drop_last=config.drop_last)
    if is_full_batch and config.batch_size is None:
        batch_size = -(-num_examples // config.gradient_accumulation_steps)
        num_batches = None
    if num_batches is None:
        dropped = num_examples % batch_size if config.drop_last else 0
        num_batches = -(-(num_examples - dropped) // batch_size)
    steps = config.steps_per_epoch
    if steps is None:
        steps = max(1, -(-num_batches // config.gradient_accumulation_steps))
    epochs, length = config.epochs, _LENGTHS[task]
    if epochs is None and config.max_steps is not None:
        epochs = -(-config.max_steps // steps)
    elif epochs is None:
        epochs = min(length.max_epochs, max(_MIN_EPOCHS, -(-length.steps // steps)))
    total_steps = min(epochs * steps, config.max_steps or epochs * steps)
    schedule = config.schedule
    decided_later = (config.early_stopping, config.max_seconds, config.reduce_lr_on_plateau)
    if schedule is None and is_full_batch:
        schedule = Schedule()
    elif schedule is None and all(each is None for each in decided_later):
        schedule = Schedule(kind="one_cycle")
    elif schedule is None:
        schedule = Schedule(warmup_steps=min(_WARMUP_STEPS, total_steps // 10))
    optimizer = config.optimizer
    if optimizer is None:
        lr = _CONSTANT_LR if schedule.kind == "constant" else _LR
        optimizer = OptimizerConfig(lr=lr, weight_decay=_WEIGHT_DECAY)
    if label_smoothing is None and config.label_smoothing is not None:
        label_smoothing = config.label_smoothing
    elif label_smoothing is None:
        label_smoothing = default_label_smoothing(config) if task == "classification" else 0.0
    values: dict[str, object] = {
        field.name: getattr(config, field.name) for field in dataclasses.fields(TrainerConfig)
    }
    values |= {
        "epochs": epochs,
        "batch_size": batch_size,
        "schedule": schedule,
        "optimizer": optimizer,
        "label_smoothing": label_smoothing,
        "class_weights": class_weights,
    }
    return FilledConfig(**values)  # type: ignore[arg-type]  # the fields of the parent


def fill_from_run(config: TrainerConfig, run: TrainerConfig) -> TrainerConfig:
    """Return the settings for resuming a run: those that are None have the values of the run.

    With another ``max_steps`` than that of the run the number of epochs follows from it.
    """
    names = ["steps_per_epoch", "batch_size", "optimizer", "schedule", "label_smoothing"]
    if config.max_steps is None or config.max_steps == run.max_steps:
        names.append("epochs")
    values = {name: getattr(run, name) for name in names if getattr(config, name) is None}
    return dataclasses.replace(config, **values)
