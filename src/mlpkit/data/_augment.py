"""What an augmentation is, and several of them one after the other."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Augmentation(Protocol):
    """Changes a batch of images at random, each by a draw of its own."""

    def __call__(self, images: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Return the changed images, in the shape and type of ``images``.

        Args:
            images: Shape (n, ...), one image for each index.
            seed: Seed of the run.
            epoch: Epoch, counted from 0.
            indices: Position of each image in its data set, int64, shape (n,). The draw for an
                image depends on seed, epoch and its index alone.
        """
        ...
