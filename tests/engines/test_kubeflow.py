"""Kubeflow pipelines as their users write them, each through `trackbed run` on a real environment."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trackbed.engine_environments import environment_for

PROGRAMS = Path(__file__).parents[1] / "programs" / "kubeflow"

# Stands in for a container engine: runs the command on this machine, with paths of mounts as they are here.
CONTAINER_ENGINE = """\
#!{python}
import json, os, pathlib, subprocess, sys
words = sys.argv[1:]
if words[0] == "info":
    sys.exit(0)
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + chr(10))
entry, environment, words = [], {{"PATH": "/usr/bin:/bin"}}, words[1:]
while words[0].startswith("--"):
    option, *words = words
    if option == "--rm":
        continue
    value, *words = words
    if option == "--entrypoint":
        entry = [value]
    if option == "--env":
        environment[value] = os.environ[value]
    if option == "--volume":
        here, there = value.split(":")
        assert os.path.exists(here), here
        words = [word.replace(there, here) for word in words]
sys.exit(subprocess.run([*entry, *words[1:]], env=environment).returncode)
"""


@pytest.fixture
def directory(tmp_path: Path, environment) -> Iterator[Path]:
    """A person's directory with the programs in it, which no run may litter."""
    programs = tmp_path / "work"
    shutil.copytree(PROGRAMS, programs, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(programs.rglob("*"))
    yield programs
    assert sorted(programs.rglob("*")) == before


@pytest.fixture
def container_engine(tmp_path: Path, environment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A podman on PATH; its log has the command line of each container."""
    log = tmp_path / "containers.log"
    podman = tmp_path / "bin" / "podman"
    podman.parent.mkdir()
    podman.write_text(CONTAINER_ENGINE.format(python=sys.executable, log=str(log)))
    podman.chmod(0o755)
    monkeypatch.setitem(environment.variables, "PATH", f"{podman.parent}:{environment.variables['PATH']}")
    return log


def summary_of(output: str) -> str:
    """The part that tells what became of the run."""
    return output[output.rindex("\nPipeline ") :]


def files_of(output: str) -> Path:
    return Path(re.findall(r"^Files: (.*)$", output, re.MULTILINE)[-1])


def compiled(source: Path, function: str, target: Path) -> Path:
    """Compile a pipeline with the real compiler."""
    python = environment_for("kubeflow", source.parent) / "bin" / "python"
    code = (
        f"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(source.parent)!r})\n"
        f"import {source.stem}; from kfp.compiler import Compiler\n"
        f"Compiler().compile({source.stem}.{function}, {str(target)!r})"
    )
    subprocess.run([python, "-c", code], check=True, capture_output=True)
    return target


def test_arguments_are_typed_and_outputs_shown(environment, directory: Path) -> None:
    run = ["run", "hello.py", "--recipient", "World", "--times=2", "--excited", "false"]
    done = environment.trackbed(*run, cwd=directory)
    assert "Output = 'Hello, World. Hello, World.'" in summary_of(done.stdout)
    assert re.search(r"say-hello +succeeded", summary_of(done.stdout))
    root = Path(environment.contract.artifacts.uri.removeprefix("file://"))
    assert files_of(done.stdout).parent == root / "kubeflow"
    assert (files_of(done.stdout) / "say-hello" / "executor_output.json").is_file()


def test_a_compiled_pipeline_runs_like_its_source(environment, directory: Path, tmp_path: Path) -> None:
    pipeline = compiled(directory / "hello.py", "hello_pipeline", tmp_path / "hello.yaml")
    done = environment.trackbed("run", str(pipeline), "--recipient", "YAML", cwd=directory)
    assert "Output = 'Hello, YAML!'" in summary_of(done.stdout)


def test_unusable_arguments_are_all_told_with_what_the_pipeline_takes(environment, directory: Path) -> None:
    done = environment.trackbed("run", "hello.py", "--times", "two", "--exited", "true", cwd=directory, check=False)
    assert done.returncode == 2
    assert "--times is 'two', which is not a whole number" in done.stderr
    assert "unknown argument --exited; did you mean --excited?" in done.stderr
    assert "--recipient is required (str)" in done.stderr
    assert re.search(r"--times INT +default: 1", done.stderr)
    assert "Traceback" not in done.stderr


def test_artifacts_metrics_and_packages_of_a_training_pipeline(environment, directory: Path) -> None:
    done = environment.trackbed("run", "iris.py", "--neighbors", "5", cwd=directory)
    accuracy = float(re.findall(r"Output = ([0-9.]+)", summary_of(done.stdout))[0])
    assert accuracy > 0.9
    files = files_of(done.stdout)
    assert (files / "load-data" / "train").read_text().count("\n") == 106
    assert (files / "train-model" / "model").stat().st_size > 0
    outputs = json.loads((files / "evaluate" / "executor_output.json").read_text())
    assert outputs["artifacts"]["metrics"]["artifacts"][0]["metadata"]["accuracy"] == accuracy
    assert outputs["parameterValues"]["deploy"] is True


def test_loops_conditions_and_nested_pipelines(environment, directory: Path) -> None:
    done = environment.trackbed("run", "control_flow.py", "--numbers", "[2, 3, 4]", cwd=directory)
    text = summary_of(done.stdout)
    assert "Output = '29 is large'" in text  # of the outermost pipeline: the other is part of it
    assert len(re.findall(r"^  square +succeeded", text, re.MULTILINE)) == 3
    assert re.search(r"condition-\d+ +skipped +condition evaluated to False", text)


def test_a_pipeline_of_several_is_chosen_by_name(environment, directory: Path) -> None:
    run = ["run", "control_flow.py", "--pipeline", "squares", "--numbers", "[1, 2]"]
    assert "Output = 5" in summary_of(environment.trackbed(*run, cwd=directory).stdout)
    done = environment.trackbed("run", "control_flow.py", "--pipeline", "cubes", cwd=directory, check=False)
    assert done.returncode == 2
    assert "it has: squares, control_flow" in done.stderr


def test_components_log_to_the_tracking_server(environment, directory: Path) -> None:
    import mlflow

    done = environment.trackbed("run", "tracked.py", "--experiment", "kfp", "--alphas", "[1, 10, 100]", cwd=directory)
    client = mlflow.MlflowClient(environment.variables["MLFLOW_TRACKING_URI"])
    run = client.get_run(re.findall(r"Output = '(\w+)'", summary_of(done.stdout))[0])
    assert run.data.params == {"alphas": "3"}
    assert len(client.get_metric_history(run.info.run_id, "r2")) == 3
    assert client.get_experiment(run.info.experiment_id).name == "kfp"


def test_a_failed_task_fails_the_run_after_its_exit_handler(environment, directory: Path) -> None:
    done = environment.trackbed("run", "failing.py", cwd=directory, check=False)
    assert done.returncode == 1
    assert "No such file or directory: '/no/such/file'" in done.stdout
    assert "cleaning up after FAILED" in done.stdout
    assert re.search(r"load +failed", summary_of(done.stdout))
    assert re.search(r"clean-up +succeeded", summary_of(done.stdout))
    assert "never reached" not in done.stdout


def test_containers_and_python_components_in_one_pipeline(environment, directory: Path, container_engine: Path) -> None:
    done = environment.trackbed("run", "containers.py", "--greeting", "hi", cwd=directory)
    url = environment.variables["MLFLOW_TRACKING_URI"]
    assert f"Output = '{f'hi from python3 at {url}'.upper()}'" in summary_of(done.stdout)
    first, second = (json.loads(line) for line in container_engine.read_text().splitlines())
    assert "example.com/greeter:1" in first
    assert "example.com/shout:1" in second
    assert url not in " ".join(first)  # variables go by name


def test_without_a_container_engine_nothing_runs_and_the_components_are_named(
    environment, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environment.variables, "PATH", str(tmp_path))
    done = environment.trackbed("run", "containers.py", cwd=directory, check=False)
    assert done.returncode == 2
    assert "neither podman nor docker works" in done.stderr
    assert "write-data (image example.com/greeter:1)" in done.stderr
    assert "upper (image example.com/shout:1)" in done.stderr
    assert "Executing task" not in done.stdout


def test_version_1_hands_values_and_files_from_task_to_task(environment, directory: Path) -> None:
    done = environment.trackbed("run", "v1_calculator.py", "--a", "31", "--b=8", cwd=directory)
    assert "Output: 'quotient 2.0, remainder 9.0'" in summary_of(done.stdout)


def test_version_1_follows_conditions_loops_and_exit_handlers(environment, directory: Path) -> None:
    done = environment.trackbed("run", "v1_control_flow.py", "--count", "3", cwd=directory)
    said = re.findall(r"^said: (.*)$", done.stdout, re.MULTILINE)
    assert said == ["heads it is", "number 0", "number 1", "number 2", "it has Succeeded"]
    assert summary_of(done.stdout).count("skipped") == 1


def test_version_1_containers(environment, directory: Path, container_engine: Path) -> None:
    done = environment.trackbed("run", "v1_container_op.py", "--text", "good day", cwd=directory)
    assert r"said: 'good day\n'" in summary_of(done.stdout)
    assert "example.com/echo:1" in json.loads(container_engine.read_text())


def test_an_argo_workflow_is_refused_with_the_reason(environment, tmp_path: Path) -> None:
    workflow = tmp_path / "old.yaml"
    workflow.write_text("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {}\n")
    done = environment.trackbed("run", str(workflow), check=False)
    assert done.returncode == 1
    assert "run the Python file that it was compiled from" in done.stderr


def test_help_lists_the_pipelines_arguments(environment, directory: Path) -> None:
    help_text = environment.trackbed("run", "hello.py", "--help", cwd=directory).stdout
    assert "Arguments of the pipeline hello-pipeline" in help_text
    assert re.search(r"--recipient STR +required", help_text)
