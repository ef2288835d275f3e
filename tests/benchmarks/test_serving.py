"""An endpoint beside `mlflow models serve` and a plain FastAPI handler: same model, same client, one process each."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from load import Load, load
from measuring import report
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from support import EXECUTABLES

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

COLUMNS = [f"feature_{number}" for number in range(20)]
CLIENTS = (1, 16, 64)
ROUNDS = 3
SECONDS = 2.0  # of load, for each server, number of clients and round
READY_SECONDS = 120
JSON = {"Content-Type": "application/json"}
MODELS = {
    "a logistic regression": LogisticRegression(),
    "a forest of 300 trees": RandomForestClassifier(300, random_state=0),
}
# What one would write by hand: no validation, the estimator on an array.
PLAIN = """\
import mlflow
import numpy as np
import orjson
from fastapi import FastAPI, Request

model = mlflow.sklearn.load_model("models:/benchmark@champion")
app = FastAPI()


@app.post("/invocations")
async def invocations(request: Request):
    document = orjson.loads(await request.body())
    return {"predictions": model.predict(np.array(document["dataframe_split"]["data"])).tolist()}
"""


@dataclass(frozen=True)
class Servers:
    """The servers of one model: name to port."""

    model: str
    ports: dict[str, int]


@pytest.fixture(scope="module", params=MODELS)
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers, once all of them answer."""
    directory = tmp_path_factory.mktemp("serving")
    uri = f"sqlite:///{directory}/mlflow.db"
    _register(MODELS[request.param], uri, directory)
    (directory / "plain.py").write_text(PLAIN)
    ports = {"ours": _free_port(), "plain FastAPI": _free_port(), "mlflow models serve": _free_port()}
    python = [sys.executable, "-W", "ignore", "-m"]
    mlflow_command = str(EXECUTABLES / "mlflow")
    ours, plain, stock = (str(port) for port in ports.values())
    commands = [
        [*python, "trackbed.serving", "--name", "benchmark", "--model", "benchmark", "--poll", "3600", "--port", ours],
        [*python, "uvicorn", "plain:app", "--loop", "uvloop", "--no-access-log", "--port", plain],
        [mlflow_command, "models", "serve", "-m", "models:/benchmark@champion", "--env-manager", "local", "-p", stock],
    ]
    path = os.pathsep.join([str(EXECUTABLES), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": uri, "PYTHONWARNINGS": "ignore"}
    running = [_start(command, directory, variables) for command in commands]
    try:
        for port in ports.values():
            _wait_for(port)
        yield Servers(request.param, ports)
    finally:
        for server in running:
            os.killpg(server.pid, signal.SIGTERM)
        for server in running:
            server.wait(60)


@pytest.mark.parametrize("rows", [1, 1000])
def test_serving(servers: Servers, rows: int) -> None:
    contenders = servers.ports
    body = _body(rows)
    answers = [requests.post(_url(port), data=body, headers=JSON, timeout=60).json() for port in contenders.values()]
    assert answers[0] == answers[1] == answers[2] and len(answers[0]["predictions"]) == rows
    lines: dict[str, str] = {}
    for clients in CLIENTS:
        measured: dict[str, list[Load]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name in random.sample(list(contenders), len(contenders)):
                measured[name].append(load(contenders[name], "/invocations", body, clients=clients, seconds=SECONDS))
        rates: dict[str, float] = {}
        for name, loads in measured.items():
            rates[name] = statistics.median(each.rate for each in loads)
            p50, p99 = (statistics.median(getattr(each, part) for each in loads) for part in ("p50", "p99"))
            lines[f"{clients} clients: {name}"] = f"{rates[name]:.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        goal = "1" if clients == 1 else "2.5"
        lines[f"{clients} clients: ours / plain FastAPI, goal {goal}"] = f"{rates['ours'] / rates['plain FastAPI']:.2f}"
        goal = "" if clients == 1 else ", goal 50"
        lines[f"{clients} clients: ours / mlflow models serve{goal}"] = (
            f"{rates['ours'] / rates['mlflow models serve']:.1f}"
        )
    report(f"serving {servers.model}, {rows} rows a request (medians of {ROUNDS} rounds)", lines)


def _register(model: LogisticRegression | RandomForestClassifier, uri: str, directory: Path) -> None:
    inputs = pd.DataFrame(np.random.default_rng(0).normal(size=(500, len(COLUMNS))), columns=COLUMNS)
    model.fit(inputs, (inputs.sum(axis=1) > 0).astype(int))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        experiment = mlflow.create_experiment("benchmark", artifact_location=(directory / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            logged = mlflow.sklearn.log_model(
                model,
                name="model",
                signature=infer_signature(inputs, model.predict(inputs)),
                input_example=inputs.head(1),
                pip_requirements=["scikit-learn"],
                serialization_format="cloudpickle",
                registered_model_name="benchmark",
            )
        version = str(logged.registered_model_version)
        MlflowClient().set_registered_model_alias("benchmark", "champion", version)
    finally:
        mlflow.set_tracking_uri(before)


def _body(rows: int) -> bytes:
    data = np.random.default_rng(1).normal(size=(rows, len(COLUMNS))).tolist()
    return json.dumps({"dataframe_split": {"columns": COLUMNS, "data": data}}).encode()


def _start(command: list[str], directory: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=directory,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(port):
        assert time.monotonic() < deadline, f"nothing answers on port {port}"
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        return requests.post(_url(port), data=_body(1), headers=JSON, timeout=30).ok
    except requests.RequestException:
        return False


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/invocations"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
