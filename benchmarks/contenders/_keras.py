"""Keras 3 with torch behind it."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from benchmarks import _mnist
from benchmarks.contenders import LR, OUT_FEATURES, Workload


class Keras:
    """``Sequential``, ``compile`` and ``fit`` on NumPy arrays."""

    def __init__(self, workload: Workload) -> None:
        os.environ["KERAS_BACKEND"] = "torch"
        self.keras = import_module("keras")
        self.workload = workload
        self.data = _mnist.read(workload.examples)
        self.inputs = _mnist.normalized(self.data.train_images)
        self.test_inputs = _mnist.normalized(self.data.test_images)

    def prepare(self, seed: int) -> None:
        keras = self.keras
        keras.utils.set_random_seed(seed)
        hidden = [
            keras.layers.Dense(width, activation="relu") for width in self.workload.hidden_features
        ]
        self.model: Any = keras.Sequential(
            [keras.Input((self.inputs.shape[1],)), *hidden, keras.layers.Dense(OUT_FEATURES)]
        )
        self.model.compile(
            optimizer=keras.optimizers.Adam(LR),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def train(self) -> None:
        self.model.fit(
            self.inputs,
            self.data.train_labels,
            batch_size=self.workload.batch_size,
            epochs=self.workload.epochs,
            verbose=0,
        )

    def accuracy(self) -> float:
        logits = self.model.predict(self.test_inputs, batch_size=1000, verbose=0)
        return float((logits.argmax(1) == self.data.test_labels).mean())


def build(workload: Workload, _variant: str) -> Keras:
    """Return the model."""
    return Keras(workload)
