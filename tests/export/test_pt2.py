"""The .pt2 program against the classifier."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.export.classifiers import NAMES, NORMS, by_name, classifier
from tests.models.kinds import KINDS, KindName, images, make_model
from torch import Tensor

from mlpkit.data import digits
from mlpkit.export import export_pt2
from mlpkit.models import Regressor

GROUPS = [NAMES[start::4] for start in range(4)]

RUN = """
import sys
import torch
images, expected = torch.load(sys.argv[1])
for path, probabilities in expected.items():
    module = torch.export.load(path).module()
    for size in (1, 3, 100):
        _, found = module(images[:size])
        torch.testing.assert_close(found, probabilities[:size], rtol=0, atol=2e-6)
assert "mlpkit" not in sys.modules
"""


def test_it_runs_without_mlpkit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The outputs are equal for several batch sizes, in a process that does not import mlpkit."""
    images = digits().test.inputs[:100]
    expected = {}
    for index, norm in enumerate(NORMS):
        model = classifier([by_name(name) for name in GROUPS[index]], norm)
        path = export_pt2(model, tmp_path / f"{index}.pt2")
        expected[str(path)] = model.predict_proba(images)
    assert capfd.readouterr() == ("", "")
    torch.save((images, expected), tmp_path / "expected.pt")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, str(tmp_path / "expected.pt")], check=True
    )


def test_it_has_no_local_paths(tmp_path: Path) -> None:
    """The exporter's stack traces are removed."""
    assert b"/mlpkit/" not in export_pt2(classifier(), tmp_path / "model.pt2").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_model_has_its_outputs(tmp_path: Path, kind: KindName) -> None:
    """For any number of examples."""
    model = make_model(kind)
    program = torch.export.load(export_pt2(model, tmp_path / "model.pt2")).module()
    for n in (1, 2, 30):
        x = images(n)
        expected: tuple[Tensor, ...]
        if not isinstance(model, Regressor):
            expected = model(x).detach(), model.predict_proba(x)
        elif model.predicts_std:
            expected = model.predict(x), model.predict_std(x)
        else:
            expected = (model.predict(x),)
        torch.testing.assert_close(program(x), expected)
