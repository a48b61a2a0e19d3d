"""The rules of the architecture that imports alone prove: layers, cycles, privacy, weight."""

from __future__ import annotations

import ast
import itertools
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
    *("_protocols", "_small_data", "_batch_sizes"),
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


def test_imports_only_go_down() -> None:
    """nn, training and data never import one another, and nobody imports from above."""
    wrong = {}
    for module, path in MODULES.items():
        part = part_of(module)
        parts = {part_of(found) for found in imported(path.read_text(encoding="utf-8"))}
        if forbidden := parts - MAY_IMPORT[part] - ({part} if part != "mlpkit" else set()):
            wrong[module] = forbidden
    assert not wrong, "a module must not import these parts"


def test_no_file_imports_itself_through_others() -> None:
    """No two files import one another, directly or through others, not even for types."""
    imports = {
        module: imported(path.read_text(encoding="utf-8")) - {module}
        for module, path in MODULES.items()
    }
    assert not first_cycle(imports)


def test_private_files_are_private_to_their_package() -> None:
    """`a/b/_c.py` is imported within `a/b` only; others import what `a/b` exports."""
    wrong = {
        module: found
        for module, path in MODULES.items()
        if (found := private_imports(module, path.read_text(encoding="utf-8")))
    }
    assert not wrong


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
    "narwhals",
    "tensorboard",
    "onnx",
    "mlpkit.cli",
)


def modules_after(*statements: str) -> list[set[str]]:
    """Return the names of the modules that each statement loads, one after another.

    All of them are executed in one new interpreter, which takes seconds to import torch.
    """
    show = "print(*sys.modules)"
    script = "\n".join(["import sys", show, *(f"{code}\n{show}" for code in statements)])
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    names = [set(line.split()) for line in run.stdout.splitlines()]
    return [after - before for before, after in itertools.pairwise(names)]


def test_the_package_alone_loads_neither_torch_nor_numpy() -> None:
    """The command can answer Ctrl-C before torch is there."""
    (loaded,) = modules_after("import mlpkit, mlpkit.cli, mlpkit.errors")
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

unchanged = state()
import mlpkit.nn, mlpkit.data, mlpkit.training, mlpkit.models._softmax_classifier
assert state() == unchanged
"""

OPTIMIZERS = """
from mlpkit.training.optim._optimizers import OptimizerConfig, build_optimizer
network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
for name in ("adamw", "sgd", "muon"):
    optimizer = build_optimizer(network, OptimizerConfig(name=name))
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
"""


def test_what_is_imported() -> None:
    """Importing mlpkit and training with it is as light as importing torch.

    The import changes no random state, flag of torch, warning filter or logging handler. The
    symbolic shapes and the compiler of torch would take longer to import than a training of the
    digits. Importing `mlpkit.plots` does not import matplotlib, and a plot does not import pyplot.
    """
    _, first, rest, training, optimizers, plots, plot = modules_after(
        "import torch, numpy",
        SIDE_EFFECTS,
        "from mlpkit import *\nimport mlpkit.data",
        TRAINING,
        OPTIMIZERS,
        "import mlpkit.plots",
        "mlpkit.plots.activation_functions(('relu',))",
    )
    imported_names = first | rest
    assert not [name for name in imported_names if name.startswith(HEAVY)]
    foreign = {name for name in imported_names if not name.startswith("mlpkit")}
    assert len(foreign) < 60, sorted(foreign)
    assert not [
        name for name in training | optimizers if name.startswith(("sympy", "torch._dynamo"))
    ]
    assert "matplotlib" not in plots
    assert "matplotlib" in plot
    assert "matplotlib.pyplot" not in plot


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
