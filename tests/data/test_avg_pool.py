"""Average pooling against NumPy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mlpkit.data import LabeledTensors, avg_pool, digits


def labeled(inputs: Tensor) -> LabeledTensors:
    """Return the inputs with a class and a weight for each example."""
    count = len(inputs)
    return LabeledTensors(
        inputs, torch.arange(count) % 2, ("even", "odd"), weights=torch.arange(count) + 1.0
    )


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(7, 12, 18), (5, 3, 12, 18), (0, 12, 18)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_each_pixel_is_the_mean_of_its_block(
    shape: tuple[int, ...], kernel_size: int, dtype: torch.dtype
) -> None:
    """The oracle is NumPy's mean over the axes of the blocks; uint8 means are not rounded."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, shape, generator=generator).to(dtype)
    pooled = avg_pool(labeled(inputs), kernel_size).inputs
    rows, columns = shape[-2] // kernel_size, shape[-1] // kernel_size
    blocks = inputs.double().numpy().reshape(*shape[:-2], rows, kernel_size, columns, kernel_size)
    means = torch.from_numpy(blocks.mean(axis=(-3, -1)))
    if kernel_size == 1:
        assert torch.equal(pooled, inputs)
        return
    assert pooled.dtype is (torch.float32 if dtype is torch.uint8 else dtype)
    assert pooled.shape == (*shape[:-2], rows, columns)
    torch.testing.assert_close(pooled, means.to(pooled.dtype))


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks include a shorter last one and images that are larger than a chunk."""
    inputs = torch.randint(0, 256, (23, 4, 6), dtype=torch.uint8)
    whole = avg_pool(labeled(inputs), 2).inputs
    for pixels in (1, 24, 5 * 24):
        monkeypatch.setattr("mlpkit.data._avg_pool._CHUNK_PIXELS", pixels)
        assert torch.equal(avg_pool(labeled(inputs), 2).inputs, whole)


def test_targets_classes_and_weights_are_preserved() -> None:
    """Only the inputs change; a kernel size of 1 returns the data themselves."""
    data = labeled(torch.rand(6, 4, 4))
    pooled = avg_pool(data, 2)
    assert torch.equal(pooled.targets, data.targets)
    assert pooled.classes == data.classes
    assert pooled.weights is not None
    assert data.weights is not None
    assert torch.equal(pooled.weights, data.weights)
    assert avg_pool(data, 1) is data
    learning = LabeledTensors(torch.rand(6, 4, 4, requires_grad=True), data.targets)
    assert not avg_pool(learning, 2).inputs.requires_grad


@pytest.mark.parametrize(
    ("inputs", "kernel_size", "error", "message"),
    [
        (
            torch.rand(3, 8, 8),
            3,
            ValueError,
            r"a divisor of the height and width of the images \(8 x 8\)",
        ),
        (
            torch.rand(3, 8, 6),
            4,
            ValueError,
            r"a divisor of the height and width of the images \(8 x 6\)",
        ),
        (torch.rand(3, 8, 8), 0, ValueError, "kernel_size must be a positive integer, got 0"),
        (torch.rand(3, 64), 2, ValueError, "images must be of shape"),
        (torch.zeros(3, 8, 8, dtype=torch.int32), 2, TypeError, "images must be uint8 or float"),
    ],
)
def test_bad_arguments(
    inputs: Tensor, kernel_size: int, error: type[Exception], message: str
) -> None:
    """Kernel sizes that do not divide the sides and inputs that are not images are refused."""
    with pytest.raises(error, match=message):
        avg_pool(LabeledTensors(inputs, torch.zeros(3, dtype=torch.int64)), kernel_size)


def test_the_mean_brightness_is_preserved() -> None:
    """The mean of a pooled image is that of the original image."""
    data = digits().test
    small, whole = avg_pool(data, 4).inputs.double(), data.inputs.double()
    torch.testing.assert_close(small.mean(dim=(1, 2)), whole.mean(dim=(1, 2)))
