"""Time of a fit beside scikit-learn's: ``python -m benchmarks.sklearn_estimators``."""

from __future__ import annotations

import functools
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn import datasets  # type: ignore[import-untyped]
from sklearn import neural_network as theirs
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.preprocessing import scale  # type: ignore[import-untyped]

from benchmarks import _command_line, _machine, _mnist
from benchmarks._figures import Spread, paired_ratio, table
from mlpkit import sklearn as ours

SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes", "mnist")
OPTIONS: dict[str, dict[str, object]] = {
    "defaults": {},
    "sgd": {"solver": "sgd"},
    "early stopping": {"early_stopping": True},
    "lbfgs, 50 iterations": {"solver": "lbfgs", "max_iter": 50, "tol": 0.0},
}
MNIST_OPTIONS: dict[str, dict[str, object]] = {
    "512-256, batch 128, 2 iterations": {
        "hidden_layer_sizes": (512, 256),
        "batch_size": 128,
        "max_iter": 2,
    }
}


@functools.cache
def examples(name: str, count: int) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.generic]]:
    """Return the standardized inputs and the targets; of MNIST the first ones, in float32."""
    if name == "mnist":
        read = _mnist.read(count)
        return _mnist.normalized(read.train_images), read.train_labels
    data, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    return scale(data), targets


def seconds(module: object, name: str, options: dict[str, object], seed: int, count: int) -> float:
    """Return how long a fit of a whole set takes."""
    inputs, targets = examples(name, count)
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    estimator = getattr(module, kind)(random_state=seed, **options)
    start = time.perf_counter()
    estimator.fit(inputs, targets)
    return time.perf_counter() - start


def main(arguments: Sequence[str]) -> int:
    """Time both estimators in turn; return 1 if the median ratio with the defaults is above 1."""
    parser = _command_line.parser("benchmarks.sklearn_estimators", __doc__, repeats=9)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="sets to fit")
    parser.add_argument(
        "--examples", type=int, default=60_000, help="training images of MNIST, from the first on"
    )
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rows, is_slower = [], False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name in options.sets:
            given_options = MNIST_OPTIONS if name == "mnist" else OPTIONS
            for label, given in given_options.items():
                times: tuple[list[float], list[float]] = ([], [])
                for seed in range(-1, options.repeats):  # the first round is a warm-up
                    for module, found in zip((theirs, ours), times, strict=True):
                        found.append(seconds(module, name, given, max(seed, 0), options.examples))
                expected, measured = (found[1:] for found in times)
                ratio = paired_ratio(measured, expected)
                is_slower |= label == "defaults" and ratio.median > 1.0
                shown = [Spread.of(found).shown() for found in (expected, measured)]
                rows.append([f"{name}, {label}", *shown, ratio.shown(2)])
    header = ["", "scikit-learn (s)", "mlpkit (s)", "mlpkit / scikit-learn"]
    of_mnist = f", of MNIST on {options.examples:,} images in float32"
    parts = [
        f"Time of `fit` on the whole set, standardized{of_mnist if 'mnist' in options.sets else ''}"
        f"; median (min to max) of {options.repeats} seeds, both in turn in one process on "
        f"{options.threads} threads; the same parameters, so the same iterations:",
        table(header, rows),
    ]
    _command_line.report("sklearn_estimators", arguments, load_before, parts, write=options.write)
    return int(is_slower)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
