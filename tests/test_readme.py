"""The README is true: its Python and its commands run."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from mlpkit.cli import _main as cli

README = Path(__file__).parents[1] / "README.md"


def blocks_of(language: str) -> list[str]:
    """Return the code blocks of the README in a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


BLOCKS = blocks_of("python")
CONSOLES = blocks_of("console")


@pytest.mark.parametrize("block", BLOCKS, ids=[block.splitlines()[0] for block in BLOCKS])
def test_python_blocks_run(
    block: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each block runs in an empty folder; what looks like an accuracy is a good one."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(README), "exec"), {"__name__": "__main__"})  # noqa: S102 - our README
    printed = capsys.readouterr().out
    accuracies = [float(number) for number in re.findall(r"^0\.\d+$", printed, re.MULTILINE)]
    assert all(accuracy > 0.95 for accuracy in accuracies)
    assert printed


def test_there_are_two_set_up_commands() -> None:
    """One that trains without a download, one that passes the tests, before anything else."""
    first, second = CONSOLES[:2]
    assert first.startswith("$ git clone https://")
    assert first.endswith("/mlpkit && cd mlpkit\n$ pip install . && mlpkit train\n")
    assert second == "$ pip install nox uv && nox\n"


def test_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of mlpkit runs, with the digits for MNIST and one epoch of a small network."""
    monkeypatch.chdir(tmp_path)
    area = range(20, 120)
    table = "area,floor,price\n" + "".join(f"{x},{x % 7},{3000 * x + x % 7}\n" for x in area)
    (tmp_path / "flats.csv").write_text(table)
    (tmp_path / "new.csv").write_text("area,floor\n31.5,2\n")
    image = Image.new("L", (80, 80), 255)
    image.paste(0, (35, 10, 45, 70))
    image.save("seven.png")
    text = "".join(CONSOLES).replace("mnist", "digits")
    commands = re.findall(r"^\$ (?:.* && )?mlpkit ([^#\n]*)", text, re.MULTILINE)
    assert len(commands) == 9
    for command in commands:
        found = re.sub(r"(runs/\w+-)\.\.\.", lambda name: str(*Path().glob(f"{name[1]}*")), command)
        words = found.split()
        if words[0] == "export":  # slower than all others together; tests/cli/test_export.py has it
            continue
        if "digits" in words:  # the commands that follow take its run
            shutil.rmtree("runs")
        if words[0] == "train" and "--resume" not in words:
            words += ["--epochs", "1", "--hidden-features", "8"]
        assert cli.run(words) == 0, (command, capsys.readouterr())
    assert (tmp_path / "prices.csv").read_text().count("\n") == 2


def test_the_extras_are_those_of_pyproject() -> None:
    """Each extra has a row of the table, or is named in one."""
    project = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]
    rows = re.findall(r"^\| (`.*`) \|", README.read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(project["optional-dependencies"])


def test_links_are_absolute() -> None:
    """A package index shows the README without the repository."""
    links = re.findall(r"\]\(([^)]*)\)", README.read_text("utf-8"))
    assert all(link.startswith("https://") for link in links)
