"""Environments on one machine do not disturb each other; taking one away keeps its data until told otherwise."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator

import pytest
from platform_ground import (
    create_experiment,
    eventually,
    has_experiment,
    healthy,
    kill,
    processes_of,
    server_pid,
    spec,
    start,
    state_directory,
    supervisor_pid,
    urls,
)
from support import EXECUTABLES, Project, make_project

SERVER = "{}-tracking-server"


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Project]]:
    """Two projects that both have a `local`, and a `staging` in the first; brought up all at the same time."""
    first, second = (make_project(tmp_path_factory.mktemp(name)) for name in ("first", "second"))
    environments = [(first, "local"), (first, "staging"), (second, "local")]
    for project, name in environments:
        project.write_spec(name, spec(port=5400))
    commands = [start(project, "up", name, "--yes") for project, name in environments]
    for command in commands:
        said = command.communicate(timeout=240)[0]
        assert command.returncode == 0, said
    yield first, second
    for project, name in environments:
        project.trackbed("down", name, "--delete-data", "--yes")


@pytest.fixture
def first(neighbours: tuple[Project, Project]) -> Project:
    return neighbours[0]


@pytest.fixture
def second(neighbours: tuple[Project, Project]) -> Project:
    return neighbours[1]


def _answer(project: Project, typed: str, *arguments: str) -> tuple[int, str]:
    """Run the command line at a terminal, and type."""
    terminal, side = pty.openpty()
    with subprocess.Popen(
        [str(EXECUTABLES / "trackbed"), *arguments],
        cwd=project.directory,
        env={**project.variables, "TERM": "dumb"},
        stdin=side,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        os.write(terminal, f"{typed}\n".encode())
        said = command.communicate(timeout=120)[0]
    os.close(side)
    os.close(terminal)
    return command.returncode, said


def test_each_has_ports_and_data_of_its_own(first: Project, second: Project) -> None:
    environments = [(first, "local"), (first, "staging"), (second, "local")]
    assert len({url for project, name in environments for url in urls(project, name)}) == 3
    for number, (project, name) in enumerate(environments):
        assert healthy(project, name)
        create_experiment(project, f"experiment {number}", name)
    for number, (project, name) in enumerate(environments):
        found = [has_experiment(project, f"experiment {other}", name) for other in range(3)]
        assert found == [other == number for other in range(3)]


def test_taking_one_away_leaves_the_others_alone(first: Project, second: Project) -> None:
    others = [(first, "staging"), (second, "local")]
    before = [server_pid(project.home(name), SERVER.format(name)) for project, name in others]
    done = first.trackbed("down", "local")
    assert f"data in {first.home('local') / 'data'}" in done.stderr
    assert not processes_of(first.home("local"))
    assert (first.home("local") / "data" / "tracking" / "mlflow.db").exists()

    assert [server_pid(project.home(name), SERVER.format(name)) for project, name in others] == before
    assert all(healthy(project, name) for project, name in others)


def test_the_data_is_there_again_after_the_next_up(first: Project) -> None:
    kept = first.trackbed("down", "local")  # of something that is down already
    assert kept.returncode == 0
    first.trackbed("up", "local", "--yes")
    assert has_experiment(first, "experiment 0")


def test_data_is_deleted_only_on_the_right_word(first: Project) -> None:
    for asked in ([], ["--delete-data"]):
        refused = first.trackbed("down", "nothere", *asked, check=False)
        assert refused.returncode == 1 and "there is no environment 'nothere'" in refused.stderr

    refused = first.trackbed("down", "local", "--delete-data", check=False)
    assert refused.returncode == 1
    assert "fix: trackbed down local --delete-data --yes" in refused.stderr
    status, said = _answer(first, "staging", "down", "local", "--delete-data")
    assert status == 1
    assert "'staging' is not 'local'; nothing was deleted" in said
    assert healthy(first) and has_experiment(first, "experiment 0")

    kill(supervisor_pid(first.home("local")))  # nor does a dead supervisor stand in the way
    eventually(lambda: not processes_of(first.home("local")))
    status, said = _answer(first, "local", "down", "local", "--delete-data")
    assert status == 0, said
    assert "deleted its data too; left are its description stacks/Pulumi.local.yaml" in said
    assert not first.home("local").exists()
    assert healthy(first, "staging")
    again = first.trackbed("down", "local")
    assert "local is not up, and has left nothing" in again.stderr


def test_data_that_an_earlier_down_kept_is_deleted_by_a_later_one_that_may_be_repeated(first: Project) -> None:
    home = first.home("staging")
    first.trackbed("down", "staging")
    assert (home / "data" / "tracking" / "mlflow.db").exists()
    interrupted = start(first, "down", "staging", "--delete-data", "--yes")
    eventually(lambda: not (home / "data" / "tracking").exists() or interrupted.poll() is not None)
    interrupted.kill()
    interrupted.communicate(timeout=60)

    first.trackbed("down", "staging", "--delete-data", "--yes")
    assert not home.exists()
    assert not list((state_directory(first) / ".pulumi" / "stacks").rglob("*.json"))
