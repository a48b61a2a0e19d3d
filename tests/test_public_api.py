"""The public names: sorted, complete, documented, shown in the reference, equal to the snapshot."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.public_api import (
    ACCEPT,
    PACKAGES,
    SNAPSHOT,
    describe_all,
    describe_class,
    differences,
)

import mlpkit

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"

DESIGNED = {
    "mlpkit": (
        "MLP MLPConfig PReLU Maxout SoftmaxClassifier MultilabelClassifier Regressor Trainer "
        "TrainerConfig History nn data training"
    ),
    "mlpkit.nn": (
        "MLP MLPConfig PReLU Maxout GLU ReGLU GEGLU SwiGLU merge_affine homogeneous "
        "activation_statistics"
    ),
    "mlpkit.data": (
        "LabeledTensors Batches digits mnist fashion_mnist kmnist qmnist emnist Splits "
        "RandomAffine RandomElastic RandomErasing Compose avg_pool center_digit"
    ),
    "mlpkit.training": (
        "Trainer TrainerConfig Objective Callback History FitResult Evaluation CrossEntropy "
        "MeanSquaredError MeanAbsoluteError Huber GaussianNLL BinaryCrossEntropy Distillation "
        "VirtualAdversarial"
    ),
    "mlpkit.models": "SoftmaxClassifier MultilabelClassifier Regressor load_model",
}


def test_the_snapshot_is_current() -> None:
    """Every public name and signature is the one in `public_api.txt`."""
    diff = differences(SNAPSHOT.read_text(encoding="utf-8"), describe_all())
    if diff:
        pytest.fail(
            f"the public names or signatures differ from tests/{SNAPSHOT.name}:\n\n{diff}\n\n"
            f"If the change is meant, accept it with `{ACCEPT}` and add a line to CHANGELOG.md.",
            pytrace=False,
        )


def test_a_changed_signature_makes_a_difference() -> None:
    """The comparison with the snapshot can fail, and its text shows the changed line."""
    current = describe_all()
    assert " at 0x" not in current
    changed = current.replace("kernel_size: int", "kernel_size: float")
    assert changed != current
    diff = differences(current, changed)
    assert "-def avg_pool(data: LabeledTensors, kernel_size: int) -> LabeledTensors" in diff
    assert "+def avg_pool(data: LabeledTensors, kernel_size: float) -> LabeledTensors" in diff
    assert not differences(current, current)


def test_the_snapshot_holds_each_kind_of_member() -> None:
    """Constructors, methods, properties, class methods and annotated attributes have a line."""

    class Example:
        """An example."""

        kept: int = 3

        def __init__(self, a: int, /, b: str = "x", *rest: float, c: list[int] | None = None):
            pass

        def method(self, *, flag: bool) -> None:
            pass

        @property
        def size(self) -> int:
            return 1

        @classmethod
        def make(cls) -> Example:
            return cls(1)

        def _hidden(self) -> None:
            pass

    Example.__module__ = "mlpkit.example"
    assert list(describe_class(Example)) == [
        "class Example",
        "    __init__(a: int, /, b: str = 'x', *rest: float, c: list[int] | None = None)",
        "    kept: int",
        "    classmethod make(cls) -> Example",
        "    def method(self, *, flag: bool) -> None",
        "    property size: int",
    ]


def order_of_ruff(name: str) -> tuple[int, tuple[str | int, ...]]:
    """Return the sort key of ruff's RUF022: constants, classes, the rest; numbers by value."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    parts = re.split(r"(\d+)", name)
    return kind, tuple(int(part) if part.isdigit() else part for part in parts)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_true(package: str) -> None:
    """`__all__` is sorted as ruff sorts it, has no duplicates, and each name exists."""
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(set(names), key=order_of_ruff)
    for name in names:
        assert hasattr(module, name), f"{package}.{name} is listed and missing"


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_public_is_left_out(package: str) -> None:
    """Each class and function of mlpkit that a package holds without underscore is in `__all__`."""
    module = importlib.import_module(package)
    held = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and str(getattr(value, "__module__", "")).startswith("mlpkit")
    }
    assert held <= set(module.__all__)


def members_of(cls: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods, class methods, static methods and properties that a class adds."""
    kinds = (classmethod, staticmethod, property, functools.cached_property)
    for name, member in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds)):
            yield name, getattr(cls, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_has_a_docstring(package: str) -> None:
    """Each package, class, function and public member; the class may describe its attributes."""
    module = importlib.import_module(package)
    assert module.__doc__
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            assert value.__doc__, f"{package}.{name}"
        if inspect.isclass(value) and value.__module__.startswith("mlpkit"):
            # Python writes `Name(field, ...)` for a dataclass or a named tuple without docstring.
            written = (value.__doc__ or "").replace(" ", "")
            assert written, f"{package}.{name}"
            assert not written.startswith(f"{value.__name__}("), f"{package}.{name}"
            for member_name, member in members_of(value):
                described = re.search(rf"^ +{member_name}: ", value.__doc__ or "", re.MULTILINE)
                assert inspect.getdoc(member) or described, f"{package}.{name}.{member_name}"


def names_shown(text: str, package: str) -> set[str]:
    """Return the names of a package that a page of the reference lists in a table or links."""
    shown = set(re.findall(r"\{(?:class|func)\}`(?:[^`<]*<)?~?mlpkit\.(?:\w+\.)?(\w+)>?`", text))
    current = rf"currentmodule:: {re.escape(package)}\n"
    for listed in re.findall(
        rf"{current}\n\.\. autosummary::\n(?:[ ]+:.*\n)+\n((?:[ ]+\w+\n)+)", text
    ):
        shown |= set(listed.split())
    return shown & set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_is_shown_in_the_reference(package: str) -> None:
    """The page of a package in `docs/reference` shows, or links, each class and each function."""
    page = package.rpartition(".")[2]
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    module = importlib.import_module(package)
    expected = {
        name
        for name in module.__all__
        if inspect.isfunction(getattr(module, name)) or inspect.isclass(getattr(module, name))
    }
    assert names_shown(text, package) == expected
    assert re.search(rf"^{page}$", (PAGES / "index.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_a_name_that_a_page_leaves_out_is_seen() -> None:
    """The check of the reference can fail."""
    text = (PAGES / "plots.md").read_text(encoding="utf-8")
    cut = text.replace("   confusion_matrix\n", "")
    assert cut != text
    missing = names_shown(text, "mlpkit.plots") - names_shown(cut, "mlpkit.plots")
    assert missing == {"confusion_matrix"}
    text = (PAGES / "nn.md").read_text(encoding="utf-8")
    cut = text.replace("   PReLU\n", "")
    assert names_shown(text, "mlpkit.nn") - names_shown(cut, "mlpkit.nn") == {"PReLU"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_alias_is_described_with_its_values(package: str) -> None:
    """The page of types has each alias that is public, and each value of a literal."""
    text = (PAGES / "types.md").read_text(encoding="utf-8")
    described = dict(re.findall(r"^\.\. py:type:: (\S+)\n\n((?:   .*\n|\n)+)", text, re.MULTILINE))
    described = {name.rpartition(".")[2]: body for name, body in described.items()}
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if name.isupper() or isinstance(value, type | types.FunctionType | types.ModuleType | str):
            continue
        assert name in described, f"docs/reference/types.md must describe {name}"
        if typing.get_origin(value) is typing.Literal:
            shown = re.findall(r'``"(\w+)"``', described[name])
            differing = set(shown) ^ set(typing.get_args(value))
            assert not differing, f"docs/reference/types.md must have the values of {name}"


def test_every_plot_is_in_the_gallery() -> None:
    """The gallery has the picture of each function that returns a figure, and links its page."""
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    plots = importlib.import_module("mlpkit.plots")
    drawing = {
        name
        for name in plots.__all__
        if getattr(getattr(plots, name), "__annotations__", {}).get("return") == "Figure"
    }
    assert drawing
    assert set(re.findall(r"_static/plots/(\w+)\.svg", text)) == drawing
    assert set(re.findall(r"generated/mlpkit\.plots\.(\w+)", text)) == drawing


@pytest.mark.parametrize("package", DESIGNED)
def test_the_names_of_the_design_are_there(package: str) -> None:
    """What the design promises can be imported from where it promises it."""
    module = importlib.import_module(package)
    missing = set(DESIGNED[package].split()) - set(module.__all__)
    assert not missing


def test_lazy_names_are_listed_and_unknown_names_are_refused() -> None:
    """`dir` shows every name before it is loaded, and a misspelled one is an AttributeError."""
    assert set(mlpkit.__all__) <= set(dir(mlpkit))
    with pytest.raises(AttributeError, match="module 'mlpkit' has no attribute 'MPL'"):
        getattr(mlpkit, "MPL")  # noqa: B009 - mypy knows that it is not there
    with pytest.raises(ImportError, match="cannot import name 'MPL'"):
        exec("from mlpkit import MPL")  # noqa: S102 - as a person writes it


def test_the_version_is_that_of_the_project() -> None:
    """The version is written in pyproject.toml, and in no source file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert mlpkit.__version__ == project["version"]
    quoted = f'"{mlpkit.__version__}"'
    for path in (ROOT / "src").rglob("*.py"):
        assert quoted not in path.read_text(encoding="utf-8"), path
