from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tuning_ground import PROGRAMS, Ground, eventually, trial_processes


def double(name: str, low: float, high: float, **space: Any) -> dict[str, Any]:
    return {"name": name, "parameterType": "double", "feasibleSpace": {"min": low, "max": high, **space}}


def discrete(name: str, *values: float) -> dict[str, Any]:
    return {"name": name, "parameterType": "discrete", "feasibleSpace": {"list": list(values)}}


XY = [double("x", 0, 6), double("y", -4, 2)]


def recorded(ground: Ground, name: str) -> optuna.Study:
    assert ground.contract.tuning is not None
    storage = JournalStorage(JournalFileBackend(ground.contract.tuning.storage.removeprefix("journal:")))
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize(
    ("algorithm", "trials", "near"),
    [("random", 6, 6.0), ("tpe", 12, 3.0), ("cmaes", 12, 3.0)],
)
def test_the_best_trial_comes_near_the_optimum(
    ground: Ground, tmp_path: Path, algorithm: str, trials: int, near: float
) -> None:
    study = ground.write(
        tmp_path,
        f"near-{algorithm}",
        "quadratic.py",
        algorithm={"algorithmName": algorithm},
        seed=3,
        maxTrialCount=trials,
        parallelTrialCount=2,
        parameters=XY,
    )
    result = ground.result(study)
    assert result["outcome"] == "complete"
    assert result["trials"]["complete"] == trials
    assert result["best"]["value"] < near


def test_a_grid_tries_every_point_once_and_ends_by_itself(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "grid",
        "quadratic.py",
        algorithm={"algorithmName": "grid"},
        parameters=[
            {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "4"}},
            {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["plain", "steep"]}},
        ],
    )
    result = ground.result(study)
    assert result["best"]["parameters"] == {"x": 3, "kind": "plain"}
    assert result["best"]["value"] == 0
    tried = sorted((run["params"]["x"], run["params"]["kind"]) for run in ground.trials("grid"))
    assert tried == [(x, kind) for x in "234" for kind in ("plain", "steep")]


def test_trials_are_nested_runs_that_the_program_logs_to(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "svm",
        "digits_svm.py",
        objective={"type": "maximize", "objectiveMetricName": "accuracy"},
        algorithm={"algorithmName": "grid"},
        parameters=[discrete("gamma", 0.001, 1.0)],
    )
    told = ground.tune(study).stdout
    parent, trials = ground.parent("svm"), ground.trials("svm")
    assert [run["tags"]["mlflow.parentRunId"] for run in trials] == [parent["run_id"]] * 2
    assert {run["status"] for run in [parent, *trials]} == {"FINISHED"}
    # What the script logs and what the study chose are in one run, in the experiment that the script names.
    assert all(run["params"]["C"] == "1.0" for run in trials)
    experiment = ground.api("experiments/search", max_results=100, filter="name = 'digits-svm'")["experiments"][0]
    assert {run["experiment_id"] for run in [parent, *trials]} == {experiment["experiment_id"]}
    best = max(trials, key=lambda run: run["metrics"]["accuracy"])
    assert best["metrics"]["accuracy"] > 0.95
    assert parent["metrics"]["best_accuracy"] == best["metrics"]["accuracy"]
    assert parent["tags"]["best.gamma"] == "0.001"
    assert parent["tags"]["best.run"] == best["run_id"]
    assert f"{ground.url}/#/experiments/{experiment['experiment_id']}/runs/{best['run_id']}" in told
    plot = Path(next(line for line in told.splitlines() if line.startswith("plot: ")).removeprefix("plot: "))
    stored = next(ground.home.rglob(f"{parent['run_id']}/artifacts/{plot.name}"))
    assert stored.read_bytes() == plot.read_bytes()
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("program", ["tuned_flow.py", "tuned_project"])
def test_flows_and_projects_get_their_parameters_and_log_to_the_trial(
    ground: Ground, tmp_path: Path, program: str
) -> None:
    name = f"other-{program.removesuffix('.py')}"
    study = ground.write(tmp_path, name, program, algorithm={"algorithmName": "grid"}, parameters=[discrete("x", 2.5)])
    result = ground.result(study)
    assert result["best"]["value"] == 0.25
    (trial,) = ground.trials(name)
    assert (trial["metrics"]["loss"], trial["status"]) == (0.25, "FINISHED")


def test_as_many_trials_run_at_once_as_the_study_says(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "parallel",
        "quadratic.py",
        arguments=["--x", "${trialParameters.x}", "--seconds", "1.5"],
        algorithm={"algorithmName": "random"},
        parallelTrialCount=2,
        maxTrialCount=4,
        parameters=[double("x", 0, 6)],
    )
    ground.tune(study)
    spans = [
        [float(time) for time in re.findall(r"(?:from|until) ([\d.]+)", ground.log("parallel", number))]
        for number in range(4)
    ]
    together = [sum(start <= other[0] < end for other in spans) for start, end in spans]
    assert max(together) == 2


@pytest.mark.parametrize("moment", ["trial 1 started", "trial 0 complete"])
def test_a_killed_tuner_leaves_nothing_and_the_study_goes_on(ground: Ground, tmp_path: Path, moment: str) -> None:
    name = f"killed-{moment.replace(' ', '-')}"
    study = ground.write(
        tmp_path,
        name,
        "quadratic.py",
        arguments=["--x=${trialParameters.x}", "--seconds=0.7"],
        algorithm={"algorithmName": "grid"},
        parameters=[discrete("x", 1, 2, 3, 4, 5)],
    )
    output = tmp_path / "output"
    tuner = ground.start(study, output)
    eventually(lambda: moment in output.read_text(), moment)
    tuner.kill()
    tuner.wait()
    eventually(lambda: not trial_processes(), "the trials of the killed tuner end")

    result = ground.result(study)
    assert result["trials"]["complete"] == 5
    assert result["best"]["parameters"] == {"x": 3}
    trials = recorded(ground, name).trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(trial.params["x"] for trial in complete) == [1, 2, 3, 4, 5]
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    # One parent; one nested run for each trial, those that were cut off told apart.
    parent, runs = ground.parent(name), ground.trials(name)
    assert parent["status"] == "FINISHED"
    assert {run["tags"]["mlflow.parentRunId"] for run in runs} == {parent["run_id"]}
    finished = [run for run in runs if run["status"] == "FINISHED"]
    assert sorted(float(run["params"]["x"]) for run in finished) == [1, 2, 3, 4, 5]
    cut_off = [run["tags"]["trackbed.state"] for run in runs if run["status"] == "KILLED"]
    assert set(cut_off) == {"interrupted"}
    # A trial that was killed before its run was made has none.
    assert len(cut_off) <= result["trials"]["interrupted"]


def test_an_interrupt_ends_the_trials_and_says_how_to_go_on(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "interrupted",
        "quadratic.py",
        arguments=["--x=${trialParameters.x}", "--seconds=60"],
        algorithm={"algorithmName": "grid"},
        parameters=[discrete("x", 1, 2)],
    )
    output = tmp_path / "output"
    tuner = ground.start(study, output)
    eventually(lambda: "trial 1 started" in output.read_text(), "both trials run")

    second = ground.tune(study, check=False)
    assert second.returncode == 1
    assert f"is being tuned by the process {tuner.pid}" in second.stderr

    os.kill(tuner.pid, signal.SIGINT)
    assert tuner.wait(60) == 130
    assert not trial_processes()
    assert f"trackbed tune {study}" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert {run["status"] for run in ground.runs("interrupted")} == {"KILLED"}

    study.write_text(study.read_text().replace("seconds=60", "seconds=0"))
    assert ground.result(study)["trials"]["complete"] == 2


def test_too_many_failures_end_the_study_with_the_end_of_the_log(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "fragile",
        "fragile.py",
        algorithm={"algorithmName": "grid"},
        parallelTrialCount=1,
        maxFailedTrialCount=1,
        parameters=[{"name": "depth", "parameterType": "int", "feasibleSpace": {"min": 2, "max": 9}}],
    )
    done = ground.tune(study, check=False)
    assert done.returncode == 1
    assert "2 trials failed, and at most 1 may" in done.stderr
    assert "trial 1 failed: exited with status 3; depth=3" in done.stdout
    assert "| cannot allocate a tree of depth 3" in done.stdout
    assert str(ground.home / "logs" / "tuning" / "fragile" / "trial-1.log") in done.stdout
    assert "best trial: 0" in done.stdout
    assert sorted(run["status"] for run in ground.trials("fragile")) == ["FAILED", "FAILED", "FINISHED"]
    assert ground.parent("fragile")["status"] == "FAILED"


def test_a_trial_without_the_metric_has_failed(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "misnamed",
        "fragile.py",
        arguments=["--depth=${trialParameters.depth}", "--deepest=100", "--metric=lost"],
        algorithm={"algorithmName": "random"},
        maxTrialCount=50,
        parallelTrialCount=3,
        parameters=[{"name": "depth", "parameterType": "int", "feasibleSpace": {"min": 1, "max": 9}}],
    )
    done = ground.tune(study, check=False)
    assert done.returncode == 1
    assert "logged no metric 'loss' to its MLflow run (metrics logged: lost)" in done.stdout
    # As long as no trial has succeeded, a few failures are enough.
    assert "3 trials failed, and at most 2 may" in done.stderr


def test_the_study_ends_when_the_goal_is_reached(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "goal",
        "quadratic.py",
        objective={"type": "minimize", "objectiveMetricName": "loss", "goal": "1"},
        algorithm={"algorithmName": "grid"},
        parallelTrialCount=1,
        parameters=[discrete("x", 9, 2, 3, 4)],
    )
    result = ground.result(study)
    assert (result["outcome"], result["trials"]["complete"], result["best"]["parameters"]) == ("goal", 2, {"x": 2})


def test_early_stopping_ends_the_processes_of_poor_trials(ground: Ground, tmp_path: Path) -> None:
    study = ground.write(
        tmp_path,
        "pruned",
        "learning_curve.py",
        arguments=["--rate=${trialParameters.rate}", "--poor-epochs=600"],
        algorithm={"algorithmName": "grid"},
        earlyStopping={
            "algorithmName": "medianstop",
            "algorithmSettings": [{"name": "min_trials_required", "value": "2"}, {"name": "start_step", "value": "1"}],
        },
        parallelTrialCount=1,
        parameters=[discrete("rate", 0.1, 0.2, 0.9)],
    )
    result = ground.result(study)
    assert (result["trials"]["complete"], result["trials"]["pruned"]) == (2, 1)
    assert "all epochs done" in ground.log("pruned", 1)
    assert "all epochs done" not in ground.log("pruned", 2)
    assert not trial_processes()
    poor = next(run for run in ground.trials("pruned") if run["params"]["rate"] == "0.9")
    assert (poor["status"], poor["tags"]["trackbed.state"]) == ("KILLED", "pruned")


def test_a_study_can_grow_but_its_search_space_cannot_change(ground: Ground, tmp_path: Path) -> None:
    def study(trials: int, high: float) -> Path:
        return ground.write(
            tmp_path,
            "changed",
            "quadratic.py",
            algorithm={"algorithmName": "random"},
            seed=5,
            maxTrialCount=trials,
            parameters=[double("x", 0, high)],
        )

    ground.tune(study(2, 6))
    refused = ground.tune(study(2, 7), check=False)
    assert refused.returncode == 1
    assert "the study 'changed' has 2 trials of another search space" in refused.stderr
    assert "parameter x: was double 0.0 to 6.0" in refused.stderr
    assert ground.result(study(4, 6))["trials"]["complete"] == 4
    values = [trial.params["x"] for trial in recorded(ground, "changed").trials]
    assert len(set(values)) == 4, "a seed must not make a resumed study repeat itself"


def test_a_whole_katib_experiment_runs_with_a_program_added(ground: Ground, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"""\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {{namespace: kubeflow, name: katib-style}}
spec:
  program: {PROGRAMS / "quadratic.py"}
  objective: {{type: minimize, goal: 0.001, objectiveMetricName: loss}}
  algorithm: {{algorithmName: random, algorithmSettings: [{{name: random_state, value: "10"}}]}}
  parallelTrialCount: 2
  maxTrialCount: 2
  maxFailedTrialCount: 3
  parameters:
    - name: x
      parameterType: double
      feasibleSpace: {{min: "0.01", max: "0.06", distribution: logUniform}}
  trialTemplate:
    primaryContainerName: training-container
""")
    done = ground.tune(path)
    assert "trialTemplate has a meaning for Katib only" in done.stdout
    assert len(ground.trials("katib-style")) == 2
