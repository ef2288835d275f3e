"""The MLflow side of a study, over MLflow's REST API.

Importing mlflow costs seconds of processor time, which the trials can use better. The calls are those of
https://mlflow.org/docs/latest/rest-api.html.
"""

from __future__ import annotations

import getpass
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from trackbed.errors import UserError

TIMEOUT_SECONDS = 30
# A tracking server that restarts is back within these attempts: 0.2 + 0.4 + ... + 12.8 s.
ATTEMPTS = 7
BACKOFF_SECONDS = 0.2
PAGE = 1000  # runs a search returns at most
BATCH = 100  # parameters or tags that one log-batch call takes at most

STUDY_TAG = "trackbed.study"
TRIAL_TAG = "trackbed.trial"
STATE_TAG = "trackbed.state"
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True)
class Measurement:
    """One logged value of a metric.

    Args:
        step: the step it was logged with; its position where the program logs without steps.
        value: the value, possibly NaN.
    """

    step: int
    value: float


@dataclass(frozen=True)
class RunData:
    """What a run holds.

    Args:
        parameters: names of its parameters.
        metrics: latest value of each metric.
    """

    parameters: frozenset[str]
    metrics: Mapping[str, float]


class Tracking:
    """The runs of one study on a tracking server.

    Args:
        variables: MLFLOW_TRACKING_URI and, where the server wants them, MLFLOW_TRACKING_USERNAME and _PASSWORD.
        experiment: name of the experiment; made when it is missing.
        study: the study's name.

    Raises:
        UserError: the server cannot be reached or refuses, or the experiment is deleted.
    """

    def __init__(self, variables: Mapping[str, str], *, experiment: str, study: str) -> None:
        self._url = variables["MLFLOW_TRACKING_URI"].rstrip("/")
        self._study = study
        self._session = requests.Session()
        if "MLFLOW_TRACKING_USERNAME" in variables:
            self._session.auth = (
                variables["MLFLOW_TRACKING_USERNAME"],
                variables["MLFLOW_TRACKING_PASSWORD"],
            )
        # Only what surely had no effect is sent again: a refused connection, a gateway without its server.
        retry = Retry(
            total=ATTEMPTS,
            read=0,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=(502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        self._session.mount(self._url, HTTPAdapter(max_retries=retry))
        self.experiment_id = self._experiment(experiment)

    def url(self, run: str) -> str:
        """Return the address of a run's page in MLflow's UI."""
        return f"{self._url}/#/experiments/{self.experiment_id}/runs/{run}"

    def parent_run(self, tags: Mapping[str, str]) -> str:
        """Return the id of the study's parent run, made when there is none; it is running afterwards.

        Args:
            tags: further tags of the run.
        """
        found = self._search(f"tags.`{STUDY_TAG}` = '{self._study}'", f"tags.`{TRIAL_TAG}` = 'parent'")
        run = next((item["info"]["run_id"] for item in found), None)
        if run is None:
            return self._create(self._study, {**tags, STUDY_TAG: self._study, TRIAL_TAG: "parent"})
        self._call("POST", "runs/update", {"run_id": run, "status": "RUNNING"})
        return run

    def trial_run(self, parent: str, number: int, tags: Mapping[str, str]) -> str:
        """Make the nested run of a trial and return its id.

        Args:
            parent: id of the parent run.
            number: the trial's number.
            tags: further tags of the run.
        """
        return self._create(
            f"{self._study}-trial-{number}",
            {**tags, PARENT_TAG: parent, STUDY_TAG: self._study, TRIAL_TAG: str(number)},
        )

    def running_trials(self, parent: str) -> Iterator[str]:
        """Yield the ids of the nested runs that are said to be running."""
        for item in self._search(f"tags.`{PARENT_TAG}` = '{parent}'", "attributes.status = 'RUNNING'"):
            yield item["info"]["run_id"]

    def data(self, run: str) -> RunData:
        """Return a run's parameters and latest metrics."""
        data = self._call("GET", "runs/get", {"run_id": run})["run"]["data"]
        return RunData(
            parameters=frozenset(item["key"] for item in data.get("params", ())),
            metrics={item["key"]: float(item["value"]) for item in data.get("metrics", ())},
        )

    def history(self, run: str, metric: str) -> list[Measurement]:
        """Return the logged values of a metric, in the order of their steps.

        Programs that log without steps give every value step 0; those are numbered in the order of logging.
        """
        logged: list[Mapping[str, Any]] = []
        token = ""
        while True:
            query = {"run_id": run, "metric_key": metric, **({"page_token": token} if token else {})}
            answer = self._call("GET", "metrics/get-history", query)
            logged += answer.get("metrics", [])
            token = answer.get("next_page_token", "")
            if not token:
                break
        ordered = sorted(logged, key=lambda item: (int(item.get("step", 0)), int(item["timestamp"])))
        steps = [int(item.get("step", 0)) for item in ordered]
        if not any(steps):
            steps = list(range(len(ordered)))
        return [Measurement(step, float(item["value"])) for step, item in zip(steps, ordered, strict=True)]

    def log(
        self,
        run: str,
        *,
        parameters: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        """Log parameters, metrics and tags.

        Args:
            run: id of the run.
            parameters: values that cannot change any more afterwards.
            metrics: values that get a history.
            tags: values that replace those before.
            step: step of the metrics.
        """
        now = round(time.time() * 1000)
        content = {
            "metrics": [
                {"key": key, "value": value, "timestamp": now, "step": step} for key, value in (metrics or {}).items()
            ],
            "params": [{"key": key, "value": value} for key, value in (parameters or {}).items()],
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
        }
        for part, items in content.items():
            for start in range(0, len(items), BATCH):
                self._call("POST", "runs/log-batch", {"run_id": run, part: items[start : start + BATCH]})

    def end(self, run: str, status: str) -> None:
        """Give a run its final status: FINISHED, FAILED or KILLED."""
        now = round(time.time() * 1000)
        self._call("POST", "runs/update", {"run_id": run, "status": status, "end_time": now})

    def log_file(self, run: str, path: Path) -> None:
        """Store a file as an artifact of a run.

        Raises:
            UserError: the artifact store refuses it.
        """
        uri = urlsplit(self._call("GET", "runs/get", {"run_id": run})["run"]["info"]["artifact_uri"])
        if uri.scheme == "mlflow-artifacts":
            place = quote(f"{uri.path.strip('/')}/{path.name}")
            self._send("PUT", f"{self._url}/api/2.0/mlflow-artifacts/artifacts/{place}", data=path.read_bytes())
            return
        # A store that the server does not stand in front of: MLflow's own client knows them all.
        command = [sys.executable, "-P", "-m", "mlflow", "artifacts", "log-artifact", "-r", run, "-l", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(f"{path} cannot be stored with the run {run}: {done.stderr.strip()[-500:]}")

    def _experiment(self, name: str) -> str:
        answer = self._call(
            "GET", "experiments/get-by-name", {"experiment_name": name}, absent="RESOURCE_DOES_NOT_EXIST"
        )
        if answer is None:
            # Somebody else may make it between the two calls.
            made = self._call("POST", "experiments/create", {"name": name}, absent="RESOURCE_ALREADY_EXISTS")
            return self._experiment(name) if made is None else made["experiment_id"]
        if answer["experiment"].get("lifecycle_stage") == "deleted":
            number = answer["experiment"]["experiment_id"]
            raise UserError(
                f"the MLflow experiment {name!r} is deleted",
                hint=f"mlflow experiments restore --experiment-id {number}, or set `experiment:` in the study",
            )
        return answer["experiment"]["experiment_id"]

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        body = {
            "experiment_id": self.experiment_id,
            "run_name": name,
            "start_time": round(time.time() * 1000),
            "tags": [{"key": key, "value": value} for key, value in {**tags, "mlflow.user": _user()}.items()],
        }
        return self._call("POST", "runs/create", body)["run"]["info"]["run_id"]

    def _search(self, *conditions: str) -> Sequence[Mapping[str, Any]]:
        body: dict[str, Any] = {
            "experiment_ids": [self.experiment_id],
            "filter": " and ".join(conditions),
            "max_results": PAGE,
        }
        return self._call("POST", "runs/search", body).get("runs", [])

    def _call(self, method: str, path: str, content: Mapping[str, Any], *, absent: str = "") -> Any:
        """Call the API; return the answer, or None for the error code `absent`."""
        given = {"params": content} if method == "GET" else {"json": content}
        answer = self._send(method, f"{self._url}/api/2.0/mlflow/{path}", accepted=absent, **given)
        return None if answer is None else answer.json()

    def _send(self, method: str, url: str, *, accepted: str = "", **given: Any) -> requests.Response | None:
        try:
            answer = self._session.request(method, url, timeout=TIMEOUT_SECONDS, **given)
        except requests.RequestException as error:
            raise UserError(
                f"the tracking server {self._url} does not answer: {error}",
                hint="see `trackbed status`; then run the same command again, the study goes on",
            ) from error
        if answer.ok:
            return answer
        try:
            refusal = answer.json()
        except ValueError:
            refusal = {}
        if accepted and refusal.get("error_code") == accepted:
            return None
        reason = refusal.get("message") or answer.text.strip()[:300] or answer.reason
        raise UserError(f"the tracking server {self._url} refused {urlsplit(url).path}: {answer.status_code} {reason}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as some clusters give to containers
        return "unknown"
