"""How each contender trains towards a test accuracy.

The settings were chosen on 5,000 images that were held out of the 60,000.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import torch

from benchmarks import _mnist
from benchmarks.contenders import LR
from mlpkit import SoftmaxClassifier
from mlpkit.data import Augmentation, Batches, RandomAffine, avg_pool, mnist
from mlpkit.models import unpooled
from mlpkit.training import (
    AveragingConfig,
    OptimizerConfig,
    Precision,
    Schedule,
    Trainer,
    TrainerConfig,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Settings of mlpkit's Trainer, with a one-cycle schedule over all steps.

    Pictures of 28 x 28 are averaged to 14 x 14 before the training, which its clock counts.
    """

    hidden_features: tuple[int, ...]
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.01
    precision: Precision = "fp32"
    augment: Augmentation | None = None
    averaged: float = 0.0
    """Share of the steps, at the end, whose weights are averaged."""


_LABEL_SMOOTHING = 0.05
_BETAS = (0.8, 0.95)
_POOL = 2

RECIPES: dict[float, Recipe] = {
    98.0: Recipe(hidden_features=(256,), epochs=4, batch_size=512, lr=2e-2),
    98.5: Recipe(hidden_features=(1024,), epochs=5, batch_size=512, lr=1e-2, precision="bf16"),
    99.0: Recipe(
        hidden_features=(1024, 512),
        epochs=19,
        batch_size=512,
        lr=5e-3,
        precision="bf16",
        augment=RandomAffine(degrees=10, translate=(0.05, 0.05), scale=(0.9, 1.1), shear=10),
        averaged=0.1,
    ),
}


class Reached(NamedTuple):
    """One training: its seconds and the test accuracy at its end."""

    seconds: float
    accuracy: float


def build_mlpkit(recipe: Recipe) -> Callable[[int], Reached]:
    """Return one training by mlpkit from a seed, for the epochs of the recipe."""
    splits = mnist(_mnist.folder(), val_size=0, download=False)

    def train(seed: int) -> Reached:
        # Out of the clock: a machine that takes back the pages of a process that waits has them
        # back here after the minute that another contender's turn takes.
        train_once(seed, epochs=1)
        start = time.perf_counter()
        model = train_once(seed, epochs=recipe.epochs)
        seconds = time.perf_counter() - start
        right = unpooled(model, _POOL).predict(splits.test.inputs) == splits.test.targets
        return Reached(seconds, float(right.double().mean()))

    def train_once(seed: int, *, epochs: int) -> SoftmaxClassifier:
        data = avg_pool(splits.train, _POOL)
        model = SoftmaxClassifier.for_data(
            data, recipe.hidden_features, generator=torch.Generator().manual_seed(seed)
        )
        batches = Batches(data, recipe.batch_size, seed=seed, augment=recipe.augment)
        start_step = int((1 - recipe.averaged) * len(batches) * epochs)
        config = TrainerConfig(
            epochs=epochs,
            optimizer=OptimizerConfig(lr=recipe.lr, weight_decay=recipe.weight_decay, betas=_BETAS),
            schedule=Schedule(kind="one_cycle"),
            label_smoothing=_LABEL_SMOOTHING,
            averaging=(
                AveragingConfig(decay=None, start_step=start_step) if recipe.averaged else None
            ),
            precision=recipe.precision,
            seed=seed,
            device="cpu",
        )
        Trainer(model, config).fit(batches)
        return model

    return train


def build_sklearn(percent: float) -> Callable[[int], Reached]:
    """Return one training by scikit-learn, epoch by epoch until it has the percentage."""
    data = _mnist.read()
    inputs, test_inputs = _mnist.normalized(data.train_images), _mnist.normalized(data.test_images)
    estimator = import_module("sklearn.neural_network").MLPClassifier

    def train(seed: int) -> Reached:
        classifier: Any = estimator(
            hidden_layer_sizes=(512, 256),
            batch_size=128,
            learning_rate_init=LR,
            max_iter=1,
            warm_start=True,
            random_state=seed,
        )
        seconds, accuracy = 0.0, 0.0
        for _ in range(30):
            start = time.perf_counter()
            classifier.fit(inputs, data.train_labels)
            seconds += time.perf_counter() - start
            accuracy = float(classifier.score(test_inputs, data.test_labels))
            if 100 * accuracy >= percent:
                break
        return Reached(seconds, accuracy)

    return train
