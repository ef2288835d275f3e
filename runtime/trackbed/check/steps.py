"""The steps of a check. Each returns what it saw, and raises a UserError when that is not as it should be."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackbed.configuration import common_variables, mlflow_variables
from trackbed.contract import Contract
from trackbed.environments import Environment
from trackbed.errors import UserError
from trackbed.launchers import Launcher
from trackbed.models import DEFAULT_ALIAS

if TYPE_CHECKING:
    from mlflow import MlflowClient

POOL = "default"
ANSWER_SECONDS = 10
TRAINING_SECONDS = 900  # mostly waiting for a slot and importing, on a machine under load
SERVING_SECONDS = 180  # until the endpoint server has loaded the model
END_SECONDS = 40  # the endpoint server gives requests on their way 30
LINES = 15  # of a child's output, in an error
COLUMNS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
ROWS = ((5.1, 3.5, 1.4, 0.2), (6.0, 2.7, 4.3, 1.3), (6.9, 3.1, 5.8, 2.2))
KINDS = [0, 1, 2]  # of the irises in ROWS


@dataclass
class Ground:
    """What the steps work on, and what they hand on to later ones.

    Args:
        environment: the environment that is checked.
        launcher: its launcher.
        name: name of all that is made: experiment, registered model, study, endpoint.
        directory: for files of the check on this machine.
        reached: whether the tracking server has answered, so that there may be something to take away.
        run: id of the training run.
        predictions: what the model predicts in this process.
    """

    environment: Environment
    launcher: Launcher
    name: str
    directory: Path
    reached: bool = False
    run: str = ""
    predictions: list[int] = field(default_factory=list[int])

    @property
    def contract(self) -> Contract:
        """The environment's contract."""
        return self.environment.contract

    @property
    def option(self) -> str:
        """The option that names the environment, for commands in hints."""
        return f"-e {shlex.quote(self.environment.uri)}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a program of the environment."""
        return {**os.environ, **common_variables(self.contract, self.environment.uri, self.launcher)}

    @contextmanager
    def client(self) -> Generator[MlflowClient]:
        """Give a client of the tracking server; what it refuses becomes an error for the reader."""
        import requests
        from mlflow.exceptions import MlflowException

        from trackbed.models import open_registry

        try:
            with open_registry(self.contract, self.launcher) as client:
                yield client
        except (MlflowException, requests.RequestException) as error:
            reason = str(error).strip().partition("\n")[0]
            hint = f"trackbed logs tracking {self.option}"
            raise UserError(f"the tracking server refused: {reason}", hint=hint) from error


def tracking(ground: Ground) -> str:
    """Reach the tracking server, with the credentials that programs get."""
    _need("mlflow")
    import requests

    variables = mlflow_variables(ground.contract, ground.launcher)
    url = variables["MLFLOW_TRACKING_URI"]
    user = variables.get("MLFLOW_TRACKING_USERNAME")
    credentials = None if user is None else (user, variables["MLFLOW_TRACKING_PASSWORD"])
    search = f"{url}/api/2.0/mlflow/experiments/search"
    hint = f"trackbed doctor {ground.option}"
    try:
        answer = requests.get(search, params={"max_results": "1"}, auth=credentials, timeout=ANSWER_SECONDS)
    except requests.RequestException as error:
        raise UserError(f"the tracking server {url} does not answer ({type(error).__name__})", hint=hint) from error
    if not answer.ok or "experiments" not in answer.text:
        raise UserError(
            f"at {url} no tracking server answers, but {answer.status_code}: {answer.text[:200]}", hint=hint
        )
    ground.reached = True
    return url


def slot(ground: Ground) -> str:
    """Take a slot of the pool and give it back."""
    with ground.launcher.slot(POOL) as number:
        return f"slot {number} of pool {POOL}"


def artifacts(ground: Ground) -> str:
    """Write a file into the artifact store, read it back and delete it."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    written = ground.directory / "artifact.txt"
    written.write_text(ground.name, encoding="utf-8")
    uri = f"{ground.contract.artifacts.uri}/{ground.name}"
    try:
        store = get_artifact_repository(uri)
        store.log_artifact(str(written))
        read = ground.directory / "read"
        read.mkdir()
        content = Path(store.download_artifacts("artifact.txt", str(read))).read_text(encoding="utf-8")
        store.delete_artifacts()
    except (OSError, MlflowException) as error:
        raise UserError(f"the artifact store {uri} cannot be used: {error}", hint="trackbed doctor") from error
    if content != ground.name:
        raise UserError(f"what was written to {uri} came back as {content!r}")
    return ground.contract.artifacts.uri


def tuning(ground: Ground) -> str:
    """Store a study of one trial, read it back and delete it."""
    if ground.contract.tuning is None:
        return "the environment has no tuning service"
    _need("optuna")
    import optuna

    from trackbed.tuning.storage import open_storage

    storage = open_storage(ground.contract.tuning, ground.launcher)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name=ground.name)
    try:
        study.tell(study.ask(), 1.0)
        trials = optuna.load_study(storage=storage, study_name=ground.name).get_trials()
    finally:
        optuna.delete_study(storage=storage, study_name=ground.name)
    if [trial.value for trial in trials] != [1.0]:
        raise UserError(f"the trial that was stored in {ground.contract.tuning.storage} did not come back")
    return ground.contract.tuning.storage


def train(ground: Ground) -> str:
    """Run the training program as `trackbed run` does, and find all it logged."""
    with as_file(files("trackbed_templates").joinpath("check/train.py")) as program:
        _run(ground, [str(program), "--experiment", ground.name, "--model", ground.name])
    with ground.client() as client:
        experiment = client.get_experiment_by_name(ground.name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
    if len(runs) != 1:
        raise UserError(f"training ended well, but the tracking server has {len(runs)} runs of it, not 1")
    ground.run = runs[0].info.run_id
    if "iterations" not in runs[0].data.params or "accuracy" not in runs[0].data.metrics:
        raise UserError(f"the run {ground.run} lacks its parameter or its metric")
    return f"accuracy {runs[0].data.metrics['accuracy']:.2f}, registered and aliased {DEFAULT_ALIAS}"


def load(ground: Ground) -> str:
    """Load the model by its alias, and predict in this process."""
    import mlflow
    import pandas

    uri = f"models:/{ground.name}@{DEFAULT_ALIAS}"
    with ground.client():
        model: Any = mlflow.pyfunc.load_model(uri)
    if model.metadata.signature is None:
        raise UserError(f"the model {uri} came back without its signature")
    ground.predictions = [int(kind) for kind in model.predict(pandas.DataFrame(ROWS, columns=list(COLUMNS)))]
    if ground.predictions != KINDS:
        raise UserError(f"the model {uri} predicts {ground.predictions}; it learned {KINDS}")
    return f"predicts {ground.predictions}"


def serve(ground: Ground) -> str:
    """Start the endpoint server for the model, predict over HTTP and compare."""
    _need("uvicorn")
    from trackbed.serving.client import EndpointClient

    log = ground.directory / "endpoint.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "trackbed.serving", "--name", ground.name, "--model", ground.name]
    command += ["--traffic", f"{DEFAULT_ALIAS}=100", "--port", str(port)]
    endpoint = EndpointClient(ground.name, ground.name, f"http://127.0.0.1:{port}", None)
    rows = {"dataframe_split": {"columns": list(COLUMNS), "data": [list(row) for row in ROWS]}}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=ground.variables,
            cwd=ground.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_ready(endpoint, server, log)
        answer = endpoint.predict(json.dumps(rows).encode(), "application/json")["predictions"]
    finally:
        _end(server)
    if answer != ground.predictions:
        raise UserError(f"served, the model predicts {answer}; loaded here, {ground.predictions}")
    return f"predicts the same over HTTP, at {endpoint.url} for that moment"


def endpoints(ground: Ground) -> str:
    """Ask each endpoint of the environment how it is."""
    told = [_asked(ground, name) for name in ground.contract.endpoints]
    return "; ".join(told) or "the environment has no endpoints"


STEPS: Sequence[tuple[str, Callable[[Ground], str]]] = (
    ("reach tracking", tracking),
    ("take a slot", slot),
    ("store an artifact", artifacts),
    ("store a study", tuning),
    ("train and register", train),
    ("load and predict", load),
    ("serve and predict", serve),
    ("ask the endpoints", endpoints),
)


def _need(module: str) -> None:
    if find_spec(module) is None:
        raise UserError(f"{module} is not installed here, so this cannot be checked", hint="trackbed doctor")


def _run(ground: Ground, program: Sequence[str]) -> None:
    command = [sys.executable, "-m", "trackbed", "run", "--environment", ground.environment.uri, *program]
    with (ground.directory / "training.log").open("wb+") as output:
        child = subprocess.Popen(
            command,
            env=ground.variables,
            cwd=ground.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status = child.wait(TRAINING_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(child)
    if status == 0:
        return
    how = f"did not end in {TRAINING_SECONDS} s" if status is None else f"ended with {status}"
    said = _last_lines(ground.directory / "training.log")
    raise UserError(
        f"the training program {how}:\n{said}",
        hint=f"trackbed doctor {ground.option}; trackbed logs tracking {ground.option}",
    )


def _await_ready(endpoint: Any, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SERVING_SECONDS
    state: dict[str, Any] = {}
    while time.monotonic() < deadline and server.poll() is None:
        try:
            state = endpoint.readiness()
        except UserError:
            state = {}  # it does not listen yet
        if state.get("ready"):
            return
        time.sleep(0.1)
    ended = server.poll() is not None
    how = f"ended with {server.returncode}" if ended else f"was not ready in {SERVING_SECONDS} s"
    raise UserError(f"the endpoint server {how}:\n{_last_lines(log)}", hint="trackbed doctor")


def _asked(ground: Ground, name: str) -> str:
    import requests

    from trackbed.serving.client import find_endpoint

    endpoint = find_endpoint(ground.contract, ground.launcher, name)
    hint = f"trackbed logs endpoint-{name} {ground.option}"
    try:
        state = endpoint.readiness()
    except UserError as error:
        raise UserError(str(error), hint=hint) from error
    aliases: dict[str, Any] = state["aliases"]
    if not state["ready"]:
        if not any(alias["wanted"] for alias in aliases.values()):
            return f"{name} is live and waits for a first version of {endpoint.model}"
        problems = "; ".join(str(alias["problem"]) for alias in aliases.values() if alias["problem"])
        raise UserError(f"the endpoint {name!r} is not ready: {problems or 'its model is still loading'}", hint=hint)
    headers = {"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    try:
        url = f"{endpoint.url}/v2/models/{endpoint.model}"
        answer = requests.get(url, headers=headers, timeout=ANSWER_SECONDS)
    except requests.RequestException as error:
        raise UserError(f"the endpoint {name!r} stopped answering ({type(error).__name__})", hint=hint) from error
    if not answer.ok or answer.json().get("name") != endpoint.model:
        raise UserError(f"the endpoint {name!r} answers {answer.status_code} about its model", hint=hint)
    return f"{name} serves {endpoint.model} {', '.join(answer.json().get('versions', []))}"


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-LINES:]) or "    (it said nothing)"
