"""Probabilities for many images and for one: ``python -m benchmarks.inference``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import Worker
from benchmarks.contenders import Workload

HIDDEN_FEATURES = (512, 256)
CALLS = {10_000: 1, 1: 500}
"""How many calls are timed together, by the number of images in one."""

Seconds = tuple[float, float]


def build(images: int) -> Callable[[int], Seconds]:
    """Return what times ``predict_proba`` and a bare forward pass on the same raw images.

    Both run in one process, one after the other, since they are the same network. The bare pass
    is torch's own layers under ``no_grad`` with the same preprocessing and softmax.
    """
    import torch
    from torch import Tensor

    from benchmarks import _mnist
    from benchmarks.contenders._torch import network
    from mlpkit import SoftmaxClassifier
    from mlpkit.data import LabeledTensors

    data = _mnist.read()
    raw = torch.from_numpy(data.test_images[:images].copy()).view(-1, 28, 28)
    train = LabeledTensors.from_numpy(
        data.train_images.reshape(-1, 28, 28),
        data.train_labels,
        [str(digit) for digit in range(10)],
    )
    classifier = SoftmaxClassifier.for_data(train, HIDDEN_FEATURES).eval()
    bare = network(Workload(hidden_features=HIDDEN_FEATURES), 0).eval()
    mean, std = float(classifier.mean), float(classifier.std)

    def bare_forward() -> Tensor:
        with torch.no_grad():
            logits: Tensor = bare((raw.flatten(1).float() - mean) / std)
            return logits.softmax(1)

    def timed(call: Callable[[], Tensor]) -> float:
        start = time.perf_counter()
        for _ in range(CALLS[images]):
            call()
        return (time.perf_counter() - start) / CALLS[images]

    return lambda _seed: (timed(lambda: classifier.predict_proba(raw)), timed(bare_forward))


def main(arguments: Sequence[str]) -> int:
    """Measure both numbers of images."""
    options = _command_line.parser("benchmarks.inference", __doc__, repeats=21).parse_args(
        arguments
    )
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rows = []
    for images in CALLS:
        with Worker(f"inference of {images}", build, (images,)) as worker:
            worker.turn(0)
            rounds = [worker.turn(seed) for seed in range(1, options.repeats + 1)]
        classifier, bare = zip(*rounds, strict=True)
        scale, unit = (1e3, "ms") if images > 1 else (1e6, "us")
        rows.append(
            [
                f"{images:,} images ({unit})",
                Spread.of(classifier).shown(1, scale),
                Spread.of(bare).shown(1, scale),
                paired_ratio(classifier, bare).shown(2),
            ]
        )
    parts = [
        f"784-512-256-10, raw uint8 images in, probabilities out; n = {options.repeats}, "
        "median (min to max):",
        table(["in one call", "`predict_proba`", "bare `no_grad` forward", "ratio"], rows),
    ]
    _command_line.report("inference", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
