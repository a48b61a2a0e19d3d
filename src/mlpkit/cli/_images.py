"""Image files as raw inputs of a classifier of gray images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.data.images import center_digit, full_ink_value, gray_plane
from mlpkit.errors import ArtifactError, DataError
from mlpkit.models import SoftmaxClassifier

__all__ = ["Fit", "ImageReader"]

Fit: TypeAlias = Literal["auto", "center", "resize"]

_MNIST_SIDE = 28
_FILLED_SIDE = 8  # images of at most this side are filled by the ink, as the 8x8 digits are


class ImageReader:
    """Read image files as raw inputs of one model.

    Args:
        model: A classifier of gray images on a background of 0.
        fit: ``"center"`` scales and centers the ink as in MNIST; for 8x8 inputs the ink fills the
            image. ``"resize"`` scales the whole image. ``"auto"`` means ``"center"`` if all class
            names are single characters, else ``"resize"``.
        ink: Raw value of full ink; None infers it from the model's mean and standard deviation.

    Raises:
        ArtifactError: If the inputs of the model are not gray images.
        ValueError: If ``ink`` is None and cannot be inferred.
    """

    def __init__(self, model: SoftmaxClassifier, fit: Fit, ink: float | None) -> None:
        shape = model.input_shape
        shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
        if len(shape) != 2 or min(shape) < 2:
            rule = "a classifier of gray images"
            found = f"a classifier of inputs of shape {model.input_shape}"
            raise ArtifactError(
                error_message("MODEL", rule, Unquoted(found), "predict them from Python")
            )
        self._shape = (shape[0], shape[1])
        self._input_shape = model.input_shape
        are_characters = all(len(name) == 1 for name in model.classes)
        self._centers = are_characters if fit == "auto" else fit == "center"
        self._ink = full_ink_value(model.mean, model.std) if ink is None else ink

    def read(self, path: Path) -> Tensor:
        """Return an image as one raw input, in the units of the model.

        Raises:
            DataError: If the file is not an image, or the image is empty.
        """
        try:
            amount = self._centered(path) if self._centers else self._resized(path)
        except DataError as error:
            has_path = str(path) in str(error)
            raise error if has_path else DataError(f"{path}: {error}") from error
        raw = amount.clamp(0.0, 1.0) * self._ink
        raw = raw.round() if self._ink > 1 else raw
        return raw.reshape(self._input_shape)

    def _centered(self, path: Path) -> Tensor:
        digit = center_digit(path).float() / 255
        if self._shape == (_MNIST_SIDE, _MNIST_SIDE):
            return digit
        if min(self._shape) > _FILLED_SIDE:
            return _resize(digit, self._shape)
        rows, columns = (digit > 0).nonzero(as_tuple=True)
        ink = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        return _fit_inside(ink, self._shape)

    def _resized(self, path: Path) -> Tensor:
        plane = torch.from_numpy(gray_plane(path)).float()
        low, high = plane.aminmax()
        if low == high:
            rule = "an image of more than one gray value"
            raise DataError(error_message(f"the image {path}", rule, Unquoted("a uniform image")))
        plane = (plane - low) / (high - low)
        border = torch.cat([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
        return _fit_inside(1.0 - plane if border.median() > 0.5 else plane, self._shape)


def _fit_inside(plane: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return an image scaled to fit a shape, with its aspect ratio kept, centered on zeros."""
    ratio = min(shape[0] / plane.shape[0], shape[1] / plane.shape[1])
    height, width = (max(1, round(side * ratio)) for side in plane.shape)
    fitted = torch.zeros(shape)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    fitted[top : top + height, left : left + width] = _resize(plane, (height, width))
    return fitted


def _resize(plane: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(plane[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
