"""The copy that is exported is the classifier in eval mode."""

from __future__ import annotations

import torch
from tests.export.classifiers import classifier

from mlpkit.data import digits
from mlpkit.export._deployed import Deployed, raw_examples


def test_it_is_a_copy_in_eval_mode() -> None:
    """Logits and probabilities of the classifier, whose own mode and weights stay."""
    model = classifier(norm="batch")
    deployed = Deployed(model)
    assert model.training
    images = digits().test.inputs[:9]
    logits, probabilities = deployed(images)
    torch.testing.assert_close(probabilities, model.predict_proba(images))
    torch.testing.assert_close(logits, model.eval()(images).detach())
    mine = {parameter.data_ptr() for parameter in model.parameters()}
    assert mine.isdisjoint(parameter.data_ptr() for parameter in deployed.parameters())


def test_random_examples_look_like_the_data() -> None:
    """For pictures they are uint8, within two standard errors of the model's mean."""
    raw = raw_examples(classifier(), None)
    assert (raw.dtype, tuple(raw.shape)) == (torch.uint8, (32, 8, 8))
    expected = (4.9 + 6.0 * torch.randn(10**6)).clamp(0, 255).mean()
    assert abs(raw.float().mean() - expected) < 2 * 6.0 / 2048**0.5
