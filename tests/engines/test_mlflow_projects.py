"""MLflow projects, through `trackbed run`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from support import EXECUTABLES, ROOT, RunningEnvironment
from trackbed.engines.mlflow_project import environment_manager
from trackbed.errors import UserError

PROJECTS = ROOT / "tests" / "programs" / "mlflow"


def latest_run(environment: RunningEnvironment) -> Run:
    server = MlflowClient(environment.contract.tracking.address.internal)
    return server.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]


def test_parameters(environment: RunningEnvironment):
    done = environment.trackbed("run", str(PROJECTS / "simple"), "-P", "alpha=0.3")
    assert "trained with 0.3 0.1" in done.stdout
    run = latest_run(environment)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"alpha": "0.3", "l1_ratio": "0.1"}
    assert "r2" in run.data.metrics


def test_entry_points_and_experiments(environment: RunningEnvironment):
    project = PROJECTS / "steps" / "MLproject"
    environment.trackbed("run", str(project), "-e", "validate", "-P", "threshold=0.9", "--run-name", "checked")
    run = latest_run(environment)
    assert run.info.run_name == "checked"
    assert run.data.tags["step"] == "validate"
    assert run.data.metrics == {"given": 0.9}


def test_the_failure_of_a_project_is_a_failure(environment: RunningEnvironment):
    done = environment.trackbed("run", str(PROJECTS / "steps"), "-e", "broken", check=False)
    assert done.returncode == 1
    assert latest_run(environment).info.status == "FAILED"


def test_requirements_that_are_not_installed_get_an_environment(environment: RunningEnvironment, tmp_path: Path):
    variables = {**environment.variables, "MLFLOW_ENV_ROOT": str(tmp_path / "envs")}
    command = [str(EXECUTABLES / "trackbed"), "run", str(PROJECTS / "packaged")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = latest_run(environment)
    assert run.data.tags["toolz"] == "1.0.0"
    assert run.data.metrics == {"a": 2, "b": 1}
    assert len(list((tmp_path / "envs").iterdir())) == 1


def test_a_project_logs_to_the_run_it_is_started_in(environment: RunningEnvironment):
    server = MlflowClient(environment.contract.tracking.address.internal)
    trial = server.create_run("0").info.run_id
    variables = {**environment.variables, "MLFLOW_RUN_ID": trial}
    command = [str(EXECUTABLES / "trackbed"), "run", str(PROJECTS / "steps"), "-P", "limit=7"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.get_run(trial).data.metrics == {"given": 7}


# Files of a project beside MLproject, and how its environment is to be made.
MANAGERS = [
    ({}, "local"),
    ({"conda.yaml": "dependencies: [python, pip, {pip: [mlflow]}]"}, "local"),
    ({"conda.yaml": "dependencies: [python=3.8.13, {pip: [mlflow]}]"}, "uv"),
    ({"conda.yaml": "dependencies: [python>=3.9, numpy>=1.14, scikit-learn]"}, "local"),
    ({"conda.yaml": "dependencies: [gdal=3.4, {pip: [mlflow]}]"}, None),
    ({"python_env.yaml": "dependencies: [mlflow, 'no-such-package; python_version < \"3\"']"}, "local"),
    ({"python_env.yaml": "dependencies: [mlflow==1.30.0]"}, "uv"),
    ({"python_env.yaml": "dependencies: [-r more.txt]", "more.txt": "# needs\nno-such-package  # this"}, "uv"),
    ({"python_env.yaml": "dependencies: ['mlflow[extras]']"}, "uv"),
    ({"python_env.yaml": "python: '3.7'"}, "uv"),
    ({"python_env.yaml": "dependencies: [no-such-package]", "conda.yaml": "dependencies: []"}, "uv"),
    ({"MLproject": "conda_env: env.yml", "env.yml": "dependencies: [{pip: [no-such-package]}]"}, "uv"),
    ({"MLproject": "docker_env: {image: project-image}"}, None),
]


@pytest.mark.parametrize(("files", "manager"), MANAGERS)
def test_how_a_projects_environment_is_made(tmp_path: Path, files: dict[str, str], manager: str | None):
    for name, text in {"MLproject": "name: p", **files}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert environment_manager(tmp_path / "MLproject") == manager


@pytest.mark.parametrize(
    ("project", "message"),
    [("a: [", "not valid YAML"), ("text", "no YAML mapping"), ("python_env: gone.yaml", "gone.yaml")],
)
def test_unreadable_projects_are_the_users_errors(tmp_path: Path, project: str, message: str):
    (tmp_path / "MLproject").write_text(project, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        environment_manager(tmp_path / "MLproject")
