"""Uses of mlpkit.training that a type checker accepts, with the inferred types; never run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from mlpkit import SoftmaxClassifier
from mlpkit.data import Batches, LabeledTensors
from mlpkit.nn import MLP
from mlpkit.training import (
    AveragingConfig,
    BatchLike,
    BatchSource,
    Callback,
    Checkpoint,
    CheckpointConfig,
    ClassificationMetrics,
    ClassMetrics,
    CrossEntropy,
    CSVLogger,
    Distillation,
    EarlyStopping,
    EpochRow,
    Evaluation,
    FitResult,
    History,
    JSONLinesLogger,
    LRCurve,
    MeanSquaredError,
    Mixup,
    MLflowLogger,
    MomentumSchedule,
    Monitor,
    Objective,
    OptimizerConfig,
    OutputObjective,
    Schedule,
    StepInfo,
    StopReason,
    TensorBoardLogger,
    TopKAccuracy,
    Trainer,
    TrainerConfig,
    TrainingData,
    VirtualAdversarial,
    WandbLogger,
    build_optimizer,
    fit_many,
    load_checkpoint,
)

x = torch.zeros(8, 6)
train = LabeledTensors(x, torch.zeros(8, dtype=torch.int64))
loader: DataLoader[tuple[Tensor, ...]] = DataLoader(TensorDataset(x, train.targets), batch_size=4)
model = MLP(6, (4,), 2)

# Any module, and three kinds of training data.
trainer = Trainer(model)
Trainer(nn.Linear(6, 2), None)
assert_type(trainer.fit(train), FitResult)
trainer.fit(train, train)
trainer.fit(Batches(train, 4), val=train)
trainer.fit(loader, loader)
data: TrainingData = train
data = Batches(train, 4)
data = loader
source: BatchSource = Batches(train, 4)

# A checkpoint is resumed by its path, or by "auto".
trainer.fit(train, resume="auto")
trainer.fit(train, resume=Path("runs/x/last.pt"))
trainer.fit(train, resume=None)

# A run is continued, or starts from the weights of a checkpoint.
trainer.fit(train, warm_start=True)
trainer.fit(train, init_from="runs/x/last.pt", init_optimizer=True)
assert_type(load_checkpoint("runs/x/best.pt"), Checkpoint)
assert_type(load_checkpoint("runs/x/best.pt").model_state, dict[str, Tensor])
assert_type(load_checkpoint("runs/x/best.pt").history, History)


# Metrics: functions that return a number or a tensor, and objects.
def f1(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(dim=1) == targets).float().mean())


measured = Trainer(
    model,
    TrainerConfig(monitor=Monitor("val_f1", mode="max"), restore_best=True),
    metrics={"f1": f1, "distance": nn.L1Loss(), "top2": TopKAccuracy(2)},
)
assert_type(measured.evaluate(train).metrics, Mapping[str, float])
assert_type(measured.history[-1].metrics, Mapping[str, float | None])

# The result, and what the trainer has.
result = trainer.fit(train)
assert_type(result.stop_reason, StopReason)
assert_type(result.history, History)
assert_type(trainer.history, History)
assert_type(trainer.model, nn.Module)
assert_type(trainer.config, TrainerConfig)
assert_type(trainer.objective, Objective)
assert_type(trainer.device, torch.device)
assert_type(trainer.optimizer, Optimizer)
assert_type(trainer.lr, float)
assert_type(trainer.state.epoch, int)
assert_type(trainer.state.step, int)
assert_type(trainer.stop(), None)
assert_type(trainer.evaluate(train), Evaluation)
assert_type(trainer.predict(x), Tensor)
assert_type(trainer.predict_proba(x), Tensor)
assert_type(trainer.save("last.pt"), Path)
assert_type(trainer.load_best(), None)
assert_type(trainer.find_lr(train), LRCurve)

# History and metrics.
assert_type(result.history[-1], EpochRow)
assert_type(result.history[-1].val_error, float | None)
for row in result.history:
    assert_type(row.epoch, int)
    assert_type(row.train_loss, float)
evaluation = trainer.evaluate(train)
assert_type(evaluation.loss, float)
assert_type(evaluation.num_examples, int)
assert_type(evaluation.accuracy, float)
assert_type(evaluation.confusion, Tensor)
assert_type(evaluation.per_class, tuple[ClassMetrics, ...])
assert_type(evaluation.classification, ClassificationMetrics | None)

# Configurations. A folder is a str or a Path, and is stored as a Path.
assert_type(CheckpointConfig(folder="runs/x").folder, Path)
assert_type(CheckpointConfig(folder=Path("runs/x")).last, Path)
config = TrainerConfig(
    epochs=3,
    batch_size=32,
    gradient_accumulation_steps=2,
    optimizer=OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.01, betas=(0.9, 0.99)),
    schedule=Schedule(kind="one_cycle"),
    momentum_schedule=MomentumSchedule(kind="linear"),
    clip_grad_norm=1,
    averaging=AveragingConfig(),
    precision="bf16",
    device="cpu",
    seed=1,
    monitor="val_loss",
    early_stopping=EarlyStopping(patience=5),
    checkpoints=CheckpointConfig(
        folder="runs/x", every_epochs=None, every_steps=100, keep_best=False, overwrite=True
    ),
    progress=False,
)
assert_type(config.epochs, int | None)
assert_type(config.checkpoints, CheckpointConfig | None)
assert_type(config.early_stopping, EarlyStopping | None)
assert_type(config.to_json(), str)
assert_type(TrainerConfig.from_json("{}"), TrainerConfig)
Trainer(model, config)


# An objective is a function of the model and a batch, a lambda, or an object.
def absolute_error(model: nn.Module, batch: BatchLike) -> Tensor:
    """A function."""
    outputs: Tensor = model(batch.inputs)
    return (outputs - batch.targets).abs().mean(dim=1)


class Weighted:
    """An object that can be called."""

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Double the loss."""
        return 2 * absolute_error(model, batch)


Trainer(model, objective=absolute_error)
Trainer(model, objective=lambda model, batch: model(batch.inputs).square().mean(1))
Trainer(model, objective=Weighted())
Trainer(model, objective=CrossEntropy(label_smoothing=0.1))
Trainer(model, objective=MeanSquaredError())
Trainer(model, objective=Mixup(0.2, objective=CrossEntropy()))
Trainer(model, objective=Distillation(model, temperature=2))
Trainer(model, objective=VirtualAdversarial(alpha=0.5))
objective: Objective = absolute_error
of_outputs: OutputObjective = CrossEntropy()
assert_type(CrossEntropy().loss(x, train.targets), Tensor)


# A callback overrides the hooks that it needs.
class StopEarly(Callback):
    """Uses the documented properties of the trainer."""

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        """Read the learning rate."""
        assert_type(step.lr, float)
        assert_type(trainer.lr, float)

    def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:
        """Stop the run."""
        if row.val_error is not None and row.val_error < 0.01:
            trainer.stop()

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """Copy the file, and save another."""
        trainer.save("copy.pt")
        path.with_suffix(".copy").write_bytes(path.read_bytes())

    def on_fit_end(self, trainer: Trainer, result: FitResult) -> None:
        """Compare the histories."""
        assert result.history == trainer.history
        assert_type(result.history, History)


Trainer(
    model,
    callbacks=[
        StopEarly(),
        CSVLogger("metrics.csv"),
        JSONLinesLogger(Path("metrics.jsonl")),
        TensorBoardLogger("runs/x"),
        WandbLogger(project="digits", tags=["a"], folder="runs", mode="offline"),
        MLflowLogger(experiment_name="digits", tracking_uri="sqlite:///mlflow.db"),
    ],
)
Trainer(model, callbacks=(StopEarly(),))


# An optimizer that the configuration cannot name.
def sgd(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """A function of the parameters."""
    return torch.optim.SGD(parameters, lr=0.1)


Trainer(model, optimizer=sgd)
Trainer(model, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
assert_type(build_optimizer(model, OptimizerConfig()), Optimizer)

# Several networks of the same architecture.
models = [SoftmaxClassifier.for_data(train, (4,)) for _ in range(3)]
assert_type(fit_many(models, train, config=config), list[FitResult])
assert_type(fit_many(models, train, train, config=[config] * 3), list[FitResult])
