"""How each contender trains towards a test accuracy; the settings are not tuned yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks import _mnist
from benchmarks.contenders import LR


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Settings of mlpkit's Trainer, with a one-cycle schedule over all steps."""

    hidden_features: tuple[int, ...]
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    dropout: float = 0.0
    shift: float = 0.0
    """Largest random shift in pixels; 0 does not augment."""


RECIPES: dict[float, Recipe] = {
    98.0: Recipe(hidden_features=(512, 256), epochs=3, batch_size=256, lr=5e-3),
    98.5: Recipe(hidden_features=(1024, 512), epochs=8, batch_size=256, lr=4e-3, dropout=0.2),
    99.0: Recipe(
        hidden_features=(1024, 512), epochs=20, batch_size=256, lr=3e-3, dropout=0.1, shift=2.0
    ),
}


class Reached(NamedTuple):
    """One training: its seconds and the test accuracy at its end."""

    seconds: float
    accuracy: float


def build_mlpkit(recipe: Recipe) -> Callable[[int], Reached]:
    """Return one training by mlpkit from a seed, for the epochs of the recipe."""
    import torch

    from mlpkit import SoftmaxClassifier
    from mlpkit.data import Batches, RandomAffine, mnist
    from mlpkit.training import OptimizerConfig, Schedule, Trainer, TrainerConfig

    splits = mnist(_mnist.folder(), val_size=0, download=False)

    def train(seed: int) -> Reached:
        model = SoftmaxClassifier.for_data(
            splits.train,
            recipe.hidden_features,
            dropout=recipe.dropout,
            generator=torch.Generator().manual_seed(seed),
        )
        config = TrainerConfig(
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            optimizer=OptimizerConfig(lr=recipe.lr, weight_decay=recipe.weight_decay),
            schedule=Schedule(kind="one_cycle"),
            label_smoothing=recipe.label_smoothing,
            seed=seed,
            device="cpu",
        )
        trainer = Trainer(model, config)
        start = time.perf_counter()
        if recipe.shift:
            augment = RandomAffine(translate=(recipe.shift / 28, recipe.shift / 28))
            trainer.fit(Batches(splits.train, recipe.batch_size, seed=seed, augment=augment))
        else:
            trainer.fit(splits.train)
        seconds = time.perf_counter() - start
        found = trainer.evaluate(splits.test).classification
        assert found is not None
        return Reached(seconds, found.accuracy)

    return train


def build_sklearn(percent: float) -> Callable[[int], Reached]:
    """Return one training by scikit-learn, epoch by epoch until it has the percentage."""
    data = _mnist.read()
    inputs, test_inputs = _mnist.normalised(data.train_images), _mnist.normalised(data.test_images)
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
