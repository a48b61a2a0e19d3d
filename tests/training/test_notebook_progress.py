"""Progress, results and plots in a notebook: one is run by a real kernel, and read afterwards."""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from mlpkit.training import EpochRow, History
from mlpkit.training._notebook_progress import NotebookProgress, in_notebook

CELLS = {
    "setup": """
import os, signal, sys
import torch
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import digits
from mlpkit.plots import learning_curves
from mlpkit.training import Callback, CheckpointConfig, EarlyStopping, fit_many

train, val, test = digits()

def trainer(progress=None, callbacks=(), **options):
    options = {"epochs": 3, "batch_size": 512, "device": "cpu", **options}
    model = SoftmaxClassifier.for_data(train, (4,), generator=torch.Generator().manual_seed(0))
    return Trainer(model, TrainerConfig(progress=progress, **options), callbacks=callbacks)

class At(Callback):
    def __init__(self, step, action):
        self.step, self.action = step, action
    def on_step_end(self, trainer, info):
        if info.step == self.step:
            self.action()
""",
    "fit": "shown = trainer(); result = shown.fit(train, val)",
    "result": "result",
    "history": "result.history",
    "evaluation": "shown.evaluate(test)",
    "summary": "shown.model.network.summary()",
    "plot": "learning_curves(result.history)",
    "pyplot": """
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot
learning_curves(result.history, appearance="dark")
""",
    "afterwards": "learning_curves(result.history)",
    "silent": """
silent = trainer(False)
silent.fit(train, val)
same = [torch.equal(a, b) for a, b in zip(silent.model.parameters(), shown.model.parameters())]
losses = [[row.val_loss for row in one.history] for one in (silent, shown)]
print(all(same) and losses[0] == losses[1])
""",
    "lines": "trainer('lines').fit(train, val);",
    "early": """
stopping = EarlyStopping(patience=1, min_delta=100.0)
trainer(epochs=50, early_stopping=stopping).fit(train, val);
""",
    "interrupt": """
checkpoints = CheckpointConfig(folder="run")
interrupt = At(4, lambda: os.kill(os.getpid(), signal.SIGINT))
trainer(callbacks=[interrupt], checkpoints=checkpoints).fit(train, val)
""",
    "resume": "trainer(True, checkpoints=checkpoints).fit(train, val, resume='auto');",
    "exception": "trainer(callbacks=[At(3, lambda: 1 / 0)]).fit(train)",
    "several": """
models = [SoftmaxClassifier.for_data(train, (4,)) for _ in range(2)]
fit_many(models, train, config=TrainerConfig(epochs=2, batch_size=512));
""",
    "text": """
sys.modules["ipywidgets"] = None  # as if it were not installed
trainer().fit(train, val);
""",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"

Output: TypeAlias = Mapping[str, Any]


class Notebook:
    """The outputs of an executed notebook.

    Attributes:
        outputs: Those of each cell by its name.
    """

    def __init__(self, folder: Path) -> None:
        format4 = importlib.import_module("nbformat").v4
        client = importlib.import_module("nbclient")
        cells = [format4.new_code_cell(source) for source in CELLS.values()]
        notebook = format4.new_notebook(cells=cells)
        resources = {"metadata": {"path": str(folder)}}
        client.NotebookClient(
            notebook, kernel_name="python3", resources=resources, allow_errors=True, timeout=120
        ).execute()
        self.outputs: dict[str, list[Output]] = {
            name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)
        }
        self._widgets = notebook.metadata.widgets[STATE]["state"]

    def kinds(self, cell: str) -> list[list[str]]:
        """Return what each output of a cell is: the types of its data, or its name."""
        return [
            sorted(output["data"]) if "data" in output else [str(output.get("ename", "stream"))]
            for output in self.outputs[cell]
        ]

    def html(self, cell: str) -> str:
        """Return the one table of a cell."""
        (found,) = (data["text/html"] for data in self._data(cell) if "text/html" in data)
        return str(found)

    def epochs(self, cell: str) -> list[str]:
        """Return the numbers of the epochs in the table of a cell."""
        return re.findall(r"<tr><td>(\d+)</td>", self.html(cell))

    def bar(self, cell: str) -> tuple[float, float, str]:
        """Return position, size and style of the one bar of a cell."""
        (view,) = (data[WIDGET] for data in self._data(cell) if WIDGET in data)
        box = self._widgets[view["model_id"]]["state"]
        bar = self._widgets[box["children"][1].removeprefix("IPY_MODEL_")]["state"]
        return bar["value"], bar["max"], bar["bar_style"]

    def _data(self, cell: str) -> list[Mapping[str, Any]]:
        return [output["data"] for output in self.outputs[cell] if "data" in output]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    """The notebook, after all cells."""
    return Notebook(tmp_path_factory.mktemp("n"))


PROGRESS = [[WIDGET, "text/plain"], ["text/html", "text/plain"]]


def test_a_run_has_one_bar_and_one_table(notebook: Notebook) -> None:
    """Both are complete in the end; nothing is displayed twice, and no stream is written."""
    assert notebook.outputs["setup"] == []
    assert notebook.kinds("fit") == PROGRESS
    assert notebook.epochs("fit") == ["0", "1", "2"]
    assert notebook.bar("fit") == (9, 9, "success")


def test_the_table_is_that_of_the_history(notebook: Notebook) -> None:
    assert notebook.html("fit") == notebook.html("history")


@pytest.mark.parametrize("cell", ["result", "history", "evaluation", "summary"])
def test_results_are_tables(notebook: Notebook, cell: str) -> None:
    assert notebook.kinds(cell) == [["text/html", "text/plain"]]
    assert "<table" in notebook.html(cell)


@pytest.mark.parametrize("cell", ["plot", "pyplot", "afterwards"])
def test_a_plot_is_shown_once(notebook: Notebook, cell: str) -> None:
    """Before pyplot is imported, in that cell, and afterwards, where IPython knows figures."""
    assert notebook.kinds(cell) == [["image/png", "text/plain"]]


def test_progress_changes_no_bit_and_can_be_silent(notebook: Notebook) -> None:
    assert [output["text"] for output in notebook.outputs["silent"]] == ["True\n"]


def test_lines_are_lines(notebook: Notebook) -> None:
    text = "".join(str(output["text"]) for output in notebook.outputs["lines"])
    assert {str(output["name"]) for output in notebook.outputs["lines"]} == {"stderr"}
    assert [line[:9] for line in text.splitlines()] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


def test_early_stopping_is_no_error(notebook: Notebook) -> None:
    assert notebook.kinds("early") == PROGRESS
    assert notebook.bar("early") == (6, 150, "info")
    assert notebook.epochs("early") == ["0", "1"]


def test_an_interrupt_of_the_kernel_ends_at_its_step(notebook: Notebook) -> None:
    """The bar is red, the table has the epochs that were completed, and the run can resume."""
    assert notebook.kinds("interrupt") == [*PROGRESS, ["TrainingKeyboardInterrupt"]]
    assert notebook.bar("interrupt") == (5, 9, "danger")
    assert notebook.epochs("interrupt") == ["0"]
    assert notebook.kinds("resume") == PROGRESS
    assert notebook.bar("resume") == (9, 9, "success")
    assert notebook.epochs("resume") == ["0", "1", "2"]


def test_an_exception_in_a_callback(notebook: Notebook) -> None:
    assert notebook.kinds("exception") == [*PROGRESS, ["ZeroDivisionError"]]
    assert notebook.bar("exception") == (4, 9, "danger")


def test_several_networks_have_one_table(notebook: Notebook) -> None:
    assert notebook.kinds("several") == PROGRESS
    assert notebook.html("several").startswith("<p>mean of 2 networks</p><table")
    assert notebook.epochs("several") == ["0", "1"]


def test_without_ipywidgets_the_bar_is_text(notebook: Notebook) -> None:
    assert notebook.kinds("text") == [["text/html", "text/plain"]]
    assert notebook.epochs("text") == ["0", "1", "2"]
    assert re.search(r"<pre>100%\|.*\| 9/9 \[.*\]</pre>$", notebook.html("text"))


# ------------------------------------------------------------- with a display of this file


class Display:
    """The display of a notebook without ipywidgets, and the clock that the progress sees."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.now = 1000.0

    def display(self, data: Mapping[str, str], *, raw: bool, display_id: bool) -> Display:
        assert display_id
        assert not self.shown, "displayed twice"
        self.update(data, raw=raw)
        return self

    def update(self, data: Mapping[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data["text/html"])

    def epochs(self) -> list[str]:
        return re.findall(r"<tr><td>(\d+)</td>", self.shown[-1])


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    found = Display()
    module = SimpleNamespace(display=found.display)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr(time, "monotonic", lambda: found.now)
    return found


def row(epoch: int) -> EpochRow:
    return EpochRow(
        epoch=epoch, step=epoch, lr=0.1, train_loss=0.5, seconds=1.0, examples_per_second=1.0
    )


def test_it_is_drawn_at_most_four_times_a_second(display: Display) -> None:
    """In 2 seconds with 200 epochs there are at most 9 drawings; the last one is complete."""
    with NotebookProgress(2000) as progress:
        for epoch in range(200):
            for step in range(10):
                progress.update(10 * epoch + step + 1)
                display.now += 0.001
            progress.end_epoch(row(epoch), "")
        assert 5 <= len(display.shown) <= 9
    assert display.epochs()[-1] == "199"
    assert "170 more rows" in display.shown[-1]
    assert "2000/2000" in display.shown[-1]


def test_a_resumed_run_begins_where_it_was(display: Display) -> None:
    """The history of the run is not changed."""
    history = History([row(0), row(1)])
    with NotebookProgress(100, initial=40, history=history) as progress:
        assert display.epochs() == ["0", "1"]
        assert "40/100" in display.shown[0]
        progress.end_epoch(row(2), "")
    assert display.epochs() == ["0", "1", "2"]
    assert len(history) == 2


def test_an_error_leaves_the_last_step_and_epoch(display: Display) -> None:
    progress = NotebookProgress(100)
    progress.update(10)
    progress.end_epoch(row(0), "")
    progress.update(13)
    with pytest.raises(RuntimeError), progress:
        raise RuntimeError
    assert "13/100" in display.shown[-1]
    assert display.epochs() == ["0"]


@pytest.mark.parametrize(("shell", "expected"), [(None, False), (SimpleNamespace(kernel=1), True)])
def test_a_kernel_is_a_notebook(
    monkeypatch: pytest.MonkeyPatch, shell: object, expected: bool
) -> None:
    """And a process without IPython is none; IPython is not imported."""
    get: Callable[[], object] = lambda: shell  # noqa: E731
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=get))
    assert in_notebook() is expected
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
    assert "IPython" not in sys.modules
