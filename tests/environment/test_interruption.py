"""An `up` or a `down` that was killed at any moment can be repeated, and two at once do not meet."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator

import psutil
import pytest
from platform_ground import (
    copies,
    eventually,
    healthy,
    notes,
    pending_operations,
    processes_of,
    spec,
    start,
    state_directory,
)
from support import Project, make_project

# Kills at chosen moments: on a machine under load the moments shift. `make test-examples` runs it, alone.
pytestmark = pytest.mark.slow

SERVER = "local-tracking-server"
ONE_OF_EACH = {"mlflow": 1, "supervisord": 1, "launcher": 1}
TAKEN_OVER = "taking over the lock of process"

Command = subprocess.Popen[str]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = make_project(tmp_path_factory.mktemp("interruption"))
    project.write_spec("local", spec(port=5300))
    yield project
    project.trackbed("down", "local", "--delete-data", "--yes")


def _holds_lock(project: Project, command: Command) -> bool:
    """The engine has just begun."""
    for lock in (state_directory(project) / ".pulumi" / "locks").rglob("*.json"):
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            if psutil.Process(json.loads(lock.read_text())["pid"]).ppid() == command.pid:
                return True
    return False


def _starts_server(project: Project, command: Command) -> bool:
    """The engine waits for the tracking server, which is not healthy yet."""
    file = project.home("local") / "run" / "status" / f"{SERVER}.json"
    waits = file.exists() and notes(project.home("local"), SERVER)["phase"] in ("preparing", "starting")
    return waits and _holds_lock(project, command)


def _has_removed_contract(project: Project, command: Command) -> bool:
    return _holds_lock(project, command) and not (project.home("local") / "contract.json").exists()


def _kill_command(command: Command) -> None:
    command.kill()


def _kill_all(command: Command) -> None:
    """As a terminal that is closed by force, or the kernel out of memory."""
    for process in [psutil.Process(command.pid), *psutil.Process(command.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _interrupt(command: Command) -> None:
    """As Ctrl-C, which reaches the whole foreground group."""
    os.killpg(command.pid, signal.SIGINT)


def _cut_off(
    project: Project, what: str, moment: Callable[[Project, Command], bool], end: Callable[[Command], None]
) -> tuple[int, str]:
    command = start(project, what, "local", *(["--yes"] if what == "up" else []))
    eventually(lambda: moment(project, command) or command.poll() is not None)
    assert command.poll() is None, command.communicate()[0]
    end(command)
    said = command.communicate(timeout=60)[0]
    assert "Traceback" not in said
    return command.returncode, said


def test_an_up_that_was_interrupted_again_and_again_is_repeated(platform: Project) -> None:
    _cut_off(platform, "up", _holds_lock, _kill_all)
    _, said = _cut_off(platform, "up", _starts_server, _kill_command)
    assert TAKEN_OVER in said
    _, said = _cut_off(platform, "up", _holds_lock, _kill_all)
    assert TAKEN_OVER in said
    status, said = _cut_off(platform, "up", _holds_lock, _interrupt)
    assert (status, said.splitlines()[-1]) == (130, "interrupted")

    again = platform.trackbed("up", "local", "--yes")
    assert TAKEN_OVER not in again.stderr  # Ctrl-C gave it back
    assert copies(platform.home("local")) == ONE_OF_EACH
    assert healthy(platform)
    assert not pending_operations(platform)


def test_a_down_that_was_interrupted_again_and_again_is_repeated(platform: Project) -> None:
    _cut_off(platform, "down", _has_removed_contract, _kill_all)
    _cut_off(platform, "down", _holds_lock, _kill_command)
    platform.trackbed("down", "local")
    assert not processes_of(platform.home("local"))
    assert (platform.home("local") / "data" / "tracking" / "mlflow.db").exists()


def test_what_a_killed_up_had_started_ends_with_down(platform: Project) -> None:
    _cut_off(platform, "up", _starts_server, _kill_all)
    platform.trackbed("down", "local")
    assert not processes_of(platform.home("local"))


def test_the_second_of_two_ups_is_told_who_holds_the_lock_and_the_first_completes(platform: Project) -> None:
    first = start(platform, "up", "local", "--yes")
    eventually(lambda: _starts_server(platform, first))
    second = platform.trackbed("up", "local", "--yes", check=False)
    assert second.returncode == 1
    told = re.search(r"the environment 'local' is locked by (\S+) on \S+ \(process (\d+)\) since", second.stderr)
    assert told is not None, second.stderr

    assert first.wait(60) == 0
    assert healthy(platform)
    assert copies(platform.home("local")) == ONE_OF_EACH
