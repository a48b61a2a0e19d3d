"""scikit-learn's MLPClassifier, in float32, without its L2 penalty."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks import _mnist
from benchmarks.contenders import LR, Workload


class SklearnMLP:
    """One ``fit`` of as many iterations as there are epochs."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.data = _mnist.read(workload.examples)
        self.inputs = _mnist.normalized(self.data.train_images)
        self.test_inputs = _mnist.normalized(self.data.test_images)
        self.estimator = import_module("sklearn.neural_network").MLPClassifier

    def prepare(self, seed: int) -> None:
        self.classifier: Any = self.estimator(
            hidden_layer_sizes=self.workload.hidden_features,
            batch_size=self.workload.batch_size,
            learning_rate_init=LR,
            alpha=0.0,
            max_iter=self.workload.epochs,
            random_state=seed,
        )

    def train(self) -> None:
        self.classifier.fit(self.inputs, self.data.train_labels)

    def accuracy(self) -> float:
        return float(self.classifier.score(self.test_inputs, self.data.test_labels))


def build(workload: Workload, _variant: str) -> SklearnMLP:
    """Return the classifier."""
    return SklearnMLP(workload)
