"""The public names: listed, sorted, importable, documented, and shown in the reference."""

from __future__ import annotations

import importlib
import inspect
import types

import pytest

import mlpkit

PAGES = ("mlpkit", "mlpkit.nn", "mlpkit.training", "mlpkit.data", "mlpkit.errors")

DESIGNED = {
    "mlpkit": (
        "MLP MLPConfig PReLU Maxout SoftmaxClassifier Trainer TrainerConfig History "
        "nn data training"
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
        "MeanSquaredError Distillation VirtualAdversarial"
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_all_is_sorted_and_true(page: str) -> None:
    """`__all__` is sorted as ruff sorts it, has no double, and each name is there."""
    module = importlib.import_module(page)
    names = list(module.__all__)
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(module, name), f"{page}.{name} is listed and missing"


@pytest.mark.parametrize("page", PAGES)
def test_nothing_public_is_left_out(page: str) -> None:
    """What a page shows without underscore is in `__all__`, or another module."""
    module = importlib.import_module(page)
    shown = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", "").startswith("mlpkit")
    }
    assert shown <= set(module.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_everything_public_has_a_docstring(page: str) -> None:
    """Each class and function, and each public method of a class, says what it is."""
    module = importlib.import_module(page)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            assert value.__doc__, f"{page}.{name}"
        if inspect.isclass(value) and value.__module__.startswith("mlpkit"):
            assert value.__doc__, f"{page}.{name}"
            for method, function in vars(value).items():
                if not method.startswith("_") and inspect.isfunction(function):
                    assert inspect.getdoc(getattr(value, method)), f"{page}.{name}.{method}"


@pytest.mark.parametrize("page", DESIGNED)
def test_the_names_of_the_design_are_there(page: str) -> None:
    """What the design promises can be imported from where it promises it."""
    module = importlib.import_module(page)
    missing = set(DESIGNED[page].split()) - set(module.__all__)
    assert not missing


def test_what_loads_late_is_listed_and_what_is_not_there_is_refused() -> None:
    """`dir` shows every name before it is loaded, and a misspelled one is an AttributeError."""
    assert set(mlpkit.__all__) <= set(dir(mlpkit))
    with pytest.raises(AttributeError, match="module 'mlpkit' has no attribute 'MPL'"):
        getattr(mlpkit, "MPL")  # noqa: B009 - mypy knows that it is not there
    with pytest.raises(ImportError, match="cannot import name 'MPL'"):
        exec("from mlpkit import MPL")  # noqa: S102 - as a person writes it


def test_the_version_is_that_of_the_package() -> None:
    """The version is written once, in pyproject.toml."""
    assert mlpkit.__version__.count(".") == 2
