"""The line below the title of a report."""

from __future__ import annotations

import dataclasses
import datetime

import torch
from tests.report.histories import falling_history
from tests.report.kinds import regression_example

from mlpkit import MLP, SoftmaxClassifier
from mlpkit.data import LabeledTensors
from mlpkit.report import Run
from mlpkit.report._summary_line import summary_line
from mlpkit.training import History


def example_run() -> Run:
    """Return a run of a network with two activations."""
    network = MLP(4, (8, 6, 5), 2, activation=["relu", "tanh", "relu"])
    model = SoftmaxClassifier(network, classes=("no", "yes"))
    test = LabeledTensors(torch.rand(1200, 4), torch.arange(1200) % 2, ("no", "yes"))
    return Run(
        title="t",
        model=model,
        test=test,
        history=falling_history(50, seconds=1.0),
        dataset="<b>.csv",
        started=datetime.datetime(2026, 1, 9, 23, 59, 1),
    )


def test_all_facts_are_in_the_line() -> None:
    """Score, examples, data set, network, parameters, epochs and date; nothing adds markup."""
    parameters = (4 + 1) * 8 + (8 + 1) * 6 + (6 + 1) * 5 + (5 + 1) * 2
    assert summary_line(example_run(), "Accuracy 98.33 %") == (
        "Accuracy 98.33 % on 1,200 test examples of &lt;b&gt;.csv. Network 4 → 8 → 6 → 5 → 2 with "
        f"ReLU and Tanh, {parameters} parameters, trained for 50 epochs on <time>2026-01-09</time>."
    )


def test_unknown_facts_are_left_out() -> None:
    """Without a data set, a history, a date and hidden layers the rest is a sentence."""
    full = example_run()
    run = dataclasses.replace(full, dataset="", history=History(), started=None)
    assert summary_line(run, "R² 0.5").endswith("2 with ReLU and Tanh, 141 parameters.")
    assert "R² 0.5 on 1,200 test examples. Network" in summary_line(run, "R² 0.5")
    dated = dataclasses.replace(full, history=History())
    assert summary_line(dated, "").endswith("parameters, trained on <time>2026-01-09</time>.")
    once = dataclasses.replace(full, history=falling_history(1, seconds=1.0), started=None)
    assert summary_line(once, "").endswith("parameters, trained for 1 epoch.")
    model, test = regression_example(count=1)
    flat = SoftmaxClassifier(MLP(4, (), 2), classes=("no", "yes"))
    single = dataclasses.replace(run, test=test, model=model)
    assert "1 test example." in summary_line(single, "")
    assert ". Network 4 → 2, 10 parameters" in summary_line(
        dataclasses.replace(full, model=flat), ""
    )
