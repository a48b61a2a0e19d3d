#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.10.16", "uv"]
# ///
"""The checks of a change: ``nox`` runs all of them, ``nox -l`` lists the sessions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
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


# The pages whose examples are run as tests; the tutorials are executed when the site is built.
DOCTESTED = ["docs/how-to", "docs/explanation"]


# What one Python and one version of each dependency is enough for: pages in a browser, and words.
WITHOUT_PAGES = [
    "-m",
    "not long and not distributed and not browser",
    "--ignore=tests/test_words.py",
]


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
    """Run the tests, the docstring examples and the README's script against an installed wheel.

    The examples of the pages and the tests that drive a browser are run on the newest Python.
    """
    session.install(".[plot,onnx]", *group("test"))
    newest = session.python == PYTHONS[-1]
    run_tests(session, *([] if newest or session.posargs else WITHOUT_PAGES))
    if session.posargs:
        return
    session.run("pytest", "--doctest-modules", "--pyargs", "mlpkit", env=ONE_THREAD)
    if newest:
        session.run("pytest", "--doctest-glob=*.md", *DOCTESTED, env=ONE_THREAD)


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
    """Execute the tutorials and build the documentation; a warning is an error.

    ``MLPKIT_DATA`` names the folder of the MNIST files; without it they are downloaded.
    """
    session.install(".[plot,sklearn,tables]", *group("docs"))
    options = [
        *("-D", "nb_execution_mode=force"),  # a stored output may be of an older version
        *("-j", "auto"),  # a process on each core; each of them executes its notebooks
        *("-nW", "--keep-going", "-b", "html"),
    ]
    session.run("sphinx-build", *options, "docs", "docs/_build/html", env=ONE_THREAD)


@nox.session
def build(session: nox.Session) -> None:
    """Build and check the wheel, install it into an empty environment and train from it."""
    session.install(*group("release"))
    folder = Path(session.create_tmp()).resolve()
    wheel = build_distributions(session, folder / "dist")
    clean = folder / "clean"
    session.run("uv", "venv", "--clear", "--python", sys.executable, str(clean))
    python = str(clean / "bin" / "python")
    session.run("uv", "pip", "install", "--python", python, str(wheel))
    with session.chdir(folder):
        session.run(str(clean / "bin" / "mlpkit"), "train", "digits", external=True)


SCHEMAS = {
    "citation-file-format": "CITATION.cff",
    "github-workflows": ".github/workflows/*.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
}


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Check a release and run the first steps of the README on each Python.

    The distributions are in ``dist``. ``nox -s release -- --tag v0.1.0`` fails while something is
    left to fill in; without the tag it is only named.
    """
    session.install(*group("release"))
    for schema, files in SCHEMAS.items():
        paths = [str(path) for path in sorted(Path().glob(files))]
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)
    wheel = build_distributions(session, Path("dist").resolve())
    for python in PYTHONS:
        run_first_steps(session, wheel, python)
    session.run("python", "-m", "tests.release", *session.posargs)


def run_first_steps(session: nox.Session, wheel: Path, python: str) -> None:
    """Install the wheel into an empty environment; run the README's first command and script."""
    readme = Path("README.md").read_text(encoding="utf-8")
    command = re.findall(r"^\$ pip install \. && (.+)$", readme, re.MULTILINE)[0]
    script = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[0]
    folder = Path(session.create_tmp()).resolve() / python
    shutil.rmtree(folder, ignore_errors=True)
    clean = folder / "environment"
    session.run("uv", "venv", "--no-python-downloads", "--python", python, str(clean))
    session.run("uv", "pip", "install", "--python", str(clean), str(wheel))
    (folder / "script.py").write_text(script, encoding="utf-8")
    name, *words = command.split()
    with session.chdir(folder):
        session.run(str(clean / "bin" / name), *words, external=True)
        session.run(str(clean / "bin" / "python"), "script.py", external=True)


def build_distributions(session: nox.Session, dist: Path) -> Path:
    """Build the sdist and the wheel into a folder, check them, and return the wheel."""
    for old in dist.glob("*"):
        old.unlink()
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))
    session.run("twine", "check", "--strict", *(str(path) for path in sorted(dist.iterdir())))
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    compare_with_sources(session, wheel, sdist)
    return wheel


def compare_with_sources(session: nox.Session, wheel: Path, sdist: Path) -> None:
    """Fail unless wheel and sdist contain exactly the tracked files and the licenses."""
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout
    tracked = set(listed.split())
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    sources = {path.removeprefix("src/") for path in tracked if path.startswith("src/mlpkit/")}
    if packed != sources:
        session.error(f"the wheel differs from the sources in {sorted(packed ^ sources)}")
    for license_file in PROJECT["project"]["license-files"]:
        if not any(name.endswith(f".dist-info/licenses/{license_file}") for name in names):
            session.error(f"the wheel does not contain the license {license_file}")
    with tarfile.open(sdist) as unpacked:
        packed = {name.partition("/")[2] for name in unpacked.getnames()}
    expected = {path for path in tracked if not path.startswith(".ci/")} | {"PKG-INFO"}
    if packed != expected:
        session.error(f"the sdist differs from the repository in {sorted(packed ^ expected)}")


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests against the lowest version of each direct dependency, but those of pages."""
    session.install(
        "--resolution=lowest-direct", "--only-binary=:all:", "-e", ".[plot]", *group("test")
    )
    # old releases warn about one another
    run_tests(session, "-Wdefault", *([] if session.posargs else WITHOUT_PAGES))


@nox.session
def loggers(session: nox.Session) -> None:
    """Run the tests of the loggers with wandb and mlflow themselves, without their servers."""
    session.install(".[wandb,mlflow]", *group("test"))
    session.run("pytest", "tests/training/loggers", *session.posargs, env=ONE_THREAD)


@nox.session
@nox.parametrize("version", ["1.6", "1.9"])
def sklearn(session: nox.Session, version: str) -> None:
    """Run the checks and the own tests of scikit-learn that other sessions do not run.

    The session ``tests`` runs their short forms with the newest scikit-learn, so only the long ones
    are left. The session ``minimums`` runs all tests of the estimators with scikit-learn 1.6 and
    old libraries, so only what scikit-learn 1.6 itself checks is left to run with new libraries.
    """
    dask = group("dask") if version == "1.9" else []
    session.install(".", *group("test"), *dask, f"scikit-learn~={version}.0")
    if version == "1.6":
        own = ["tests/sklearn/test_checks.py", "tests/sklearn/test_own_tests.py"]
        run_tests(session, *own, "-Wdefault")  # an old release warns about SciPy
    else:
        run_tests(session, "tests/sklearn", "-m", "long")


@nox.session
def distributed(session: nox.Session) -> None:
    """Run the tests that start several processes, on one Python."""
    session.install(".", *group("test"))
    run_tests(session, "tests", "-m", "distributed and not long")


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
