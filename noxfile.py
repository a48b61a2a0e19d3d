#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.10.16", "uv"]
# ///
"""The checks of a change: ``nox`` runs all of them, ``nox -l`` lists the sessions."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
# A missing interpreter is skipped and named in the summary, not downloaded.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)


# On two cores, two processes with one thread each are faster than one process with two threads.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def run_tests(session: nox.Session, *options: str) -> None:
    """Run pytest on all cores, or with the arguments of the command line."""
    arguments = session.posargs or ["--numprocesses=auto", "--dist=worksteal"]
    session.run("pytest", *options, *arguments, env=ONE_THREAD)


def group(name: str) -> list[str]:
    """Return the requirements of one dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package, the tests, the benchmarks and this file with mypy."""
    session.install("-e", ".[all]", *group("typing"))
    session.run("mypy", "src", "tests", "benchmarks", "noxfile.py")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, the docstring examples and the README's script against an installed wheel."""
    session.install(".[plot,onnx]", *group("test"))
    run_tests(session)
    if not session.posargs:
        session.run("pytest", "--doctest-modules", "--pyargs", "mlpkit", env=ONE_THREAD)
        session.run("pytest", "--doctest-glob=*.md", "docs/guides", env=ONE_THREAD)


@nox.session
def api(session: nox.Session) -> None:
    """Compare the public names and signatures with those of the last git tag."""
    found = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], check=False, capture_output=True, text=True
    )
    if found.returncode != 0:
        # Nothing is released before the first tag. A shallow clone has no tags either.
        if Path(".git/shallow").exists():
            session.error("the tags are missing in this shallow clone; fetch them with --tags")
        session.log("there is no git tag yet, so there is nothing to compare with")
        return
    session.install(*group("api"))
    session.run("griffe", "check", "mlpkit", "--search", "src", "--against", found.stdout.strip())


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning or an unresolved reference is an error."""
    session.install(".[plot]", *group("docs"))
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")


@nox.session
def build(session: nox.Session) -> None:
    """Build and check the wheel, install it into an empty environment and train from it."""
    session.install(*group("release"))
    folder = Path(session.create_tmp()).resolve()
    dist = folder / "dist"
    for old in dist.glob("*"):
        old.unlink()
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))
    session.run("twine", "check", "--strict", *(str(path) for path in sorted(dist.iterdir())))
    (wheel,) = dist.glob("*.whl")
    compare_with_sources(session, wheel)

    clean = folder / "clean"
    session.run("uv", "venv", "--clear", "--python", sys.executable, str(clean))
    python = str(clean / "bin" / "python")
    session.run("uv", "pip", "install", "--python", python, str(wheel))
    with session.chdir(folder):
        session.run(str(clean / "bin" / "mlpkit"), "train", "digits", external=True)


def compare_with_sources(session: nox.Session, wheel: Path) -> None:
    """Fail unless the wheel contains exactly the tracked files of the package and the license."""
    listed = subprocess.run(
        ["git", "ls-files", "src/mlpkit"], check=True, capture_output=True, text=True
    ).stdout.split()
    sources = {path.removeprefix("src/") for path in listed}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    if packed != sources:
        session.error(f"the wheel differs from the sources in {sorted(packed ^ sources)}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        session.error("the wheel contains no LICENSE")


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests against the lowest version of each direct dependency."""
    session.install(
        "--resolution=lowest-direct", "--only-binary=:all:", "-e", ".[plot]", *group("test")
    )
    run_tests(session, "-Wdefault")  # old releases warn about one another


@nox.session
def loggers(session: nox.Session) -> None:
    """Run the tests of the loggers with wandb and mlflow themselves, without their servers."""
    session.install(".[wandb,mlflow]", *group("test"))
    session.run("pytest", "tests/training/loggers", *session.posargs, env=ONE_THREAD)


@nox.session
@nox.parametrize("version", ["1.6", "1.9"])
def sklearn(session: nox.Session, version: str) -> None:
    """Run every check and the own tests of scikit-learn, the lowest and the newest version."""
    session.install(".", *group("test"), f"scikit-learn~={version}.0")
    session.run("pytest", "tests/sklearn", "-m", "", *session.posargs, env=ONE_THREAD)


@nox.session(default=False)
def long(session: nox.Session) -> None:
    """Run the long tests: stress tests, endurance tests and exhaustive sweeps."""
    session.install(".[plot,onnx]", *group("test"))
    session.run("pytest", "-m", "long", "--timeout=3600", *session.posargs, env=ONE_THREAD)


@nox.session
def mutation_sample(session: nox.Session) -> None:
    """Run the tests against a few small changes of the files with a required score."""
    run_mutants(session, "--required", "--mutants=8")


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Run the tests against up to 200 small changes of each file, or of those that are named."""
    run_mutants(session, *session.posargs)


def run_mutants(session: nox.Session, *arguments: str) -> None:
    """Run the mutation tests of the command line."""
    session.install("-e", ".[plot]", *group("test"), *group("mutation"))
    session.run("python", "-m", "tests.mutation", *arguments, env=ONE_THREAD)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure mlpkit beside other libraries and write the tables of docs/performance.md."""
    session.install("-e", ".", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)
    session.run("python", "-m", "benchmarks.data", "--write")


if __name__ == "__main__":
    nox.main()
