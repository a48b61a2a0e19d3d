"""`mlpkit report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlpkit.cli import _main as main


def test_the_report_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page has the test accuracy of the run; --out sets its path."""
    words = ["train", "--epochs", "1", "--hidden-features", "16", "--runs", str(tmp_path / "runs")]
    assert main.run(words) == 0
    (run,) = (tmp_path / "runs").iterdir()
    accuracy = json.loads((run / "test.json").read_text())["classification"]["accuracy"]
    elsewhere = tmp_path / "elsewhere.html"
    for options, path in (([], run / "report.html"), (["--out", str(elsewhere)], elsewhere)):
        assert main.run(["report", str(run), *options]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == str(path)
        assert f"<dd>{100 * accuracy:.2f} %</dd>" in path.read_text(encoding="utf-8")


def test_a_folder_without_a_run_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, the error names the folder, and nothing is written."""
    assert main.run(["report", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("mlpkit: RUN must be the folder of a run that mlpkit train has")
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
