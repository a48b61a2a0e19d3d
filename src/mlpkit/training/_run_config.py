"""The settings of a run: those of the configuration, filled in for the model and the data."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlpkit._checks import Unquoted, error_message
from mlpkit.training._class_weights import numeric_class_weights
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training._default_objective import label_smoothing_of
from mlpkit.training._defaults import default_batch_size, fill_defaults
from mlpkit.training._monitor import check_monitored_task, known_monitor, monitor_of
from mlpkit.training._predictor import task_of_model
from mlpkit.training.batches import BatchSource, TrainingData, as_batches, length_of
from mlpkit.training.metrics import CustomMetrics
from mlpkit.training.objectives import Objective, Task, check_known_targets, task_of

__all__ = [
    "check_class_weights",
    "check_monitored_data",
    "check_validation_data",
    "known_targets",
    "run_config",
]


_NO_LENGTH = Unquoted("a DataLoader without a length")


def run_config(
    config: TrainerConfig,
    model: nn.Module,
    objective: Objective,
    train: TrainingData,
    metrics: CustomMetrics,
) -> FilledConfig:
    """Return the settings of a run of a model on training data.

    A monitored custom metric has its direction there.

    Raises:
        TypeError: If ``train`` is no training data, or its targets have the wrong dtype.
        ValueError: If the targets do not fit the objective, or the class weights do not fit the
            task or the classes, or no such run has the monitored metric.
    """
    config = dataclasses.replace(config, monitor=known_monitor(config.monitor, metrics))
    is_batched = isinstance(train, DataLoader | BatchSource)
    size = config.batch_size
    if size is None:
        num_examples = 0 if is_batched else _length(train) or 0
        size = default_batch_size(num_examples, drop_last=config.drop_last)
    own_size: object = getattr(train, "batch_size", None) if is_batched else None
    if isinstance(own_size, int):
        config = dataclasses.replace(config, batch_size=own_size)
    batches = as_batches(
        "train",
        train,
        batch_size=size,
        shuffle=True,
        seed=config.seed,
        drop_last=config.drop_last,
    )
    length = length_of(batches)
    if length is None:
        config, length = _with_epochs(config), config.gradient_accumulation_steps
    targets = known_targets(train)
    model_task = task_of_model(model)
    task: Task | None = model_task or getattr(objective, "task", None)
    if targets is not None:
        check_known_targets(objective, targets)
        task = task_of(objective, targets, model_task)
    if task is not None:
        check_class_weights(config, task)
        check_monitored_task(monitor_of(config.monitor).name, task)
    weights = _known_tensor(train, "weights")
    if weights is not None and not bool((weights > 0).any()):
        raise ValueError(error_message("train.weights", "above 0 for at least one example", 0.0))
    return fill_defaults(
        config,
        task=task or "classification",
        num_examples=batches.num_examples or size,
        num_batches=length,
        label_smoothing=label_smoothing_of(objective),
        class_weights=numeric_class_weights(
            config.class_weights, model, train, targets, weights=weights
        ),
    )


def _with_epochs(config: TrainerConfig) -> TrainerConfig:
    """Return the settings with the number of steps in an epoch, for data without a length.

    Raises:
        ValueError: If there is none, or the optimizer is lbfgs, whose steps take all examples.
    """
    if config.steps_per_epoch is not None:
        return config
    if config.optimizer is not None and config.optimizer.name == "lbfgs":
        rule, cure = "data with a length for optimizer 'lbfgs'", "choose another optimizer"
        raise ValueError(error_message("train", rule, _NO_LENGTH, cure))
    if config.max_steps is None:
        rule = "data with a length, or a stream with steps_per_epoch or max_steps"
        cure = "set steps_per_epoch in the configuration, the number of steps that make one epoch"
        raise ValueError(error_message("train", rule, _NO_LENGTH, cure))
    if config.epochs not in (None, 1):
        rule = "None or 1 for a stream with max_steps, but without steps_per_epoch"
        raise ValueError(error_message("epochs", rule, config.epochs, "set steps_per_epoch"))
    return dataclasses.replace(config, steps_per_epoch=config.max_steps)


def check_validation_data(objective: Objective, train: object, val: object) -> None:
    """Raise if validation targets cannot be those of the run, before an epoch is trained.

    Raises:
        TypeError: If the targets have the wrong dtype.
        ValueError: If they have the wrong values, or another shape than the training targets.
    """
    targets, expected = known_targets(val), known_targets(train)
    if targets is None:
        return
    check_known_targets(objective, targets)
    if expected is None or not len(targets):
        return
    both_float = targets.is_floating_point() and expected.is_floating_point()
    if both_float and targets.shape[1:] != expected.shape[1:]:
        rule = f"of the shape of the training targets, (N, *{tuple(expected.shape[1:])})"
        raise ValueError(error_message("val.targets", rule, tuple(targets.shape)))


def known_targets(train: object) -> Tensor | None:
    """Return the targets of all examples; None if they are not known before the first batch."""
    return _known_tensor(train, "targets")


def _known_tensor(train: object, name: str) -> Tensor | None:
    found: object = getattr(getattr(train, "data", train), name, None)
    return found if isinstance(found, Tensor) and found.ndim else None


def check_class_weights(config: TrainerConfig, task: Task) -> None:
    """Raise ValueError if there are class weights and the task is no classification."""
    if config.class_weights is None or task == "classification":
        return
    rule = "a classification for class_weights"
    cure = "give the examples weights instead"
    found = "a regression"
    if task == "multilabel":
        found, cure = "several labels for each example", "use BinaryCrossEntropy(pos_weight=...)"
    raise ValueError(error_message("train", rule, Unquoted(found), cure))


def check_monitored_data(config: FilledConfig, val: object) -> None:
    """Raise if the run does not evaluate the data that the monitored metric needs.

    The default metric is an exception, unless a decision depends on it.

    Raises:
        ValueError: If ``val`` is None, or ``train_metrics`` is False.
    """
    name = monitor_of(config.monitor).name
    if name in ("train_accuracy", "train_rmse") and not config.train_metrics:
        rule = f"True for monitor={name!r}"
        raise ValueError(error_message("train_metrics", rule, config.train_metrics))
    if val is not None or not name.startswith("val_"):
        return
    purpose = None
    if config.early_stopping is not None:
        purpose = f"early stopping on {name}"
    elif config.reduce_lr_on_plateau is not None:
        purpose = f"reduce_lr_on_plateau on {name}"
    elif config.restore_best:
        purpose = f"restore_best on {name}"
    elif config.monitor != "val_loss":
        purpose = f"monitor={name!r}"
    if purpose is not None:
        cure = 'or set monitor="train_loss"'
        raise ValueError(error_message("val", f"given for {purpose}", None, cure))


def _length(train: object) -> int | None:
    return len(train) if hasattr(train, "__len__") else None
