"""What the suite stands on: processes on free loopback ports, models to register, a line that can be cut."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent
WAIT_SECONDS = 90
WEBHOOK_SECRET = "for tests only"
REQUIREMENTS = ["scikit-learn"]  # given, or MLflow spends seconds to find them out

IRIS = load_iris(as_frame=True).data
SPECIES = load_iris(as_frame=True).target
MIXED_SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec("string", "text"),
            ColSpec("double", "seconds"),
            ColSpec("long", "long", required=False),
            ColSpec("integer", "integer", required=False),
            ColSpec("float", "float", required=False),
            ColSpec("boolean", "flag", required=False),
            ColSpec("datetime", "when", required=False),
        ]
    ),
    params=ParamSchema([ParamSpec("suffix", "string", "")]),
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(reached: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Return the first true value; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if value := reached():
                return value
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain for {what}")


@contextmanager
def process(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        started = subprocess.Popen(command, env=dict(variables), stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@dataclass(frozen=True)
class RunningEndpoint:
    """An endpoint's process."""

    url: str
    model: str
    process: subprocess.Popen[bytes]
    log: Path
    session: requests.Session = field(default_factory=requests.Session)

    def invoke(self, document: Any, **headers: str) -> requests.Response:
        return self.session.post(f"{self.url}/invocations", json=document, headers=headers, timeout=60)

    def post(self, path: str, body: bytes, content_type: str | None = "application/json") -> requests.Response:
        headers = {} if content_type is None else {"Content-Type": content_type}
        return self.session.post(f"{self.url}{path}", data=body, headers=headers, timeout=60)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(f"{self.url}{path}", headers=headers, timeout=60)

    def alias(self, alias: str) -> dict[str, Any]:
        return self.get("/v2/health/ready").json()["aliases"].get(alias, {})

    def wait_for(self, version: str, alias: str = "champion") -> None:
        eventually(lambda: self.alias(alias).get("version") == version, f"{alias} to be version {version}: {self.log}")


@dataclass(frozen=True)
class Platform:
    """The tracking server, and what starts endpoints on it."""

    url: str
    directory: Path
    client: MlflowClient

    @contextmanager
    def endpoint(
        self,
        model: str,
        *arguments: str,
        name: str = "test",
        tracking: str | None = None,
        ready: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> Generator[RunningEndpoint]:
        port = free_port()
        command = [sys.executable, "-m", "trackbed.serving", "--name", name, "--model", model, "--port", str(port)]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking or self.url, **(variables or {})}
        log = self.directory / f"{model}-{port}.log"
        with process([*command, "--poll", "0.2", *arguments], environment, log) as started:
            running = RunningEndpoint(f"http://127.0.0.1:{port}", model, started, log)
            path = "/v2/health/ready" if ready else "/health"
            eventually(lambda: running.get(path).ok, f"the endpoint: {log}")
            yield running
            running.session.close()


def register_mixed(name: str, **config: Any) -> str:
    """Register a model by its code and return its version."""
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(HERE / "mixed_model.py"),
            signature=MIXED_SIGNATURE,
            model_config=config,
            pip_requirements=REQUIREMENTS,
            registered_model_name=name,
        )
    return str(logged.registered_model_version)


def register_iris(name: str, strength: float, *, tensors: bool = False, signed: bool = True) -> LogisticRegression:
    inputs = IRIS.to_numpy() if tensors else IRIS
    model = LogisticRegression(C=strength, max_iter=500).fit(inputs, SPECIES)
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(inputs, model.predict(inputs)) if signed else None,
            input_example=inputs.head(2) if signed and not tensors else None,
            pip_requirements=REQUIREMENTS,
            registered_model_name=name,
        )
    return model


class Relay:
    """Stands between an endpoint and the tracking server, so that a test can cut the line."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition("/")[2].partition(":")
        self._target = (host, int(port))
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.connect()

    def connect(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            sockets, self._open = [self._listener, *self._open], []
        for each in sockets:
            if each is not None:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._open += [caller, server]
            for source, sink in ((caller, server), (server, caller)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def split(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a frame in MLflow's `dataframe_split` form."""
    return {"dataframe_split": {"columns": list(frame.columns), "data": frame.to_numpy().tolist()}}
