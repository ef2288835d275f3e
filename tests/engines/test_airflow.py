"""Airflow DAGs as their users write them, each through `trackbed run` with the real Airflow on a real environment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import requests
from support import RunningEnvironment
from trackbed.engine_environments import environment_for
from trackbed.engines import Program, airflow

PROGRAMS = Path(__file__).parents[1] / "programs" / "airflow"
TRACKBED = Path(sys.executable).parent / "trackbed"

# Of the examples that Airflow ships: those that need no service, no plugin, no other file's DAG and no person.
EXAMPLES = (
    "tutorial",
    "example_xcom",
    "tutorial_taskflow_api",
    "example_branch_labels",
    "example_complex",
    "example_display_name",
    "example_dynamic_task_mapping",
    "example_dynamic_task_mapping_with_no_taskflow_operators",
    "example_latest_only_with_trigger",
    "example_nested_branch_dag",
    "example_setup_teardown",
    "example_setup_teardown_taskflow",
    "example_simplest_dag",
    "example_skip_dag",
    "example_task_group",
    "example_task_group_decorator",
    "example_time_delta_sensor_async",
    "example_xcomargs",
    "tutorial_dag",
    "tutorial_taskflow_templates",
)
STANDARD_EXAMPLES = (
    "example_bash_decorator",
    "example_bash_operator",
    "example_branch_datetime_operator",
    "example_branch_day_of_week_operator",
    "example_branch_operator",
    "example_branch_operator_decorator",
    "example_latest_only",
    "example_python_decorator",
    "example_python_operator",
    "example_sensor_decorator",
    "example_short_circuit_decorator",
    "example_short_circuit_operator",
)


class Runner:
    """Runs programs of tests/programs/airflow from a copy, which no run may litter."""

    def __init__(self, environment: RunningEnvironment, directory: Path) -> None:
        self._environment = environment
        self._dags = directory / "dags"
        shutil.copytree(PROGRAMS, self._dags, ignore=shutil.ignore_patterns("__pycache__"))

    def __call__(self, name: str, *arguments: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
        done = self._environment.trackbed("run", str(self._dags / f"{name}.py"), *arguments, check=False)
        assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def run(environment, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(environment, tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def several(run, environment) -> str:
    """What a run of a file of several DAGs prints, with a date and a conf."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(environment.variables, "AIRFLOW_VAR_COLOUR", "blue")
        return run("several_dags", "--logical-date", "2026-01-31", "--conf", '{"factor": 10}').stdout


@pytest.fixture(scope="module")
def failed(run) -> str:
    """What a run of a file prints one of whose DAGs fails, and another one has nothing to do."""
    return run("fails", succeeds=False).stdout


@pytest.fixture(scope="module")
def old(run, environment) -> subprocess.CompletedProcess[str]:
    """A run, today, of a file of several DAGs for Airflow 1.10 and 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(environment.variables, "AIRFLOW_VAR_GREETING", "moin")
        return run("old_dags", "--logical-date", str(day(0)))


def states(output: str, dag: str) -> dict[str, tuple[str, str]]:
    """Return state and number of tries of each task, from the table at the end of a DAG's run."""
    table = re.search(rf"^task +state +tries +seconds\n((?:.+\n)+){dag}: (?:success|failed)", output, re.MULTILINE)
    assert table, output
    rows = re.findall(r"^(\S+)  +([a-z]+(?: [a-z]+)*)  +(\d+|-)  +(?:[\d.]+|-)$", table[1], re.MULTILINE)
    return {task: (state, tries) for task, state, tries in rows}


def outcomes(output: str) -> list[tuple[str, str]]:
    """Return the DAGs of a run and how each ended, in order; the lines of tasks say how long these took."""
    return re.findall(r"^(\w+): (success|failed)(?:; failed tasks: .*)?$", output, re.MULTILINE)


def removed(output: str) -> set[tuple[str, int]]:
    """Return names that are gone from Airflow 3, with the line of the DAG that each was told with."""
    found = re.findall(r"(\w+)\.py:(\d+): warning: `([^`]+)` is gone from Airflow 3; (?:write|use|leave)", output)
    assert len({(file, name) for file, _, name in found}) == len(found), "each name is told once"
    return {(name, int(line)) for _, line, name in found}


def line_of(program: str, text: str) -> int:
    lines = (PROGRAMS / f"{program}.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_every_dag_of_a_file_runs_in_the_order_of_the_file(several):
    assert outcomes(several) == [
        *(("taskflow_etl", "success"), ("classic", "success"), ("branching", "success"), ("mapping", "success")),
        *(("controller", "success"), ("target", "success")),
    ]


def test_taskflow_with_a_date_and_a_conf(several):
    assert "[load] Total order value is: 12367.00 on 2026-01-31" in several
    assert states(several, "taskflow_etl") == dict.fromkeys(("extract", "transform", "load"), ("success", "1"))
    assert several.index("load: started") < several.index("[load] Total") < several.index("load: success")


def test_classic_operators_templates_and_retries(several):
    assert "2026/01/31 here" in several
    assert "2026-01-31 plus 7 is 2026-02-07" in several
    assert "colour blue: TEMPLATED" in several
    assert "RuntimeError: the first try fails" in several and "[flaky] worked at try 2" in several
    assert "dies_once was killed by signal 9" in several and "[dies_once] lived at try 2" in several
    found = states(several, "classic")
    assert found["flaky"] == found["dies_once"] == ("success", "2")
    assert found["closing.say[0]"] == found["closing.say[1]"] == ("success", "1")
    assert "mapped one" in several and "mapped two" in several


def test_branches_trigger_rules_and_skips(several):
    found = {task: state for task, (state, _) in states(several, "branching").items()}
    skipped = {"quick", "inaccurate", "never"}
    assert {task for task, state in found.items() if state == "skipped"} == skipped
    assert {task for task, state in found.items() if state == "failed"} == {"breaks"}
    assert {task for task, state in found.items() if state == "success"} == {
        *("choose", "accurate", "repair", "report", "join", "stop")
    }


def test_mapped_tasks_run_side_by_side_in_processes_of_their_own(several):
    assert "[sum_it] total was 14" in several
    assert "[sum_it] ran side by side: True" in several
    assert "doubled 20" in several and "doubled 40" in several
    assert {f"add_one[{index}]" for index in range(4)} < set(states(several, "mapping"))


def test_a_dag_triggers_another_one_of_its_file(several):
    assert several.count("Remotely received value: Hello World") == 1
    assert several.count("Remotely received value") == 1, "the target does not run a second time by itself"


def test_one_dag_of_a_file_can_be_chosen(run):
    done = run("several_dags", "--dag-id", "target", "--conf", '{"message": "direct"}')
    assert "Remotely received value: direct" in done.stdout
    assert outcomes(done.stdout) == [("target", "success")]


def test_a_failure_is_a_failure(failed):
    assert states(failed, "fails") == {
        "broken": ("failed", "2"),
        "after": ("upstream failed", "-"),
        "beside": ("success", "1"),
    }
    assert "RuntimeError: it always fails" in failed
    assert "callback: the run failed in broken" in failed
    assert "fails: failed; failed tasks: broken" in failed
    assert "beside ran" in failed and "must not run" not in failed


def test_a_date_before_every_start_date_is_told(failed):
    assert re.search(r"later: no task was due at \S+: their start_date is later; give a later --logical-date", failed)


def test_tasks_log_to_the_tracking_server(run, environment):
    done = run("training")
    best = re.search(r"\[best\] best run (\w+)", done.stdout)
    assert best
    url = environment.contract.tracking.address.external
    found = requests.get(f"{url}/api/2.0/mlflow/runs/get", params={"run_id": best[1]}, timeout=30).json()["run"]
    assert found["info"]["status"] == "FINISHED"
    assert {metric["key"] for metric in found["data"]["metrics"]} == {"accuracy"}
    version = {"name": "airflow_iris", "version": "1"}
    model = requests.get(f"{url}/api/2.0/mlflow/model-versions/get", params=version, timeout=30).json()
    assert model["model_version"]["run_id"] == best[1]


def day(offset: int) -> date:
    """Return a day relative to today: `days_ago` makes start dates that a fixed logical date cannot follow."""
    return datetime.now(UTC).date() + timedelta(days=offset)


def test_an_etl_of_airflow_1(run):
    today, yesterday, tomorrow = day(0), day(-1), day(1)
    done = run("old_etl", "--logical-date", str(today))
    assert f"[transform] execution date is {today}" in done.stdout
    assert f"[transform] from {yesterday} to {tomorrow} via {tomorrow}" in done.stdout
    assert "[load] loaded 16" in done.stdout
    assert f"report of {today} yesterday={yesterday} at {today.year}" in done.stdout
    assert removed(done.stdout + done.stderr) >= {
        ("airflow.operators.bash_operator.BashOperator", line_of("old_etl", "import BashOperator")),
        ("airflow.operators.dummy_operator.DummyOperator", line_of("old_etl", "import DummyOperator")),
        ("airflow.operators.python_operator.PythonOperator", line_of("old_etl", "import PythonOperator")),
        ("airflow.utils.dates.days_ago", line_of("old_etl", '"start_date": days_ago')),
        ("DAG(schedule_interval=...)", line_of("old_etl", "dag = DAG(")),
        ("DAG(concurrency=...)", line_of("old_etl", "dag = DAG(")),
        ("Operator(provide_context=...)", line_of("old_etl", "t1 = PythonOperator")),
        ("execution_date", line_of("old_etl", 'context["execution_date"]')),
        ("yesterday_ds", line_of("old_etl", "{{ yesterday_ds }}")),
    }


def test_templates_of_airflow_1(old):
    today, yesterday, tomorrow = day(0), day(-1), day(1)
    assert f"window {yesterday} {tomorrow} {today:%Y%m%d} {tomorrow:%A}" in old.stdout
    assert "Parameter I passed in" in old.stdout and f"week {day(7)}" in old.stdout
    assert f"moin {yesterday:%Y%m%d}" in old.stdout


def test_sensors_branches_and_custom_operators_of_airflow_1(old):
    assert f"[hello] Hello old_branch from {day(0)}" in old.stdout
    found = states(old.stdout, "old_branch")
    assert found["old_times"][0] == found["never"][0] == "skipped"
    assert found["join"][0] == found["wait_for_marker"][0] == "success"
    assert {name for name, _ in removed(old.stdout + old.stderr)} >= {
        "airflow.contrib.sensors.file_sensor.FileSensor",
        "airflow.utils.decorators.apply_defaults",
        "TriggerRule.NONE_FAILED_OR_SKIPPED",
        "DagRun.execution_date",
    }


def test_decorators_of_airflow_2(old):
    assert f"[show] Total order value is: 734.48 on {day(0)}" in old.stdout
    assert {name for name, _ in removed(old.stdout + old.stderr)} >= {
        "airflow.operators.dummy.DummyOperator",
        "DAG(default_view=...)",
        "TaskInstance.execution_date",
    }


def test_an_import_error_is_shown_as_airflow_shows_it(run):
    done = run("does_not_import", succeeds=False)
    assert "Airflow cannot import" in done.stderr and "SubDAGs are gone from Airflow 3" in done.stderr
    assert f'does_not_import.py", line {line_of("does_not_import", "SubDag")}' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--logical-date", "yesterday"), "'yesterday' is no date; give it as 2026-01-31"),
        (("--conf", "{"), "'{' is not JSON"),
        (("--conf", "[1]"), "is JSON but no object"),
        (("--dags", "x"), "unrecognized arguments: --dags x"),
    ],
)
def test_unusable_arguments_are_told(run, arguments: tuple[str, str], told: str):
    done = run("several_dags", *arguments, succeeds=False)
    assert done.returncode == 2
    assert told in done.stderr


def test_an_unknown_dag_id_is_told_with_the_known_ones(run):
    done = run("several_dags", "--dag-id", "targets", succeeds=False)
    assert "the file defines no DAG 'targets'; it defines: taskflow_etl, classic, " in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_task_outlives_its_run(environment, tmp_path: Path, number: signal.Signals):
    dag = shutil.copy(PROGRAMS / "sleeps.py", tmp_path)
    running = subprocess.Popen(
        [TRACKBED, "run", str(dag)], stdout=subprocess.PIPE, text=True, env=environment.variables, cwd=tmp_path
    )
    assert running.stdout is not None
    task = 0
    for line in running.stdout:
        if found := re.search(r"task process (\d+)", line):
            task = int(found[1])
            break
    assert Path(f"/proc/{task}").exists()
    os.kill(running.pid, number)
    running.wait(60)
    while Path(f"/proc/{task}").exists():
        time.sleep(0.05)
    assert running.returncode == (130 if number == signal.SIGTERM else -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_that_airflow_ships(environment, name: str):
    run_example(environment, "airflow/example_dags", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", STANDARD_EXAMPLES)
def test_examples_of_the_standard_operators(environment, name: str):
    run_example(environment, "airflow/providers/standard/example_dags", name)


def run_example(environment, package: str, name: str) -> None:
    packages = next(environment_for("airflow", Path("/")).glob("lib/python*/site-packages"))
    done = environment.trackbed("run", str(packages / package / f"{name}.py"))
    ended = re.findall(r"^\S+: (success|failed)", done.stdout.split("\ntask ")[-1], re.MULTILINE)
    assert ended and set(ended) == {"success"}, done.stdout


@pytest.mark.parametrize(
    ("text", "recognised"),
    [
        ("from airflow import DAG\ndag = DAG('a')", True),
        ("from airflow import models\nwith models.DAG('a') as dag:\n    pass", True),
        ("import airflow\ndag = airflow.DAG('a')", True),
        ("from airflow.sdk import dag\n@dag\ndef a(): ...\na()", True),
        ("from airflow.decorators import dag\n@dag(schedule=None)\ndef a(): ...\na()", True),
        ("from airflow.sdk import DAG as D\nwith D('a'):\n    pass", True),
        ("import airflow.sdk as af\n@af.dag()\ndef a(): ...\na()", True),
        ("from airflow.hooks.base import BaseHook\nprint(BaseHook)", False),
        ("from networkx import DAG\nDAG('airflow')", False),
        ("import airflow", False),
    ],
)
def test_a_dag_file_is_recognised_by_its_syntax(tmp_path: Path, text: str, recognised: bool):
    file = tmp_path / "program.py"
    file.write_text(text)
    assert airflow.recognises(Program(file)) is recognised
