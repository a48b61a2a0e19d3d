"""The options --device and --precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mlpkit.cli._compute_options import ComputeOptions
from mlpkit.cli._model import as_classifier
from mlpkit.data import digits
from mlpkit.models import SoftmaxClassifier
from mlpkit.training import Precision


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.half)])
def test_the_precision_is_that_of_torch(
    digits_run: Path, precision: Precision, dtype: torch.dtype
) -> None:
    """Oracle: torch's autocast; fp32 is the model without autocast."""
    inputs = digits().test.inputs[:50]
    plain = SoftmaxClassifier.load(digits_run / "model")
    with torch.autocast("cpu", dtype):
        expected = plain.predict_proba(inputs)
    compute = ComputeOptions(device="cpu", precision=precision)
    model = as_classifier(compute.load_model(digits_run), "predict", digits_run)
    with compute.autocast():
        found = model.predict_proba(inputs)
    assert torch.equal(found, expected)
    assert not torch.equal(found, plain.predict_proba(inputs))
    assert found.dtype == torch.float32
    assert float((found.sum(1) - 1).abs().max()) <= 1e-6
    with ComputeOptions(device="cpu").autocast():
        assert torch.equal(model.predict_proba(inputs), plain.predict_proba(inputs))


def test_both_commands_take_the_options(
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lower precision gives the same class with other probabilities."""
    ink = np.pad(digits().test.inputs[0].numpy(), 6)
    Image.fromarray(255 - 15 * ink).resize((200, 200)).save("a.png")

    def printed(precision: str, *words: str) -> object:
        assert run_here(*words, "--device", "cpu", "--precision", precision, "--json") == 0
        found: object = json.loads(capsys.readouterr().out)
        return found

    test_set = ("evaluate", str(digits_run), "digits")
    assert printed("fp32", *test_set) != printed("bf16", *test_set)
    image = ("predict", "a.png", "--model", str(digits_run))
    fp32, bf16 = printed("fp32", *image), printed("bf16", *image)
    assert isinstance(fp32, list)
    assert isinstance(bf16, list)
    assert fp32 != bf16
    assert fp32[0]["class"] == bf16[0]["class"]


@pytest.mark.parametrize(
    ("device", "code", "message"),
    [
        ("nonsense", 2, 'device must be "auto" or the name of a torch device'),
        ("xpu:7", 1, "device must be a device that this machine has"),
    ],
)
def test_an_invalid_device_is_an_error(
    device: str,
    code: int,
    message: str,
    digits_run: Path,
    run_here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An invalid name is exit code 2, a missing device exit code 1."""
    assert run_here("evaluate", str(digits_run), "digits", "--device", device) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


@pytest.mark.gpu
def test_on_a_gpu(digits_run: Path) -> None:
    """Probabilities on the GPU agree with those on the CPU."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    inputs = digits().test.inputs
    model = ComputeOptions(device="cuda").load_model(digits_run)
    found = as_classifier(model, "predict", digits_run).predict_proba(inputs)
    assert found.device.type == "cuda"
    model = ComputeOptions(device="cpu").load_model(digits_run)
    expected = as_classifier(model, "predict", digits_run).predict_proba(inputs)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-3)
