"""Anybody's picture as a model of gray pictures takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.data import center_digit
from mlpkit.errors import ArtifactError, DataError
from mlpkit.models import SoftmaxClassifier

__all__ = ["Fit", "PictureReader"]

Fit: TypeAlias = Literal["auto", "center", "resize"]

_MNIST_SIDE = 28
_FIELD_SIDE = 8  # up to here the ink fills the whole field, as in the 8x8 digits


class PictureReader:
    """Reads picture files into the raw inputs of one model.

    Args:
        model: A classifier of gray pictures on a background of 0.
        fit: ``"center"``: the ink alone, as the makers of MNIST centerd it, or over the whole field
            for models of 8x8; ``"resize"``: the whole picture. ``"auto"`` centers for a model whose
            classes are single characters.
        ink: Raw value of full ink; None finds it from the model's mean and standard deviation.

    Raises:
        ArtifactError: If the model takes no gray pictures.
        ValueError: If nothing tells the value of full ink.
    """

    def __init__(self, model: SoftmaxClassifier, fit: Fit, ink: float | None) -> None:
        shape = model.input_shape
        shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
        if len(shape) != 2 or min(shape) < 2:
            rule = "a classifier of gray pictures"
            found = f"one of inputs of shape {model.input_shape}"
            raise ArtifactError(
                error_message("MODEL", rule, found, "predict such inputs from Python")
            )
        self._shape = (shape[0], shape[1])
        self._input_shape = model.input_shape
        are_characters = all(len(name) == 1 for name in model.classes)
        self._centers = are_characters if fit == "auto" else fit == "center"
        self._ink = _full_ink(model) if ink is None else ink

    def read(self, path: Path) -> Tensor:
        """Return a picture as one raw input, in the units of the model.

        Raises:
            DataError: If the file is no picture, or nothing is to be seen in it.
        """
        try:
            amount = self._centered(path) if self._centers else self._resized(path)
        except DataError as error:
            named = str(path) in str(error)
            raise error if named else DataError(f"{path}: {error}") from error
        raw = amount.clamp(0.0, 1.0) * self._ink
        raw = raw.round() if self._ink > 1 else raw
        return raw.reshape(self._input_shape)

    def _centered(self, path: Path) -> Tensor:
        digit = center_digit(path).float() / 255
        if self._shape == (_MNIST_SIDE, _MNIST_SIDE):
            return digit
        if min(self._shape) > _FIELD_SIDE:
            return _scaled(digit, self._shape)
        rows, columns = (digit > 0).nonzero(as_tuple=True)
        ink = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        return _inside(ink, self._shape)

    def _resized(self, path: Path) -> Tensor:
        from mlpkit.data.images import gray_plane

        plane = torch.from_numpy(gray_plane(path)).float()
        low, high = plane.aminmax()
        if low == high:
            rule = "a picture of something"
            raise DataError(error_message(f"the picture {path}", rule, "one of a single gray"))
        plane = (plane - low) / (high - low)
        border = torch.cat([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
        return _inside(1.0 - plane if border.median() > 0.5 else plane, self._shape)


def _full_ink(model: SoftmaxClassifier) -> float:
    from mlpkit.demo._page import _ink

    return _ink(model, None)


def _inside(plane: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a picture scaled to fit a field, in its proportions, in the middle, on 0."""
    ratio = min(shape[0] / plane.shape[0], shape[1] / plane.shape[1])
    height, width = (max(1, round(side * ratio)) for side in plane.shape)
    field = torch.zeros(shape)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    field[top : top + height, left : left + width] = _scaled(plane, (height, width))
    return field


def _scaled(plane: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(plane[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
