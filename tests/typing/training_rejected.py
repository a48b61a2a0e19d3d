"""Uses of mlpkit.training that a type checker rejects; never run.

Each comment is an assertion: mypy reports one that is not needed (warn_unused_ignores).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP
from mlpkit.training import (
    BatchLike,
    Callback,
    CheckpointConfig,
    CrossEntropy,
    EarlyStopping,
    EpochRow,
    OptimizerConfig,
    Schedule,
    StepInfo,
    Trainer,
    TrainerConfig,
    fit_many,
)

x = torch.zeros(8, 6)
train = LabeledTensors(x, torch.zeros(8, dtype=torch.int64))
model = MLP(6, (4,), 2)
trainer = Trainer(model)

# The trainer takes a module, a configuration, and options by keyword.
Trainer()  # type: ignore[call-arg]
Trainer(lambda x: x)  # type: ignore[arg-type]
Trainer(model, {"epochs": 3})  # type: ignore[arg-type]
Trainer(model, epochs=3)  # type: ignore[call-arg]
Trainer(model, TrainerConfig(), CrossEntropy())  # type: ignore[call-arg]

# Data come as examples or batches, not as separate tensors.
trainer.fit(x)  # type: ignore[arg-type]
trainer.fit(x, train.targets)  # type: ignore[arg-type]
trainer.fit()  # type: ignore[call-arg]
trainer.fit(train, resume=True)  # type: ignore[arg-type]
trainer.evaluate(x)  # type: ignore[arg-type]
trainer.predict(train)  # type: ignore[arg-type]

# Configurations: a misspelled name, a misspelled value, the wrong type, and no assignment.
TrainerConfig(epcohs=3)  # type: ignore[call-arg]
TrainerConfig(3)  # type: ignore[call-arg]
TrainerConfig(epochs="3")  # type: ignore[arg-type]
TrainerConfig(precision="float16")  # type: ignore[arg-type]
TrainerConfig(monitor=("val_f1", "max"))  # type: ignore[arg-type]
TrainerConfig(device=torch.device("cpu"))  # type: ignore[arg-type]
TrainerConfig(optimizer="adamw")  # type: ignore[arg-type]
TrainerConfig(checkpoints="runs/x")  # type: ignore[arg-type]
OptimizerConfig(name="adamm")  # type: ignore[arg-type]
Schedule(kind="one_cylce")  # type: ignore[arg-type]
EarlyStopping(5)  # type: ignore[call-arg]
CheckpointConfig()  # type: ignore[call-arg]
CheckpointConfig("runs/x")  # type: ignore[call-arg]
CheckpointConfig(folder=3)  # type: ignore[arg-type]
CheckpointConfig(folder="runs/x", every=1)  # type: ignore[call-arg]
trainer.config.epochs = 4  # type: ignore[misc]
trainer.lr = 0.1  # type: ignore[misc]
trainer.optimizer = torch.optim.SGD(model.parameters())  # type: ignore[misc]


# An objective takes the model and the batch, and returns a tensor.
def of_outputs(outputs: Tensor, targets: Tensor) -> Tensor:
    """The signature of a loss of torch."""
    return (outputs - targets).abs()


def reduced(model: nn.Module, batch: BatchLike) -> float:
    """A number instead of a tensor."""
    return 0.0


Trainer(model, objective=of_outputs)  # type: ignore[arg-type]
Trainer(model, objective=reduced)  # type: ignore[arg-type]
Trainer(model, objective=nn.CrossEntropyLoss)  # type: ignore[arg-type]
Trainer(model, objective="cross_entropy")  # type: ignore[arg-type]
Trainer(model, optimizer="adamw")  # type: ignore[arg-type]


# A hook has the signature of the base class.
class WrongStep(Callback):
    """The trainer is missing."""

    def on_step_end(self, step: StepInfo) -> None:  # type: ignore[override]
        """Do nothing."""


class WrongRow(Callback):
    """The row is a mapping."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:  # type: ignore[override]
        """Do nothing."""


Trainer(model, callbacks=Callback())  # type: ignore[arg-type]
Trainer(model, callbacks=[Callback])  # type: ignore[list-item]
Trainer(model, callbacks=[print])  # type: ignore[list-item]

# What may be None must be checked first.
row: EpochRow = trainer.history[-1]
row.val_error + 1.0  # type: ignore[operator]
row.train_loss = 0.0  # type: ignore[misc]
trainer.config.checkpoints.folder  # type: ignore[union-attr]  # noqa: B018

# Several networks.
fit_many([model], train)  # type: ignore[call-arg]
fit_many(model, train, config=TrainerConfig())  # type: ignore[arg-type]
fit_many([model], x, config=TrainerConfig())  # type: ignore[arg-type]
fit_many([model], train, config={"epochs": 3})  # type: ignore[arg-type]
