"""`trackbed environment --export`: with its output evaluated, tools started by hand use the environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import EXECUTABLES, Project, RunningEnvironment

SCRIPT = """\
import mlflow

mlflow.set_experiment("by-hand")
with mlflow.start_run():
    mlflow.log_metric("answer", 42)
"""
FLOW = """\
from metaflow import FlowSpec, step


class ByHandFlow(FlowSpec):
    @step
    def start(self):
        self.word = "kept"
        self.next(self.end)

    @step
    def end(self):
        print(self.word)


if __name__ == "__main__":
    ByHandFlow()
"""


def by_hand(environment: RunningEnvironment, tool: str, command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Evaluate an export in a shell that knows nothing but where the contract lies, then run a command there."""
    uri = environment.variables["TRACKBED_ENVIRONMENT"]
    kept = {
        name: value
        for name, value in environment.variables.items()
        if not name.startswith(("MLFLOW_", "METAFLOW_", "AIRFLOW", "TRACKBED_ENVIRONMENT", "PYTHONPATH"))
    }
    script = f'eval "$(trackbed environment -e {uri} --export {tool})" && {command}'
    return Project(cwd, kept).execute(["bash", "-c", script], None, True, 240)


def exported(environment: RunningEnvironment, tool: str, cwd: Path) -> dict[str, str]:
    """Return the variables that an export sets, as a shell understands them."""
    done = environment.trackbed("environment", "--export", tool, cwd=cwd)
    names = [line.removeprefix("export ").partition("=")[0] for line in done.stdout.splitlines()]
    shown = by_hand(environment, tool, "env -0", cwd).stdout
    everything = dict(entry.split("=", 1) for entry in shown.split("\0") if entry)
    return {name: everything[name] for name in names}


@pytest.mark.parametrize("tool", ["mlflow", "shell"])
def test_an_mlflow_script_by_hand_logs_to_the_server(
    environment: RunningEnvironment, tmp_path: Path, tool: str
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("by-hand", f"by-hand-{tool}"))
    by_hand(environment, tool, "python script.py", tmp_path)
    client = MlflowClient(environment.contract.tracking.address.internal)
    experiment = client.get_experiment_by_name(f"by-hand-{tool}")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"answer": 42}
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("tool", ["metaflow", "shell"])
def test_a_flow_by_hand_keeps_its_data_in_the_environment(
    environment: RunningEnvironment, tmp_path: Path, tool: str
) -> None:
    name = f"ByHand{tool.capitalize()}Flow"
    (tmp_path / "flow.py").write_text(FLOW.replace("ByHandFlow", name))
    done = by_hand(environment, tool, "python flow.py run", tmp_path)
    assert "kept" in done.stdout
    store = environment.platform.home("local") / "data" / "artifacts" / "metaflow"
    assert list(store.rglob(f"{name}/*/end"))
    assert not (tmp_path / ".metaflow").exists()


def test_mlflow_needs_only_its_own_variables(environment: RunningEnvironment, tmp_path: Path) -> None:
    url = environment.contract.tracking.address.internal
    assert exported(environment, "mlflow", tmp_path) == {"MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url}


def test_airflow_by_hand_uses_the_environment(environment: RunningEnvironment, tmp_path: Path) -> None:
    home = environment.platform.home("local")
    variables = exported(environment, "airflow", tmp_path)
    assert Path(variables["AIRFLOW_HOME"]) == home / "airflow"
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith(f"sqlite:///{home}/airflow/airflow.db")
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path)
    assert variables["MLFLOW_TRACKING_URI"] == environment.contract.tracking.address.internal


def test_airflow_itself_reads_the_export(environment: RunningEnvironment, tmp_path: Path) -> None:
    # The first run of a DAG file makes Airflow's own environment, where it is not in the cache yet.
    (tmp_path / "dag.py").write_text("from airflow.sdk import DAG\n\nDAG('empty')\n")
    environment.trackbed("run", "dag.py", "--help", cwd=tmp_path, timeout=280)
    for tool in ("airflow", "shell"):
        done = by_hand(environment, tool, "airflow config get-value core parallelism", tmp_path)
        assert done.stdout.strip().splitlines()[-1] == str(environment.contract.pools["default"].slots)
    assert by_hand(environment, "shell", "command -v python", tmp_path).stdout.strip() == str(EXECUTABLES / "python")


def test_an_export_does_not_build_airflow(environment: RunningEnvironment, tmp_path: Path) -> None:
    fresh = Project(tmp_path, {**environment.variables, "TRACKBED_CACHE": str(tmp_path / "cache")})
    done = fresh.trackbed("environment", "--export", "airflow")
    assert "AIRFLOW_HOME" in done.stdout
    assert "VIRTUAL_ENV" not in done.stdout
    assert "trackbed run" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_evaluating_an_export_again_changes_nothing(environment: RunningEnvironment, tmp_path: Path) -> None:
    uri = environment.variables["TRACKBED_ENVIRONMENT"]
    once = by_hand(environment, "airflow", "echo $PATH; echo $PYTHONPATH", tmp_path).stdout
    again = f'eval "$(trackbed environment -e {uri} --export airflow)"; echo $PATH; echo $PYTHONPATH'
    assert by_hand(environment, "airflow", again, tmp_path).stdout == once


def test_pulumi_without_a_project_is_a_clear_error(environment: RunningEnvironment, tmp_path: Path) -> None:
    done = environment.trackbed("environment", "--export", "pulumi", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"there is no Pulumi.yaml in {tmp_path} or above it" in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
