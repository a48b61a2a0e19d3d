"""A run on examples in files, and how much its private memory grows: for a process of its own."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

import torch

from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import LabeledTensors, RandomErasing
from mlpkit.training import CheckpointConfig


class PeakMemory(threading.Thread):
    """Reads the private memory of this process again and again; the pages of files are none."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes = self.peak_bytes = self._read()
        self._is_done = threading.Event()

    def run(self) -> None:
        while not self._is_done.wait(0.002):
            self.peak_bytes = max(self.peak_bytes, self._read())

    def stop(self) -> int:
        """Return the growth of the memory in bytes."""
        self._is_done.set()
        self.join()
        return max(self.peak_bytes, self._read()) - self.start_bytes

    @staticmethod
    def _read() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def train(data: LabeledTensors, folder: Path) -> None:
    """Split, standardize, train with augmentation, evaluate, write checkpoints and resume."""
    train, val = data.split([0.9, 0.1])
    model = SoftmaxClassifier.for_data(train, (8,), standardize="feature")
    config = TrainerConfig(
        epochs=1,
        batch_size=512,
        eval_batch_size=512,
        checkpoints=CheckpointConfig(folder=folder),
        progress=False,
    )
    augmented = train.batches(512, augment=RandomErasing())
    Trainer(model, config).fit(augmented, val)
    Trainer(model, config).fit(augmented, val, resume="auto")
    model.evaluate(data[: len(data) // 2], batch_size=512)


def main(folder: Path) -> None:
    """Print the growth while the examples of a folder are trained on."""
    with tempfile.TemporaryDirectory() as runs:
        images = torch.zeros(600, 1, 28, 28)
        train(LabeledTensors(images, torch.arange(600) % 2), Path(runs, "warm"))
        memory = PeakMemory()
        memory.start()
        train(LabeledTensors.open(folder), Path(runs, "run"))
        print(memory.stop())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
