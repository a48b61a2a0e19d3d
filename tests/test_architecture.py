"""The house rules that the imports alone can prove: layers, privacy, lightness."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mlpkit

PACKAGE = Path(mlpkit.__file__).parent
GROUND = {"errors", "_checks", "_files", "_plain", "_side_stream"}
PILLARS = {"nn", "training", "data"}
ABOVE = {"classifier", "_artefact", "_unpooled"}
HIGH = {"plots", "export", "interop", "report", "sklearn", "recipes", "demo"}

# What each room may import from; `mlpkit` itself (public names) is open to the CLI alone.
MAY_IMPORT: dict[str, set[str]] = {
    **{name: {"errors", "_checks"} - {name} for name in GROUND},
    "_plain": {"errors", "_checks", "_files"},
    **{name: GROUND | {name} for name in PILLARS},
    "_artefact": GROUND | {"nn"},
    "_unpooled": GROUND | {"nn"},
    "classifier": GROUND | PILLARS | ABOVE,
    **dict.fromkeys(HIGH, GROUND | PILLARS | ABOVE | HIGH),
    "cli": GROUND | PILLARS | ABOVE | HIGH | {"cli", ""},
    "__main__": {"cli"},
    "": GROUND | PILLARS | ABOVE | {""},
}


def rooms_imported(source: str) -> set[str]:
    """Return the first part below `mlpkit` of everything that a source file imports."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layers"
            module = node.module or ""
            names = (
                [f"mlpkit.{alias.name}" for alias in node.names] if module == "mlpkit" else [module]
            )
        else:
            continue
        for name in names:
            top, _, below = name.partition(".")
            if top == "mlpkit":
                rooms.add(below.partition(".")[0])
    return {
        room if (PACKAGE / room).exists() or (PACKAGE / f"{room}.py").exists() else ""
        for room in rooms
    }


def room_of(path: Path) -> str:
    """Return the room that a file of the package stands in; the package itself is ''."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    """nn, training and data never import one another, and nobody imports from above."""
    room = room_of(path)
    forbidden = rooms_imported(path.read_text(encoding="utf-8")) - MAY_IMPORT[room]
    assert not forbidden, f"{room or 'mlpkit'} must not import {sorted(forbidden)}"


def test_the_rule_can_fail() -> None:
    """The rule sees each way of importing a forbidden room."""
    for source in (
        "import mlpkit.data",
        "from mlpkit import data",
        "from mlpkit.data import mnist",
        "def f():\n    from mlpkit.data._idx import read_idx",
    ):
        assert rooms_imported(source) - MAY_IMPORT["nn"] == {"data"}


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


def modules_after(statement: str) -> set[str]:
    """Return the names of the modules loaded by a statement in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


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
import mlpkit.nn, mlpkit.data, mlpkit.training, mlpkit.classifier
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
