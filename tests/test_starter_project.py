"""The starter project: made, run from training to a served prediction, and run again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import RunningEnvironment


@pytest.fixture(scope="module")
def starter(environment: RunningEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("work") / "my digits"
    environment.trackbed("new-project", str(directory), "--environment", "local")
    return directory


def test_the_project_names_its_environment_and_imports_no_trackbed(starter: Path):
    assert (starter / "trackbed.yaml").read_text(encoding="utf-8").endswith('environment: "local"\n')
    for file in starter.glob("*.py"):
        names = [
            name
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
        ]
        assert not any(name and name.startswith("trackbed") for name in names)


def test_a_directory_with_something_in_it_is_refused(environment: RunningEnvironment, starter: Path):
    before = sorted(path.name for path in starter.iterdir())
    done = environment.trackbed("new-project", str(starter), check=False)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert sorted(path.name for path in starter.iterdir()) == before


def test_from_training_to_a_served_prediction(environment: RunningEnvironment, starter: Path):
    server = MlflowClient(environment.contract.tracking.address.internal)
    early = environment.trackbed("run", "predict.py", cwd=starter, check=False)
    assert early.returncode == 1
    assert "run flow.py first" in early.stderr
    assert "Traceback" not in early.stderr

    first = environment.trackbed("run", "flow.py", "run", "--n_trials", "3", cwd=starter)
    assert "The first champion" in first.stdout
    version = server.get_model_version_by_alias("digits", "champion")
    run = server.get_run(version.run_id)
    assert run.data.metrics["held_out_accuracy"] > 0.95
    assert run.data.params["n_trials"] == "3"
    families = server.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{version.run_id}'")
    assert len(families) == 4

    predicted = environment.trackbed("run", "predict.py", cwd=starter)
    assert "predicted 7, true label 7" in predicted.stdout
    assert "of 360 held-out images are right" in predicted.stdout

    # The same model once more: as good as the champion is not better.
    second = environment.trackbed("run", "flow.py", "resume", "evaluate", cwd=starter)
    assert f"it does not beat version {version.version}" in second.stdout
    assert server.get_model_version_by_alias("digits", "champion").version == version.version
    assert len(server.search_model_versions("name = 'digits'")) == 2

    card = starter / "card.html"
    environment.trackbed("run", "flow.py", "card", "get", "evaluate", str(card), cwd=starter)
    assert "data:image/png" in card.read_text(encoding="utf-8")
