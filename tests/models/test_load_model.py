"""load_model: the model in a folder, whichever kind it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.kinds import KINDS, KindName, images, make_model

from mlpkit.errors import ArtifactError
from mlpkit.models import load_model


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_the_class_and_the_outputs_of_the_saved_model(
    tmp_path: Path, kind: KindName
) -> None:
    model = make_model(kind)
    found = load_model(str(model.save(tmp_path)))
    assert type(found) is type(model)
    assert not found.training
    x = images(3)
    assert torch.equal(found(x), model(x))
    assert load_model(tmp_path, device="meta").mean.is_meta


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must be a file that the save method of a model wrote"):
        load_model(tmp_path)
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match="must be a model saved by the save method of a model"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="device must be"):
        load_model(tmp_path, device="nowhere")
