"""A grid search in several processes finds what one process finds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.datasets import load_wine  # type: ignore[import-untyped]
from sklearn.model_selection import GridSearchCV  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from mlpkit.sklearn import MLPClassifier

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "scikit-learn.md"


@pytest.mark.timeout(900)  # a loaded machine starts processes slowly
@pytest.mark.long  # starts four processes; the nox session `sklearn` runs it too
def test_the_script_with_dask(tmp_path: Path) -> None:
    """The script of the guide, whose two workers are processes, and joblib's default backend."""
    pytest.importorskip(
        "distributed", reason="the nox session sklearn(version='1.9') installs Dask"
    )
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (script,) = [block for block in blocks if "dask.distributed" in block]
    file = tmp_path / "search.py"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    classifier = MLPClassifier((16,), learning_rate_init=0.01, tol=0.01, random_state=0)
    grid = {"mlpclassifier__alpha": [1e-4, 1.0, 10.0]}
    serial = GridSearchCV(make_pipeline(StandardScaler(), classifier), grid, cv=3)
    parallel = clone(serial).set_params(n_jobs=2)
    data = load_wine(return_X_y=True)
    scores = serial.fit(*data).cv_results_["mean_test_score"].tolist()
    assert len(set(scores)) > 1, "the grid decides something"
    assert parallel.fit(*data).cv_results_["mean_test_score"].tolist() == scores
    assert done.stdout == f"{serial.best_params_} {serial.best_score_}\n"
