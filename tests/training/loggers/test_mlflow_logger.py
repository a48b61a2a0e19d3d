"""MLflowLogger: the options that reach the client, and an active run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.training.loggers.services import StubMLflow, real_mlflow
from tests.training.scenario import examples, network

from mlpkit.training import MLflowLogger, Trainer, TrainerConfig

CONFIG = TrainerConfig(epochs=1, batch_size=16, progress=False)


@pytest.mark.parametrize(
    ("name", "experiment"), [(None, "0"), ("Default", "0"), ("digits", "the id of digits")]
)
def test_the_options_reach_the_client(
    name: str | None, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = StubMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", stub)
    logger = MLflowLogger(
        experiment_name=name, run_name="first", tracking_uri="sqlite:///a.db", tags={"a": "b"}
    )
    Trainer(network(), CONFIG, callbacks=[logger]).fit(examples())
    assert stub.options == [("sqlite:///a.db",), (experiment, "first", {"a": "b"})]


def test_options_of_a_given_run_are_refused() -> None:
    run = SimpleNamespace(info=SimpleNamespace(run_id="a"))
    rule = "run_name must be None if a run is given, got 'x'; set it where the run is started"
    with pytest.raises(ValueError, match=rule):
        MLflowLogger(run_name="x", run=run)
    with pytest.raises(TypeError, match="run must be a run of MLflow, got 'a'"):
        MLflowLogger(run="a")  # type: ignore[arg-type]


def test_an_active_run_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller ends the run that ``mlflow.start_run`` began."""
    service = real_mlflow(tmp_path, monkeypatch)
    import mlflow  # type: ignore[import-not-found, unused-ignore]

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path.parent / 'mlflow.db'}")
    mlflow.set_experiment(tmp_path.name)
    with mlflow.start_run() as run:
        logger = MLflowLogger(run=mlflow.active_run())
        Trainer(network(), CONFIG, callbacks=[logger]).fit(examples())
        assert mlflow.active_run() is run
    logged = service.runs()[run.info.run_id]
    assert logged.status == "finished"
    assert logged.result["stop_reason"] == "completed"
