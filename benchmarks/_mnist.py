"""The four MNIST files, from the folder that MLPKIT_DATA names, as NumPy arrays."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MEAN = 0.1307
STD = 0.3081


class Mnist(NamedTuple):
    """Images as uint8 of shape ``(N, 784)`` and labels as int64 of shape ``(N,)``."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def folder() -> Path:
    """Return the folder of the four files, or say how to name it."""
    named = os.environ.get("MLPKIT_DATA")
    if named is None:
        raise RuntimeError("MLPKIT_DATA must name the folder of the four MNIST files")
    return Path(named)


def read(examples: int = 60_000) -> Mnist:
    """Read the test images and the first ``examples`` training images."""
    root = folder()
    return Mnist(
        _images(root / "train-images-idx3-ubyte.gz")[:examples],
        _labels(root / "train-labels-idx1-ubyte.gz")[:examples],
        _images(root / "t10k-images-idx3-ubyte.gz"),
        _labels(root / "t10k-labels-idx1-ubyte.gz"),
    )


def normalized(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(images / 255 - MEAN) / STD`` in float32."""
    return images.astype(np.float32) * np.float32(1 / (255 * STD)) - np.float32(MEAN / STD)


def _images(path: Path) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 784)


def _labels(path: Path) -> NDArray[np.int64]:
    content = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)
    return content.astype(np.int64)
