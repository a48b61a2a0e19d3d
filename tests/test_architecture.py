"""The rules of the architecture that imports alone prove: layers, cycles, privacy, weight."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mlpkit

PACKAGE = Path(mlpkit.__file__).parent
GROUND = {
    *("errors", "_checks", "_class_names", "_serialization", "_files", "_devices", "_html"),
    *("_protocols", "_small_data"),
}
PILLARS = {"nn", "training", "data"}
MODELS = {"models"}
VIEWS = {"plots", "export", "interop", "demo"}
TOP = {"report", "sklearn", "recipes"}

# What each part of the package may import besides itself; `mlpkit` is its `__init__.py`.
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    **dict.fromkeys(PILLARS, GROUND),
    "models": GROUND | PILLARS,
    **dict.fromkeys(VIEWS, GROUND | PILLARS | MODELS),
    **dict.fromkeys(TOP, GROUND | PILLARS | MODELS | VIEWS),
    "cli": GROUND | PILLARS | MODELS | VIEWS | TOP,
    "__main__": {"cli"},
    "mlpkit": GROUND | PILLARS | MODELS,
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = ("mlpkit", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(source: str, modules: Mapping[str, object] = MODULES) -> set[str]:
    """Return the modules of mlpkit that a source imports, within functions and for types too."""
    return set(_imported(source, modules))


def _imported(source: str, modules: Mapping[str, object]) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] == "mlpkit")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layers"
            module = node.module or ""
            if module.split(".")[0] == "mlpkit":
                for one in node.names:
                    inner = f"{module}.{one.name}"
                    yield inner if inner in modules else module


def part_of(module: str) -> str:
    """Return the first part of a dotted name below `mlpkit`, or `mlpkit` itself."""
    return module.partition(".")[2].partition(".")[0] or "mlpkit"


def private_imports(module: str, source: str) -> set[str]:
    """Return the private modules that a module imports from outside their package."""
    return {
        found
        for found in imported(source)
        for package, _, name in [found.rpartition(".")]
        if name.startswith("_")
        and package != "mlpkit"
        and not f"{module}.".startswith(f"{package}.")
    }


def first_cycle(imports: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import one another in a circle, none if there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    """nn, training and data never import one another, and nobody imports from above."""
    part = part_of(module_of(path))
    parts = {part_of(found) for found in imported(path.read_text(encoding="utf-8"))}
    forbidden = parts - MAY_IMPORT[part] - ({part} if part != "mlpkit" else set())
    assert not forbidden, f"{part} must not import {sorted(forbidden)}"


def test_no_file_imports_itself_through_others() -> None:
    """No two files import one another, directly or through others, not even for types."""
    imports = {
        module: imported(path.read_text(encoding="utf-8")) - {module}
        for module, path in MODULES.items()
    }
    assert not first_cycle(imports)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_files_are_private_to_their_package(path: Path) -> None:
    """`a/b/_c.py` is imported within `a/b` only; others import what `a/b` exports."""
    assert not private_imports(module_of(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import mlpkit.data",
        "from mlpkit import data",
        "from mlpkit.data import mnist",
        "def f():\n    from mlpkit.data.sets._idx import read_idx",
        "if TYPE_CHECKING:\n    from mlpkit.data import Batches",
    ],
)
def test_each_way_of_importing_is_seen(source: str) -> None:
    """The rule of the layers can fail."""
    assert {part_of(found) for found in imported(source)} - MAY_IMPORT["nn"] == {"data"}


def test_a_cycle_and_a_private_import_are_seen() -> None:
    """The rules of the cycles and of privacy can fail."""
    modules = {"mlpkit.a": None, "mlpkit.b": None}
    imports = {
        "mlpkit.a": imported("import mlpkit.b", modules),
        "mlpkit.b": imported("if TYPE_CHECKING:\n    from mlpkit import a", modules),
    }
    assert sorted(set(first_cycle(imports))) == ["mlpkit.a", "mlpkit.b"]
    source = "from mlpkit.training.optim._schedule import Schedule"
    assert private_imports("mlpkit.training._trainer", source)
    assert not private_imports("mlpkit.training.optim._optimizers", source)


HEAVY = (
    "torchvision",
    "sklearn",
    "matplotlib",
    "tyro",
    "PIL",
    "pooch",
    "requests",
    "scipy",
    "pandas",
    "tensorboard",
    "onnx",
    "mlpkit.cli",
)


@functools.cache
def modules_after(statement: str) -> frozenset[str]:
    """Return the names of the modules loaded by a statement in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return frozenset(run.stdout.split())


def test_importing_mlpkit_is_as_light_as_importing_torch() -> None:
    """Nothing heavy comes along, and little beyond torch, NumPy and mlpkit itself."""
    torch_alone = modules_after("import torch, numpy")
    loaded = modules_after("from mlpkit import *") - torch_alone
    assert not [name for name in loaded if name.startswith(HEAVY)]
    foreign = {name for name in loaded if not name.startswith("mlpkit")}
    assert len(foreign) < 60, sorted(foreign)


def test_the_package_alone_loads_neither_torch_nor_numpy() -> None:
    """The command can answer Ctrl-C before torch is there."""
    loaded = modules_after("import mlpkit, mlpkit.cli, mlpkit.errors")
    assert not loaded & {"torch", "numpy", "mlpkit.nn", "mlpkit.training", "mlpkit.data"}


TRAINING = """
import torch
from mlpkit import SoftmaxClassifier
from mlpkit.data import digits
from mlpkit.training import Trainer, TrainerConfig
train, val, test = digits()
model = SoftmaxClassifier.for_data(train, (8,))
Trainer(model, TrainerConfig(epochs=1, label_smoothing=0.1, progress=False)).fit(train, val)
model.predict_proba(test.inputs)
"""


def test_a_training_is_as_light_as_importing_torch() -> None:
    """The symbolic shapes and the compiler of torch take longer to import than such a training."""
    loaded = modules_after(TRAINING) - modules_after("import torch, numpy")
    assert not [name for name in loaded if name.startswith(("sympy", "torch._dynamo"))]


SIDE_EFFECTS = """
import logging, random, warnings
import numpy, torch

def state():
    return (
        torch.get_rng_state().tolist(), str(numpy.random.get_state()), random.getstate(),
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark, list(warnings.filters), list(logging.root.handlers),
    )

before = state()
import mlpkit.nn, mlpkit.data, mlpkit.training, mlpkit.models._softmax_classifier
assert state() == before
"""


def test_importing_mlpkit_has_no_side_effect() -> None:
    """No random state, torch flag, warning filter or logging handler changes."""
    subprocess.run([sys.executable, "-c", SIDE_EFFECTS], check=True)


def test_every_source_has_its_test_file() -> None:
    """src/mlpkit/nn/_mlp.py is tested by tests/nn/test_mlp.py."""
    tests = Path(__file__).parent
    missing = []
    for path in FILES:
        if path.name in ("__init__.py", "__main__.py"):
            continue
        twin = path.relative_to(PACKAGE).with_name(f"test_{path.stem.lstrip('_')}.py")
        if not (tests / twin).exists():
            missing.append(str(twin))
    assert not missing
