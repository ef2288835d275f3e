"""Metaflow flows through `trackbed run`: the tool's own command line, output and exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import metaflow
import pytest
from support import EXECUTABLES, ROOT, RunningEnvironment
from trackbed.engines import Program, find_engine
from trackbed.engines.metaflow import metaflow_variables

FLOWS = ROOT / "tests" / "programs" / "metaflow"
TUTORIALS = Path(metaflow.__file__).parent / "tutorials"

CLIENT = """\
import mlflow
from metaflow import Flow, get_namespace
from metaflow.cards import get_cards
run = Flow({flow!r}).latest_successful_run
print({expression})
"""


def ask_client(environment: RunningEnvironment, directory: Path, flow: str, expression: str) -> str:
    """What a script sees of the latest run through Metaflow's own client."""
    script = directory / "client.py"
    script.write_text(CLIENT.format(flow=flow, expression=expression), encoding="utf-8")
    return environment.trackbed("run", str(script), cwd=directory).stdout.strip()


def test_parameters_and_included_files(environment: RunningEnvironment, tmp_path: Path):
    names = tmp_path / "names.txt"
    names.write_text("Ada\nAlan\n", encoding="utf-8")
    done = environment.trackbed(
        "run",
        str(FLOWS / "greeting.py"),
        *("run", "--who", "Grace", "--times", "2", "--options", '{"mark": "?"}', "--names", str(names)),
        cwd=tmp_path,
    )
    assert done.stdout.count("Hello Grace?") == 2
    assert "Hello Alan" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]  # nothing is left beside the person's files


def test_other_commands_of_the_tool(environment: RunningEnvironment):
    shown = environment.trackbed("run", str(FLOWS / "report.py"), "show")
    assert "Step join" in shown.stdout + shown.stderr
    helped = environment.trackbed("run", str(FLOWS / "greeting.py"), "run", "--help")
    assert "Who is greeted" in helped.stdout


def test_foreach_with_retries_and_tags_uses_as_many_workers_as_the_pool_has_slots(
    environment: RunningEnvironment, tmp_path: Path
):
    done = environment.trackbed("run", str(FLOWS / "squares.py"), "run", "--with", "retry", "--tag", "a", "--tag", "b")
    assert "sum 14" in done.stdout
    seen = ask_client(
        environment, tmp_path, "SquaresFlow", "run.data.results, sorted(run.user_tags), run.data.most_at_once"
    )
    assert seen == f"[0, 1, 4, 9] ['a', 'b'] {environment.contract.pools['default'].slots}"


def test_the_number_of_workers_can_be_given(environment: RunningEnvironment, tmp_path: Path):
    environment.trackbed("run", str(FLOWS / "squares.py"), "run", "--max-workers", "1", "--count", "2")
    assert ask_client(environment, tmp_path, "SquaresFlow", "run.data.most_at_once") == "1"


def test_branches_and_cards(environment: RunningEnvironment, tmp_path: Path):
    flow = str(FLOWS / "report.py")
    done = environment.trackbed("run", flow, "run", "--run-id-file", str(tmp_path / "id"), cwd=tmp_path)
    assert "balance 40" in done.stdout
    run = (tmp_path / "id").read_text(encoding="utf-8")

    # From another directory than the run's: cards belong to the environment.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment.trackbed("run", flow, "card", "get", f"{run}/join", "card.html", cwd=elsewhere)
    assert "<html" in (elsewhere / "card.html").read_text(encoding="utf-8")
    cards = ask_client(environment, elsewhere, "ReportFlow", "len(get_cards(run['join'].task)[0].get()) > 1000")
    assert cards == "True"


def test_a_failing_flow_fails_and_resumes_where_it_stopped(environment: RunningEnvironment, tmp_path: Path):
    flow, address = str(FLOWS / "delivery.py"), tmp_path / "house"
    failed = environment.trackbed("run", flow, "run", "--address", str(address), check=False)
    assert failed.returncode == 1
    assert f"nobody at {address}" in failed.stdout
    address.touch()
    resumed = environment.trackbed("run", flow, "resume")
    assert "packing" not in resumed.stdout
    assert "delivered a parcel" in resumed.stdout


def test_retry_and_catch(environment: RunningEnvironment):
    done = environment.trackbed("run", str(FLOWS / "stubborn.py"))
    assert "not at the first attempt" in done.stdout
    assert "attempts 2 problem" in done.stdout


def test_a_flow_started_by_hand_is_seen_by_trackbed(environment: RunningEnvironment, tmp_path: Path):
    flow, by_hand = str(FLOWS / "greeting.py"), {**environment.variables, **metaflow_variables(environment.contract)}
    command = [sys.executable, flow, "run", "--tag", "by-hand", "--run-id-file", "id"]
    subprocess.run(command, env=by_hand, cwd=tmp_path, check=True, capture_output=True)
    run = (tmp_path / "id").read_text(encoding="utf-8")
    environment.trackbed("run", flow, "tag", "add", "--run-id", run, "reviewed")
    assert ask_client(environment, tmp_path, "GreetingFlow", "sorted(run.user_tags)") == "['by-hand', 'reviewed']"


@pytest.mark.parametrize("name", [None, "root"])
def test_a_flow_without_arguments_is_run_also_for_a_user_that_metaflow_refuses(
    environment: RunningEnvironment, tmp_path: Path, name: str | None
):
    bare = {k: v for k, v in environment.variables.items() if k not in ("USER", "USERNAME", "SUDO_USER", "LOGNAME")}
    if name:
        bare |= {"USER": name, "LOGNAME": name}
    command = [str(EXECUTABLES / "trackbed"), "run", str(FLOWS / "greeting.py")]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello world!" in done.stdout


def test_the_tutorials_that_metaflow_ships(environment: RunningEnvironment, tmp_path: Path):
    # Left out: 04 makes environments with conda, 05 wants a Kubernetes cluster, and from 06 on they are notebooks.
    for tutorial in ("00-helloworld", "01-playlist", "02-statistics", "03-playlist-redux"):
        shutil.copytree(TUTORIALS / tutorial, tmp_path / tutorial)

    hello = environment.trackbed("run", "00-helloworld/helloworld.py", "run", cwd=tmp_path)
    assert "Metaflow says: Hi!" in hello.stdout
    playlist = environment.trackbed("run", "01-playlist/playlist.py", "run", "--genre", "Comedy", cwd=tmp_path)
    assert "Comedy" in playlist.stdout
    environment.trackbed("run", "02-statistics/stats.py", "run", "--max-workers", str(os.cpu_count()), cwd=tmp_path)
    redux = environment.trackbed("run", "03-playlist-redux/playlist.py", "run", cwd=tmp_path)
    assert "Using analysis from 'Run('MovieStatsFlow/" in redux.stdout
    assert "Bonus Pick" in redux.stdout


FLOW_SOURCES = {
    "from metaflow import FlowSpec": "class F(FlowSpec): pass",
    "from metaflow import *": "class F(FlowSpec): pass",
    "from metaflow import FlowSpec as Spec": "class F(Spec): pass",
    "import metaflow": "class F(metaflow.FlowSpec): pass",
    "import metaflow as mf, mlflow": "class F(mf.FlowSpec): pass",
    "from metaflow.flowspec import FlowSpec": "class Base(FlowSpec): pass\nclass F(Base): pass",
    "from metaflow import FlowSpec, FlowMutator": "class M(FlowMutator): pass\n@M\nclass F(FlowSpec): pass",
    "from base import Flow\nfrom metaflow import step": "class F(Flow):\n    @step\n    def start(self): pass",
    "try:\n    from metaflow import FlowSpec\nexcept ImportError: raise": "if True:\n    class F(FlowSpec): pass",
}


@pytest.mark.parametrize("imports", FLOW_SOURCES)
def test_flows_are_recognised_in_every_style(tmp_path: Path, imports: str):
    file = tmp_path / "flow.py"
    file.write_text(f"{imports}\n{FLOW_SOURCES[imports]}\n", encoding="utf-8")
    assert find_engine(Program(file)).NAME == "Metaflow flow"


def test_a_script_that_only_reads_flows_is_none(tmp_path: Path):
    file = tmp_path / "read.py"
    file.write_text("import mlflow\nfrom metaflow import Flow\nclass FlowSpec: pass\nclass F(FlowSpec): pass\n")
    assert find_engine(Program(file)).NAME == "MLflow script"
