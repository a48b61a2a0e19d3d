"""Write the golden files of this version, and what a later version must read from them.

``python -m tests.golden.make`` writes a new folder, which is named after the version. The folder of
a released version is never written again.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, cast

import pandas as pd
import torch

from mlpkit._serialization import JSONValue
from mlpkit.cli import _main as cli
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.models import Ensemble, MultilabelClassifier, Regressor, SoftmaxClassifier, load_model
from mlpkit.nn import MLP, Maxout, MLPConfig
from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    EarlyStopping,
    FitResult,
    Monitor,
    OptimizerConfig,
    ReduceLROnPlateau,
    Schedule,
    StepInfo,
    TopKAccuracy,
    Trainer,
    TrainerConfig,
)

AnyModel: TypeAlias = SoftmaxClassifier | MultilabelClassifier | Regressor | Ensemble

GOLDEN = Path(__file__).parent
MODELS = ("classifier", "labels", "regressor", "table", "ensemble")
STOP_AT = 8  # index of the first step of the third of four epochs

FRAME = pd.DataFrame(
    {
        "area": [20.0, 35.5, None, 80.0, 120.0, 61.0],
        "new": [True, False, False, True, True, False],
        "city": ["Rome", "Oslo", "Rome", None, "Bonn", "Oslo"],
        "price": [90.0, 120.0, 200.0, 310.0, 480.0, 250.0],
    }
)


def fill(model: torch.nn.Module, scale: float = 1.0) -> None:
    """Give the parameters values that no random number generator decides."""
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64)
            values = scale * torch.sin(1.7 * steps + number)
            parameter.copy_(values.view_as(parameter))


def table() -> LabeledTensors:
    """Return the rows of the table, encoded."""
    return LabeledTensors.from_frame(FRAME, encoder=TableEncoder.fit(FRAME, target="price"))


def build(name: str) -> SoftmaxClassifier | MultilabelClassifier | Regressor:
    """Return a model of each kind; together they have every option that changes the file."""
    mean, std = torch.linspace(-1.0, 4.0, 6).view(2, 3), torch.full((2, 3), 9.0)
    model: SoftmaxClassifier | MultilabelClassifier | Regressor
    if name == "classifier":
        network = MLP(
            6, (4, 4), 3, activation=("prelu", Maxout(num_pieces=3)), norm="batch", residual=True
        )
        names = ("a", "b", "c")
        model = SoftmaxClassifier(network, classes=names, input_shape=(2, 3), mean=mean, std=std)
        model.temperature.fill_(1.5)
    elif name == "labels":
        network = MLP(6, (4,), 2, activation="swiglu", norm="layer", bias=False)
        model = MultilabelClassifier(
            network,
            classes=("wide", "new"),
            thresholds=(0.3, 0.6),
            pos_weight=(0.5, 2.0),
            input_shape=(2, 3),
            mean=mean,
            std=std,
        )
    elif name == "regressor":
        model = Regressor(
            MLP(6, (), 4),
            target_mean=torch.tensor([1000.0, -3.0]),
            target_std=torch.tensor([50.0, 0.01]),
            target_shape=(2,),
            target_names=("price", "height"),
            predicts_std=True,
            input_shape=(2, 3),
            mean=mean,
            std=std,
        )
    else:
        model = Regressor.for_data(table(), (4,))
    fill(model)
    return model.eval()


def ensemble() -> Ensemble:
    """Return the average of two models."""
    members = [build("labels"), build("labels")]
    fill(members[1], 0.5)
    return Ensemble(members)


def predictions(model: AnyModel) -> dict[str, object]:
    """Return what a model predicts, for the rows of the table if it has an encoder."""
    images = torch.linspace(-20.0, 30.0, 24).view(4, 2, 3)
    inputs = images if model.encoder is None else model.encoder.transform(FRAME)
    found: dict[str, object] = {
        "inputs": inputs.tolist(),
        "predict": model.predict(inputs).tolist(),
    }
    if not isinstance(model, Regressor):
        found["proba"] = model.predict_proba(inputs).tolist()
    elif model.predicts_std:
        found["std"] = model.predict_std(inputs).tolist()
    return found


class StopAt(Callback):
    """Stops the run after a step; its state is in the checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.seen = 0

    def on_step_end(self, trainer: Trainer, step: StepInfo) -> None:
        """Stop."""
        self.seen += 1
        if step.step == self.step:
            trainer.stop()

    def state_dict(self) -> dict[str, JSONValue]:
        """Return the number of steps."""
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, JSONValue]) -> None:
        """Restore the number of steps."""
        self.seen = cast("int", state["seen"])


def trainer(folder: Path, stop: StopAt) -> Trainer:
    """Return the trainer of the golden checkpoint."""
    model = MLP(2, (4,), 2, activation="tanh", norm="layer")
    fill(model)
    config = TrainerConfig(
        epochs=4,
        batch_size=5,
        optimizer=OptimizerConfig(lr=0.05, weight_decay=0.01),
        schedule=Schedule(kind="one_cycle"),
        averaging=AveragingConfig(decay=0.5),
        restore_best=True,
        early_stopping=EarlyStopping(patience=5),
        checkpoints=CheckpointConfig(folder=folder),
        device="cpu",
        progress=False,
    )
    return Trainer(model, config, callbacks=[stop], metrics={"top1": TopKAccuracy(1)})


def fit(trainer: Trainer, resume: Path | None = None) -> FitResult:
    """Train on the points of a lattice."""
    points = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)) / 2 - 0.75
    data = LabeledTensors(points, (points.prod(dim=1) > 0).long())
    return trainer.fit(data, data, resume=resume)


def outcome(trainer: Trainer, result: FitResult, stop: StopAt) -> dict[str, object]:
    """Return what a resumed run ends with."""
    return {
        "seen": stop.seen,
        "val_loss": [row.val_loss for row in result.history],
        "weights": torch.cat([value.flatten() for value in trainer.model.parameters()]).tolist(),
    }


def settings() -> TrainerConfig:
    """Return settings with another value than the default in many fields."""
    return TrainerConfig(
        epochs=7,
        batch_size=32,
        drop_last=True,
        gradient_accumulation_steps=2,
        optimizer=OptimizerConfig(name="sgd", lr=0.1, momentum=0.5, nesterov=True),
        schedule=Schedule(kind="cosine", warmup_steps=5, final_ratio=0.1),
        reduce_lr_on_plateau=ReduceLROnPlateau(factor=0.5, patience=2),
        label_smoothing=0.1,
        mixup=0.2,
        class_weights=(1.0, 2.5),
        clip_grad_norm=1.0,
        averaging=AveragingConfig(decay=0.9, start_step=3),
        precision="bf16",
        gradients="autograd",
        device="cpu",
        seed=3,
        validate_every=2,
        monitor=Monitor("val_f1", "max"),
        restore_best=True,
        early_stopping=EarlyStopping(patience=4, min_delta=0.01),
        checkpoints=CheckpointConfig(folder=Path("checkpoints"), every_steps=100),
        max_seconds=60.0,
        progress="lines",
    )


def network() -> MLPConfig:
    """Return the settings of a network with another value than the default in every field."""
    return MLP(
        12,
        (8, 8),
        3,
        activation=(Maxout(num_pieces=5), "prelu"),
        output_activation="tanh",
        norm="rms",
        dropout=(0.1, 0.2),
        input_dropout=0.3,
        bias=False,
        residual=True,
        init="torch",
        max_norm=2.0,
        flatten=True,
    ).config


def main(folder: Path) -> None:
    """Write the files of this version into a new folder."""
    torch.set_num_threads(1)
    folder.mkdir()
    expected: dict[str, object] = {}
    for name in MODELS:
        model = ensemble() if name == "ensemble" else build(name)
        expected[name] = predictions(load_model(model.save(folder / name)))
        (folder / name / "config.json").unlink()  # a copy of what model.safetensors has
    with TemporaryDirectory() as name:
        work = Path(name)
        fit(trainer(work, StopAt(STOP_AT)))
        shutil.move(work / "last.pt", folder / "checkpoint.pt")
        stop = StopAt(0)
        resumed = trainer(work / "resumed", stop)
        result = fit(resumed, folder / "checkpoint.pt")
        expected["checkpoint"] = outcome(resumed, result, stop)
        words = ("train", "digits", "--hidden-features", "4", "--epochs", "3", "--device", "cpu")
        cli.run((*words, "--runs", str(work / "runs")))
        (run,) = (work / "runs").iterdir()
        shutil.move(run, folder / "run")
    result.history.save_json(folder / "history.json")
    (folder / "trainer.toml").write_text(settings().to_toml())
    (folder / "network.toml").write_text(network().to_toml())
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("error")
    target = GOLDEN / version("mlpkit")
    if target.exists():
        sys.exit(f"{target.name} exists; the files of a released version stay as they are")
    main(target)
