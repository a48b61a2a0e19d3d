"""The exported copy of a classifier."""

from __future__ import annotations

import pytest
import torch
from tests.export.classifiers import classifier

from mlpkit.data import digits
from mlpkit.export._deployed import Deployed, raw_examples


def test_it_is_a_copy_in_eval_mode() -> None:
    """The copy has the outputs of the classifier, whose mode and weights do not change."""
    model = classifier(norm="batch")
    deployed = Deployed(model)
    assert model.training
    images = digits().test.inputs[:9]
    logits, probabilities = deployed(images)
    torch.testing.assert_close(probabilities, model.predict_proba(images))
    torch.testing.assert_close(logits, model.eval()(images).detach())
    addresses = {parameter.data_ptr() for parameter in model.parameters()}
    assert addresses.isdisjoint(parameter.data_ptr() for parameter in deployed.parameters())


def test_random_examples_resemble_the_data() -> None:
    """For images they are uint8, within two standard errors of the model's mean."""
    raw = raw_examples(classifier(), None)
    assert (raw.dtype, tuple(raw.shape)) == (torch.uint8, (32, 8, 8))
    expected = (4.9 + 6.0 * torch.randn(10**6)).clamp(0, 255).mean()
    assert abs(raw.float().mean() - expected) < 2 * 6.0 / 2048**0.5


def test_random_images_of_pixels_up_to_1_are_floating_point() -> None:
    """Rounded to whole numbers they would be 0 or 1."""
    model = classifier()
    model.std.fill_(0.3)
    assert raw_examples(model, None).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_epsilon_of_a_norm_is_kept(dtype: torch.dtype) -> None:
    """The epsilon of RMS norm depends on its dtype; small values make a difference visible."""
    model = classifier(norm="rms", dtype=dtype).eval()
    with torch.no_grad():
        for tensor in (model.network.layers[0].linear.weight, model.network.layers[0].linear.bias):
            tensor.mul_(5e-4)
    images = digits().test.inputs[:9]
    expected = model(images).detach().float()
    atol = 2e-2 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(Deployed(model)(images)[0], expected, rtol=0, atol=atol)
