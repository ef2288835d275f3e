"""`trackbed check` on a real environment: it proves the whole way, tells the truth, and leaves nothing."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from support import RunningEnvironment
from trackbed.launchers import launcher_for
from trackbed.tuning.storage import open_storage


@pytest.fixture
def contract_with(environment: RunningEnvironment, tmp_path: Path) -> Any:
    """Give a function that writes the environment's contract with something else in it, and returns the path."""

    def write(**changed: Any) -> str:
        file = tmp_path / "contract.json"
        file.write_text(json.dumps({**environment.contract.to_dict(), **changed}))
        return str(file)

    return write


def everything(environment: RunningEnvironment) -> dict[str, object]:
    """Return all that a person can find in the environment."""
    contract = environment.contract
    client = MlflowClient(contract.tracking.address.internal)
    assert contract.tuning is not None
    studies = open_storage(contract.tuning, launcher_for(contract)).get_all_studies()
    data = environment.platform.home("local") / "data" / "artifacts"
    return {
        "experiments": sorted(experiment.name for experiment in client.search_experiments()),
        "models": sorted(model.name for model in client.search_registered_models()),
        "studies": sorted(study.study_name for study in studies),
        "artifacts": sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()),
    }


def test_a_working_environment_passes_and_nothing_is_left(environment: RunningEnvironment) -> None:
    before = everything(environment)
    done = environment.trackbed("check", "--json")
    report = json.loads(done.stdout)
    assert report["passed"]
    assert all(step["passed"] and step["seconds"] >= 0 for step in report["steps"])
    seen = {step["step"]: step["message"] for step in report["steps"]}
    assert seen["load and predict"] == "predicts [0, 1, 2]"
    assert "predicts the same over HTTP" in seen["serve and predict"]
    assert "digits" in seen["ask the endpoints"]
    assert report["left"] == []
    assert everything(environment) == before
    assert not [process for process in psutil.process_iter() if "trackbed-check" in " ".join(_words(process))]


def test_tracking_that_is_down_fails_with_the_next_command(environment: RunningEnvironment, contract_with: Any) -> None:
    with socket.socket() as closed:  # bound, but nobody listens: a port that stays dead for the length of the test
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        uri = contract_with(tracking={"address": {"internal": url, "external": url}, "version": "3.17.2"})
        done = environment.trackbed("check", "-e", uri, check=False)
    assert done.returncode == 1
    assert "FAILED  reach tracking        " in done.stdout
    assert f"{url} does not answer" in done.stdout
    assert f"next: trackbed doctor -e {uri}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "train and register" not in done.stdout


def test_another_server_at_the_port_is_no_tracking_server(environment: RunningEnvironment, contract_with: Any) -> None:
    url = environment.contract.endpoints["digits"].address.internal
    uri = contract_with(tracking={"address": {"internal": url, "external": url}, "version": "3.17.2"})
    done = environment.trackbed("check", "-e", uri, check=False)
    assert done.returncode == 1
    assert "no tracking server answers, but 404" in done.stdout


def test_a_step_that_fails_later_leaves_nothing_either(
    environment: RunningEnvironment, contract_with: Any, tmp_path: Path
) -> None:
    before = everything(environment)
    (tmp_path / "a-file").write_text("where a directory should be")
    storage = f"journal:{tmp_path}/a-file/studies.journal"
    uri = contract_with(tuning={"storage": storage, "parallel_trials": 1})
    done = environment.trackbed("check", "-e", uri, "--json", check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert not report["passed"]
    failed = [step for step in report["steps"] if not step["passed"]]
    assert [step["step"] for step in failed] == ["store a study"]
    assert "cannot be opened" in failed[0]["message"]
    assert failed[0]["hint"]
    assert report["left"] == []
    assert everything(environment) == before


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
