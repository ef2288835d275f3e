from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml
from trackbed.contract import Contract

PROGRAMS = Path(__file__).parent.parent / "programs" / "tuning"
COMMAND = [sys.executable, "-m", "trackbed", "tune"]


@dataclass(frozen=True)
class Ground:
    """The environment that the tests tune on, and what they look at there."""

    url: str
    contract: Contract
    home: Path
    variables: Mapping[str, str]

    def write(self, directory: Path, name: str, program: str, **fields: Any) -> Path:
        """Write a study file that minimises `loss` unless `fields` says otherwise."""
        study = {
            "name": name,
            "program": str(PROGRAMS / program),
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            **fields,
        }
        path = directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    def tune(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)], env=self.variables, capture_output=True, text=True, timeout=200
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def result(self, study: Path) -> dict[str, Any]:
        return json.loads(self.tune(study, "--json").stdout)

    def start(self, study: Path, output: Path) -> subprocess.Popen[bytes]:
        """Start a tuner in the background; its output goes to a file."""
        with output.open("wb") as file:
            return subprocess.Popen([*COMMAND, study], env=self.variables, stdout=file, stderr=subprocess.STDOUT)

    def api(self, path: str, **body: Any) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/api/2.0/mlflow/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Every run of the study, parents and trials, in any experiment."""
        experiments = self.api("experiments/search", max_results=1000)["experiments"]
        found = self.api(
            "runs/search",
            experiment_ids=[item["experiment_id"] for item in experiments],
            filter=f"tags.`trackbed.study` = '{name}'",
        )
        return [flat(run) for run in found.get("runs", [])]

    def trials(self, name: str) -> list[dict[str, Any]]:
        return [run for run in self.runs(name) if run["tags"]["trackbed.trial"] != "parent"]

    def parent(self, name: str) -> dict[str, Any]:
        (parent,) = [run for run in self.runs(name) if run["tags"]["trackbed.trial"] == "parent"]
        return parent

    def log(self, name: str, number: int) -> str:
        return (self.home / "logs" / "tuning" / name / f"trial-{number}.log").read_text()


def flat(run: dict[str, Any]) -> dict[str, Any]:
    parts = {
        part: {item["key"]: item["value"] for item in run["data"].get(part, [])}
        for part in ("tags", "params", "metrics")
    }
    return {**run["info"], **parts}


def trial_processes() -> list[psutil.Process]:
    """Processes of trials on this machine, of whichever study."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if "TRACKBED_TRIAL" in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def eventually(true: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Wait until something is so; the limit only ends a test that hangs."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.05)
