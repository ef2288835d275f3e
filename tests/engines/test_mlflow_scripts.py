"""Plain scripts that use MLflow, through `trackbed run`."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import ROOT, RunningEnvironment
from trackbed.engines import Program, find_engine

SCRIPTS = ROOT / "tests" / "programs" / "mlflow"


@pytest.fixture
def server(environment: RunningEnvironment) -> MlflowClient:
    return MlflowClient(environment.contract.tracking.address.internal)


def test_tracking(environment: RunningEnvironment, server: MlflowClient, tmp_path: Path):
    done = environment.trackbed("run", str(SCRIPTS / "tracking.py"), "0.7", cwd=tmp_path)
    assert "config value 0.7" in done.stdout
    experiment = server.get_experiment_by_name("quickstart")
    assert experiment is not None
    [run] = server.search_runs([experiment.experiment_id], "params.config_value = '0.7'")
    assert run.info.status == "FINISHED"
    assert [metric.value for metric in server.get_metric_history(run.info.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    assert [file.path for file in server.list_artifacts(run.info.run_id, "data")] == ["data/features.json"]
    assert list(tmp_path.iterdir()) == []  # all of it went to the server


def test_the_exit_code_is_the_programs(environment: RunningEnvironment):
    done = environment.trackbed("run", str(SCRIPTS / "tracking.py"), "0.1", "3", check=False)
    assert done.returncode == 3


def test_autologging(environment: RunningEnvironment, server: MlflowClient):
    done = environment.trackbed("run", str(SCRIPTS / "autologging.py"))
    assert "score" in done.stdout
    experiment = server.get_experiment_by_name("autologging")
    assert experiment is not None
    [run] = server.search_runs([experiment.experiment_id])
    assert run.data.params["max_iter"] == "300"
    assert run.data.metrics["training_accuracy_score"] > 0.9


def test_registry(environment: RunningEnvironment, server: MlflowClient):
    done = environment.trackbed("run", str(SCRIPTS / "registry.py"))
    assert "prediction [6.0, 7.0]" in done.stdout
    assert server.get_model_version_by_alias("add-five", "tested").status == "READY"


@pytest.mark.parametrize(
    "source",
    ["import mlflow", "import mlflow.sklearn as ms", "from mlflow import log_metric", "def f():\n import mlflow"],
)
def test_scripts_are_recognised_wherever_they_import_mlflow(tmp_path: Path, source: str):
    file = tmp_path / "script.py"
    file.write_text(source, encoding="utf-8")
    assert find_engine(Program(file)).NAME == "MLflow script"


def test_a_program_of_no_known_kind_is_told_what_was_looked_for(environment: RunningEnvironment, tmp_path: Path):
    file = tmp_path / "plain.py"
    file.write_text("import json\n", encoding="utf-8")
    done = environment.trackbed("run", str(file), check=False)
    assert done.returncode == 1
    for looked_for in ("Metaflow flow", "MLflow project", "a Python file that imports mlflow"):
        assert looked_for in done.stderr
    assert "Traceback" not in done.stderr
