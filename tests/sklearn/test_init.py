"""The package without scikit-learn."""

from __future__ import annotations

import importlib.util
import sys

import pytest

import mlpkit.sklearn
from mlpkit.errors import MissingDependencyError


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.utils.validation", None)
    spec = importlib.util.spec_from_file_location("without_sklearn", mlpkit.sklearn.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mlpkit\[sklearn\]'"):
        spec.loader.exec_module(module)
