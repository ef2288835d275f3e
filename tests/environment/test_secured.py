"""An environment with PostgreSQL, basic authentication on tracking and a token on its endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from support import Project, make_project

SPEC = """\
config:
  trackbed:environment:
    target: local
    tracking: {database: postgresql, auth: basic}
    endpoints:
      - {name: guarded, model: lengths, auth: token}
"""
ONLY_TRACKING = """\
config:
  trackbed:environment:
    target: local
"""
PROGRAM = """\
import mlflow
import numpy as np
from sklearn.linear_model import LinearRegression

rows = np.arange(10.0).reshape(-1, 1)
with mlflow.start_run():
    mlflow.log_metric("rows", len(rows))
    model = LinearRegression().fit(rows, 2 * rows[:, 0])
    mlflow.sklearn.log_model(model, name="model", registered_model_name="lengths", input_example=rows[:1])
mlflow.MlflowClient().set_registered_model_alias("lengths", "champion", "1")
"""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = make_project(tmp_path_factory.mktemp("secured"))
    project.write_spec("local", SPEC)
    project.trackbed("up", "local", "--yes")
    yield project
    project.trackbed("down", "local", "--delete-data", "--yes")


def _contract(project: Project) -> dict[str, dict[str, dict[str, str]]]:
    return json.loads((project.home("local") / "contract.json").read_text())


def _secrets(project: Project) -> list[str]:
    return [file.read_text() for file in (project.home("local") / "secrets").iterdir()]


def test_tracking_asks_for_a_password(secured: Project) -> None:
    url = _contract(secured)["tracking"]["address"]["internal"]
    search = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(search, timeout=10).status_code == 401
    assert requests.get(search, auth=("admin", "password1234"), timeout=10).status_code == 401


def test_a_program_trains_and_the_endpoint_serves_with_the_generated_secrets(secured: Project, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    secured.trackbed("run", str(script))
    url = _contract(secured)["endpoints"]["guarded"]["address"]["internal"]
    body = {"inputs": [[21.0]]}
    assert requests.post(f"{url}/invocations", json=body, timeout=30).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert requests.post(f"{url}/invocations", json=body, headers=wrong, timeout=30).status_code == 401

    secured.trackbed("promote", "lengths", "1")
    answer = json.loads(secured.trackbed("predict", "guarded", "--data", json.dumps(body), "--json").stdout)
    assert answer["predictions"] == [pytest.approx(42.0)]


def test_no_secret_is_in_state_contract_log_or_process_list(secured: Project) -> None:
    secrets = _secrets(secured)
    assert len(secrets) >= 6
    command_lines = "\n".join(" ".join(_command_line(process)) for process in psutil.process_iter())
    assert not [secret for secret in secrets if secret in command_lines]
    trackbed = secured.directory / ".trackbed"
    home = secured.home("local")
    readable = [
        *(trackbed / "state").rglob("*"),
        *(home / "logs").iterdir(),
        *(home / "configuration").iterdir(),
        *(home / "run" / "programs").iterdir(),
        home / "contract.json",
        home / "data" / "artifacts" / "trackbed" / "contract.json",
    ]
    for file in readable:
        if file.is_file():
            content = file.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], file


def test_data_and_the_password_that_opens_it_survive_a_down(secured: Project) -> None:
    before = secured.trackbed("environment", "--export", "mlflow").stdout
    secured.trackbed("down", "local")
    secured.trackbed("up", "local", "--yes")
    assert secured.trackbed("environment", "--export", "mlflow").stdout == before
    contract = _contract(secured)
    password = Path(contract["tracking"]["authentication"]["secret"].removeprefix("file:")).read_text().strip()  # type: ignore[attr-defined]
    url = contract["tracking"]["address"]["internal"]
    found = requests.get(
        f"{url}/api/2.0/mlflow/registered-models/get?name=lengths", auth=("admin", password), timeout=10
    )
    assert found.json()["registered_model"]["name"] == "lengths"


def test_an_existing_database_is_reached_with_a_password_from_a_variable(secured: Project, tmp_path: Path) -> None:
    home = secured.home("local")
    services = json.loads(secured.trackbed("status", "local", "--json").stdout)["services"]
    [port] = [found["url"].rsplit(":", 1)[1] for found in services if found["component"] == "tracking-database"]
    url = f"postgresql://mlflow@127.0.0.1:{port}/mlflow"
    text = ONLY_TRACKING + f"    tracking: {{database: {{url: '{url}', password: 'env:DATABASE_PASSWORD'}}}}\n"
    secured.write_spec("other", text)
    missing = secured.trackbed("up", "other", "--yes", check=False)
    assert missing.returncode == 1
    assert "DATABASE_PASSWORD" in missing.stderr and "Traceback" not in missing.stderr

    password = (home / "secrets" / "local-tracking-database-password").read_text()
    given = Project(secured.directory, {**secured.variables, "DATABASE_PASSWORD": password})
    given.trackbed("up", "other", "--yes")
    contract = json.loads((secured.home("other") / "contract.json").read_text())
    tracking = contract["tracking"]["address"]["internal"]
    found = requests.get(f"{tracking}/api/2.0/mlflow/registered-models/get?name=lengths", timeout=10)
    assert found.json()["registered_model"]["name"] == "lengths"
    # The variable is needed once: afterwards the environment keeps what it holds, for its owner's eyes only.
    assert json.loads(secured.trackbed("up", "other", "--yes", "--json").stdout)["changes"] == []
    secured.trackbed("down", "other", "--delete-data", "--yes")


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
