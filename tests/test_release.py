"""The files of a release agree with pyproject.toml, the changelog and one another."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from tests import release
from tests.release import ROOT
from tests.test_words import words_found

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEXTS = [
    *(ROOT / name for name in ("CITATION.cff", "CODE_OF_CONDUCT.md", "SECURITY.md")),
    *(path for path in (ROOT / ".github").rglob("*") if path.is_file()),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files that repeat facts, and with an owner and a dated version."""
    names = {name for copies in release.COPIES.values() for name, _ in copies}
    for name in names | {"pyproject.toml", "CHANGELOG.md"}:
        shutil.copy(ROOT / name, tmp_path)
    pyproject = tmp_path / "pyproject.toml"
    text = re.sub(r'(?m)^version = ".*"', 'version = "7.8.9"', pyproject.read_text("utf-8"))
    text = text.replace("https://github.com/OWNER/", "https://github.com/someone/")
    pyproject.write_text(text.replace("OWNER@example.org", "someone@example.org"), "utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [7.8.9] - 2030-01-02\n", "utf-8")
    return tmp_path


def test_copies_are_those_of_pyproject_and_changelog() -> None:
    """README, citation, security policy and code of conduct agree."""
    assert not release.different_copies(ROOT)


def test_fill_copies_the_facts(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the owner has changed pyproject.toml and the changelog, one command does the rest."""
    assert release.main([], files) == 1
    printed = capsys.readouterr().out
    for name, copies in release.COPIES.items():
        for file, _ in copies:
            assert re.search(rf"{file}: the {name} must be .*, got .*--fill", printed)
    assert release.main(["--fill", "--tag", "v7.8.9"], files) == 0
    assert not capsys.readouterr().out
    assert "git clone https://github.com/someone/mlpkit &&" in (files / "README.md").read_text()
    assert "<someone@example.org>" in (files / "SECURITY.md").read_text()
    citation = (files / "CITATION.cff").read_text()
    assert "\nversion: 7.8.9\ndate-released: 2030-01-02\n" in citation
    assert citation.startswith("cff-version: 1.2.0\n")


def test_what_is_left_is_named_with_its_line(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A placeholder or an undated version fails only with the tag of a release."""
    (files / "pyproject.toml").write_text(
        '[project]\nversion = "7.8.9"\nauthors = [{ email = "OWNER@example.org" }]\n'
        '[project.urls]\nRepository = "https://github.com/OWNER/mlpkit"\n'
    )
    (files / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    assert release.main(["--fill"], files) == 0
    assert capsys.readouterr().out.splitlines() == [
        'fill in OWNER: pyproject.toml:3: "OWNER@example.org"',
        'fill in OWNER: pyproject.toml:5: "https://github.com/OWNER/mlpkit"',
        "fill in ## [7.8.9] - YYYY-MM-DD: CHANGELOG.md:3: ## [Unreleased]",
    ]
    assert release.main(["--tag", "v7.8.9"], files) == 1


def test_another_tag_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tag is that of the version."""
    assert release.main(["--fill", "--tag", "v7.8.8"], files) == 1
    assert capsys.readouterr().out == "--tag must be v7.8.9, got v7.8.8\n"


def test_no_file_but_pyproject_defines_the_placeholder() -> None:
    """Each placeholder elsewhere is a copy that --fill replaces."""
    for path in [*TEXTS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        rest = path.read_text("utf-8")
        for copies in release.COPIES.values():
            for name, pattern in copies:
                rest = re.sub(pattern, "", rest) if name == path.name else rest
        assert release.PLACEHOLDER not in rest, path.name


def test_licenses_are_those_of_the_files() -> None:
    """The expression has a file for each license; the sdist and the wheel contain both."""
    assert PROJECT["license"] == "MIT AND CC-BY-4.0"
    code, digits = (ROOT / name for name in PROJECT["license-files"])
    assert code.read_text("utf-8").startswith("MIT License\n")
    assert "(CC BY 4.0)" in digits.read_text("utf-8")


def test_classifiers_are_what_is_tested() -> None:
    """The Pythons are those of the workflow; the system is the one whose tests must pass."""
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    (matrix,) = re.findall(r"python: \[(.*)\]", workflow)
    classifiers = PROJECT["classifiers"]
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert pythons == re.findall(r"3\.\d+", matrix)
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    systems = [text for text in classifiers if text.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]
    assert len(re.findall("continue-on-error: true", workflow)) == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_permissions_and_pinned_actions(path: Path) -> None:
    """A workflow may only read; a job asks for more by name. Actions have full versions."""
    text = path.read_text("utf-8")
    assert "\npermissions:\n  contents: read\n" in text
    assert "contents: write" not in text
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action) for action in uses)
    checkouts = sum(action.startswith("actions/checkout@") for action in uses)
    assert text.count("persist-credentials: false") == checkouts
    assert text.count("timeout-minutes:") == text.count("runs-on:")


def test_workflows_run_every_default_session() -> None:
    """A check that runs by default on a contributor's machine runs for each pull request too."""
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    sessions = re.findall(
        r"@nox\.session(?:\(python=PYTHONS\))?\n(?:@nox\.parametrize.*\n)?def (\w+)", noxfile
    )
    workflows = "\n".join(path.read_text("utf-8") for path in WORKFLOWS)
    commands = "\n".join(re.findall(r"run: nox.*", workflows))
    assert len(sessions) >= 11
    assert [name for name in sessions if not re.search(rf"[ \"]{name}\b", commands)] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_words_of_the_list_are_not_used(path: Path) -> None:
    """The vocabulary of the documentation holds here too."""
    assert not words_found(path.read_text("utf-8"))


def test_the_sdist_has_the_files_of_a_release() -> None:
    """A test in an unpacked sdist finds what it reads."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    pages = {f"/{path.name}" for path in ROOT.iterdir() if path.suffix in (".md", ".cff")}
    assert pages - {"/README.md"} <= set(included)  # hatchling always adds the README
    assert "/.github" in included
