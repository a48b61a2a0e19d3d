"""The settings of a run: those of the configuration, filled in for the model and the data."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.data import DataLoader

from mlpkit._checks import Unquoted, error_message
from mlpkit.training._class_weights import numeric_class_weights
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training._default_objective import label_smoothing_of
from mlpkit.training._defaults import default_batch_size, fill_defaults
from mlpkit.training.batches import BatchSource, TrainingData, as_batches
from mlpkit.training.objectives import Objective, Task, check_known_targets, task_of

__all__ = ["check_class_weights", "known_inputs", "known_targets", "run_config"]


def run_config(
    config: TrainerConfig, model: nn.Module, objective: Objective, train: TrainingData
) -> FilledConfig:
    """Return the settings of a run of a model on training data.

    Raises:
        TypeError: If ``train`` is no training data, or its targets have the wrong dtype.
        ValueError: If the targets do not fit the objective, or the class weights do not fit the
            task or the classes.
    """
    is_batched = isinstance(train, DataLoader | BatchSource)
    num_examples = None if is_batched else _length(train)
    size = config.batch_size or default_batch_size(num_examples or 0)
    batches = as_batches("train", train, batch_size=size, shuffle=True, seed=config.seed)
    targets = known_targets(train)
    task: Task | None = getattr(objective, "task", None)
    if targets is not None:
        check_known_targets(objective, targets)
        task = task_of(objective, targets)
    if task is not None:
        check_class_weights(config, task)
    return fill_defaults(
        config,
        task=task or "classification",
        num_examples=batches.num_examples,
        num_batches=len(batches),
        label_smoothing=label_smoothing_of(objective),
        class_weights=numeric_class_weights(config.class_weights, model, train, targets),
    )


def known_targets(train: object) -> Tensor | None:
    """Return the targets of all examples; None if they are not known before the first batch."""
    return _known_tensor(train, "targets")


def known_inputs(train: object) -> Tensor | None:
    """Return the inputs of all examples; None if they are not known before the first batch."""
    return _known_tensor(train, "inputs")


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


def _length(train: object) -> int | None:
    return len(train) if hasattr(train, "__len__") else None
