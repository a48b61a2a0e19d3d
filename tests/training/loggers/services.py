"""Tracking services for the tests: stubs in memory, and the real ones without a network.

Weights & Biases runs in its offline mode, whose files are read back. MLflow runs on SQLite.
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from mlpkit.training import MLflowLogger, WandbLogger

Logger: TypeAlias = WandbLogger | MLflowLogger


@dataclass
class LoggedRun:
    """A run as the service has it: each column holds pairs of step and value."""

    parameters: dict[str, object] = field(default_factory=dict)
    columns: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    result: dict[str, object] = field(default_factory=dict)
    status: str = "running"


@dataclass(frozen=True)
class Service:
    """A service in its test mode.

    Attributes:
        logger: Builds a logger of it.
        start: Starts a run that belongs to the caller.
        end: Ends such a run.
        runs: Reads all runs by id.
        fails_as: Status of a run that Ctrl-C ended.
        knows_rows: Whether it tells a later process which rows it has.
    """

    logger: Callable[..., Logger]
    start: Callable[[], object]
    end: Callable[..., None]
    runs: Callable[[], dict[str, LoggedRun]]
    fails_as: str
    knows_rows: bool = True


# ------------------------------------------------------------------ Weights & Biases


def real_wandb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return wandb in its offline mode."""
    wandb = pytest.importorskip("wandb", reason="the extra mlpkit[wandb] is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = {"mode": "offline", "dir": folder, "reinit": "create_new", "config": {"seed": 99}}

    def logger(*, run: object = None) -> WandbLogger:
        return WandbLogger(mode="offline", folder=folder) if run is None else WandbLogger(run=run)  # type: ignore[arg-type]

    still_open: set[str] = set()

    def start() -> Any:
        run = wandb.init(**options)
        still_open.add(run.id)
        return run

    def end(run: Any) -> None:
        still_open.remove(run.id)
        run.finish()

    runs = partial(read_wandb, folder, still_open)
    return Service(logger, start, end, runs, fails_as="failed", knows_rows=False)


def read_wandb(folder: Path, still_open: Collection[str] = ()) -> dict[str, LoggedRun]:
    """Return the runs in the files of the offline mode, once its process has written them."""
    runs: dict[str, LoggedRun] = {}
    for _ in range(600):
        runs = written_by_wandb(folder)
        if all(run.status != "running" for name, run in runs.items() if name not in still_open):
            break
        time.sleep(0.1)
    return runs


def written_by_wandb(folder: Path) -> dict[str, LoggedRun]:
    """Return what the files hold now; a continued run has several."""
    runs: dict[str, LoggedRun] = defaultdict(LoggedRun)
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        run = runs[path.stem.removeprefix("run-")]
        run.status = "running"
        for kind, content in wandb_records(path):
            update = getattr(content, "update", [])
            values = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in update}
            if kind == "config":
                run.parameters.update(flat(values))
            elif kind == "run":
                found = {one.key: json.loads(one.value_json) for one in content.config.update}
                run.parameters.update(flat(found))
            elif kind == "summary":
                known = ("stop_reason", "best_epoch", "best_value")
                run.result.update({name: values[name] for name in known if name in values})
            elif kind == "history":
                add_row(
                    run, {one.nested_key[0]: json.loads(one.value_json) for one in content.item}
                )
            elif kind == "exit":
                run.status = "failed" if content.exit_code else "finished"
    return dict(runs)


def wandb_records(path: Path) -> Iterator[tuple[str, Any]]:
    """Read a LevelDB log of protobuf records: blocks of 32 KiB, 7 bytes before each piece."""
    from wandb.proto import wandb_internal_pb2  # type: ignore[import-not-found, unused-ignore]

    content, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += 7 + length
        if position > len(content):
            return
        whole += content[position - length : position]
        if kind in (1, 4):  # complete, or the last piece
            record = wandb_internal_pb2.Record.FromString(whole)
            name = record.WhichOneof("record_type")
            yield name, getattr(record, name)
            whole = b""


def add_row(run: LoggedRun, row: Mapping[str, float]) -> None:
    for name, value in row.items():
        if not name.startswith("_") and name != "step":
            run.columns[name].append((int(row["step"]), value))


class StubWandb:
    """A part of wandb, online: a resumed run has its summary."""

    def __init__(self) -> None:
        self.all: dict[str, StubWandbRun] = {}

    def init(self, *, id: str | None = None, **options: object) -> StubWandbRun:  # noqa: A002 - wandb's word
        run = StubWandbRun() if id is None else self.all[id]
        run.options = {"id": id, **options}
        run.logged.status = "running"
        return self.all.setdefault(run.id, run)

    def start(self) -> StubWandbRun:
        run = self.init()
        run.config.update({"seed": 99}, allow_val_change=True)
        return run

    def runs(self) -> dict[str, LoggedRun]:
        for run in self.all.values():
            run.logged.parameters = flat(run.config)
            known = ("stop_reason", "best_epoch", "best_value")
            run.logged.result = {name: run.summary[name] for name in known if name in run.summary}
        return {name: run.logged for name, run in self.all.items()}


class StubWandbRun:
    numbers = itertools.count()

    def __init__(self) -> None:
        self.id = f"run{next(self.numbers)}"
        self.config, self.summary, self.logged = StubConfig(), StubSummary(), LoggedRun()
        self.options: dict[str, object] = {}

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        assert step_metric == "step" != name

    def log(self, data: dict[str, float], step: int | None = None) -> None:
        assert step in (None, data["step"])
        add_row(self.logged, data)
        self.summary.update(data)

    def finish(self, exit_code: int | None = None) -> None:
        self.logged.status = "failed" if exit_code else "finished"


class StubConfig(dict[str, object]):
    def update(self, d: Mapping[str, object], *, allow_val_change: bool) -> None:  # type: ignore[override]
        assert allow_val_change
        super().update(d)


class StubSummary(dict[str, object]):
    def get(self, key: str, default: object = None) -> object:
        return super().get(key, default)

    def update(self, d: Mapping[str, str | float]) -> None:  # type: ignore[override]
        super().update(d)


def stub_wandb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    stub = StubWandb()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    return Service(WandbLogger, stub.start, StubWandbRun.finish, stub.runs, fails_as="failed")


# ------------------------------------------------------------------ MLflow


def real_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return mlflow on a database of the test session, with an experiment of this test."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():  # of SQLAlchemy about MLflow, at the import and the first use
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow", reason="the extra mlpkit[mlflow] is not installed")
        uri, name = f"sqlite:///{folder.parent / 'mlflow.db'}", folder.name
        client = mlflow.MlflowClient(uri)
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name)
    experiment = client.get_experiment_by_name(name).experiment_id

    def start() -> object:
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "seed", 99)
        return run

    def logger(*, run: object = None, **options: object) -> MLflowLogger:
        experiment_name = name if run is None else None
        return MLflowLogger(tracking_uri=uri, experiment_name=experiment_name, run=run, **options)  # type: ignore[arg-type]

    def end(run: SimpleNamespace) -> None:
        client.set_terminated(run.info.run_id)

    runs = partial(read_mlflow, client, experiment)
    return Service(logger, start, end, runs, fails_as="killed")


def read_mlflow(client: SimpleNamespace, experiment: str) -> dict[str, LoggedRun]:
    runs = {}
    for found in client.search_runs([experiment]):
        run_id, data = found.info.run_id, found.data
        run = LoggedRun(dict(data.params), status=found.info.status.lower())
        if "stop_reason" in data.tags:
            run.result["stop_reason"] = data.tags["stop_reason"]
        for name in data.metrics:
            if name.startswith("best_"):
                run.result[name] = data.metrics[name]
            else:
                history = client.get_metric_history(run_id, name)
                run.columns[name] = [(one.step, one.value) for one in history]
        runs[run_id] = run
    return runs


class StubMLflow:
    """A part of ``MlflowClient`` with one experiment."""

    def __init__(self) -> None:
        self.all: dict[str, LoggedRun] = {}
        self.options: list[tuple[object, ...]] = []
        self.entities = SimpleNamespace(
            Param=lambda key, value: (key, value),
            Metric=lambda key, value, timestamp, step: (key, value, timestamp and step),
        )

    def MlflowClient(self, uri: str | None) -> StubMLflow:  # noqa: N802 - MLflow's name
        self.options.append((uri,))
        return self

    def get_experiment_by_name(self, name: str) -> object:
        return SimpleNamespace(experiment_id="0") if name == "Default" else None

    def create_experiment(self, name: str) -> str:
        return f"the id of {name}"

    def create_run(self, *options: object, **more: object) -> SimpleNamespace:
        self.options.append((*options, *more.values()))
        run_id = f"run{len(self.all)}"
        self.all[run_id] = LoggedRun()
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def start(self) -> SimpleNamespace:
        run = self.create_run()
        self.log_batch(run.info.run_id, params=[("seed", "99")])
        return run

    def end(self, run: SimpleNamespace) -> None:
        self.set_terminated(run.info.run_id, "FINISHED")

    def update_run(self, run_id: str, *, status: str) -> None:
        self.all[run_id].status = status.lower()

    def get_metric_history(self, run_id: str, name: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(step=step) for step, _ in self.all[run_id].columns[name]]

    def get_run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(data=SimpleNamespace(params=self.all[run_id].parameters))

    def log_batch(
        self,
        run_id: str,
        *,
        params: list[tuple[str, str]] | None = None,
        metrics: list[tuple[str, float, int]] | None = None,
    ) -> None:
        run = self.all[run_id]
        for key, text in params or []:
            assert run.parameters.setdefault(key, text) == text, "parameters cannot be changed"
        for name, value, step in metrics or []:
            if name.startswith("best_"):
                run.result[name] = value
            else:
                run.columns[name].append((step, value))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.all[run_id].result[key] = value

    def set_terminated(self, run_id: str, status: str) -> None:
        self.all[run_id].status = status.lower()


def stub_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    stub = StubMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", stub)
    return Service(MLflowLogger, stub.start, stub.end, lambda: stub.all, fails_as="killed")


SERVICES = {
    "stub of wandb": stub_wandb,
    "stub of mlflow": stub_mlflow,
    "wandb": real_wandb,
    "mlflow": real_mlflow,
}


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested settings under dotted names, as wandb's pages show them."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
