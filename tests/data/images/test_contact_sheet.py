"""Contact sheets, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlpkit.data import contact_sheet


def test_the_sheet_is_that_of_a_loop() -> None:
    images = torch.randint(0, 256, (5, 3, 4), dtype=torch.uint8)
    sheet = np.asarray(contact_sheet(images, columns=2, zoom=3, gap=1))
    expected = np.full((3 * 10 + 1, 2 * 13 + 1), 96, dtype=np.uint8)
    for index in range(5):
        top, left = 1 + index // 2 * 10, 1 + index % 2 * 13
        for y in range(9):
            for x in range(12):
                expected[top + y, left + x] = images[index, y // 3, x // 3]
    assert np.array_equal(sheet, expected)


def test_color_and_floating_point() -> None:
    images = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]).view(5, 1, 1, 1).expand(5, 3, 1, 1)
    sheet = contact_sheet(images, columns=9, zoom=1, gap=0)
    assert sheet.mode == "RGB"
    assert np.asarray(sheet)[0].tolist() == [[gray] * 3 for gray in (0, 0, 128, 255, 255)]


def test_labels_are_written_below_their_images() -> None:
    """White pixels appear only in the strip below an image with a label."""
    images = torch.zeros(2, 14, 14, dtype=torch.uint8)
    sheet = np.asarray(contact_sheet(images, ["7", ""], zoom=2, gap=2))
    strip = slice(2 + 28, 2 + 28 + 12)
    assert (sheet[strip, 2:30] > 200).any()
    assert (sheet[strip, 32:60] == 96).all()
    assert not sheet[2:30, 2:30].any()


def test_labels_in_a_tensor_are_written_as_numbers() -> None:
    images = torch.zeros(3, 14, 14, dtype=torch.uint8)
    sheets = [contact_sheet(images, labels) for labels in (torch.tensor([7, 0, 2]), [7, 0, 2])]
    of_tensor, of_list = map(np.asarray, sheets)
    assert np.array_equal(of_tensor, of_list)


def test_invalid_arguments_are_refused() -> None:
    images = torch.zeros(2, 4, 4)
    with pytest.raises(ValueError, match="labels must be one for each of the 2 images, got 1 lab"):
        contact_sheet(images, ["a"])
    with pytest.raises(ValueError, match=r"labels must be of shape \(n,\), got \(2, 1\)"):
        contact_sheet(images, torch.zeros(2, 1))
    with pytest.raises(ValueError, match="columns must be a positive integer, got 0"):
        contact_sheet(images, columns=0)
    with pytest.raises(ValueError, match=r"images must be at least one image .*got \(0, 4, 4\)"):
        contact_sheet(images[:0])
    with pytest.raises(ValueError, match=r"with 1 or 3 channels, got \(2, 2, 4, 4\)"):
        contact_sheet(torch.zeros(2, 2, 4, 4))
