"""What dies comes back: by itself where something still watches it, else with the next `up`; never twice."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import psutil
import pytest
from platform_ground import (
    changes,
    copies,
    create_experiment,
    endpoints,
    eventually,
    has_experiment,
    healthy,
    kill,
    notes,
    processes_of,
    server_pid,
    spec,
    supervisor_pid,
    tracking_url,
    urls,
)
from support import Project, make_project

ONE_OF_EACH = {"mlflow": 1, "trackbed.serving": 1, "supervisord": 1, "launcher": 2}
TRACKING, ENDPOINT = "local-tracking-server", "local-endpoint-digits-server"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = make_project(tmp_path_factory.mktemp("drift"))
    project.write_spec("local", spec(port=5200, rest=endpoints("digits")))
    project.trackbed("up", "local", "--yes")
    yield project
    project.trackbed("down", "local", "--delete-data", "--yes")


def _states(project: Project) -> dict[str, str]:
    done = project.trackbed("status", "local", "--json", check=False)
    services = json.loads(done.stdout)["services"]
    assert done.returncode == (0 if all(service["state"] == "running" for service in services) else 1)
    return {service["component"]: service["state"] for service in services}


def _is_healthy_again(project: Project, name: str, killed: int) -> bool:
    told = notes(project.home("local"), name)
    return told["health"] == "passing" and told["command"]["pid"] != killed


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def test_killed_servers_and_a_killed_launcher_come_back_by_themselves(platform: Project) -> None:
    home, addresses = platform.home("local"), urls(platform)
    assert copies(home) == ONE_OF_EACH
    killed = {name: server_pid(home, name) for name in (TRACKING, ENDPOINT)}
    kill(killed[TRACKING])
    kill(notes(home, ENDPOINT)["launcher"]["pid"])

    eventually(lambda: all(_is_healthy_again(platform, name, pid) for name, pid in killed.items()))
    assert _states(platform) == {"tracking": "running", "endpoint-digits": "running"}
    assert copies(home) == ONE_OF_EACH
    assert urls(platform) == addresses and healthy(platform)


def test_after_a_killed_supervisor_refresh_and_status_see_it_and_up_mends_it(platform: Project) -> None:
    home, addresses = platform.home("local"), urls(platform)
    supervisor, launcher = supervisor_pid(home), notes(home, ENDPOINT)["launcher"]["pid"]
    kill(launcher)
    eventually(lambda: set(_children(supervisor)) - {launcher, notes(home, TRACKING)["launcher"]["pid"]})
    kill(supervisor)  # nobody is left to watch over the launcher that is just starting
    eventually(lambda: not processes_of(home))

    assert _states(platform) == {"tracking": "stopped", "endpoint-digits": "stopped"}
    seen = platform.pulumi("refresh", "--stack", "local", "--yes", "--skip-preview", "--diff").stdout
    assert seen.count('"running" => "stopped"') == 2
    assert changes(platform) == {TRACKING: "change", ENDPOINT: "change"}
    assert copies(home) == ONE_OF_EACH
    assert urls(platform) == addresses and healthy(platform)


def test_after_a_reboot_up_brings_all_back_with_its_data_beside_a_stranger_on_its_port(platform: Project) -> None:
    home = platform.home("local")
    create_experiment(platform, "before the reboot")
    # The supervisor first: nothing may come back in the middle of it.
    supervisor = supervisor_pid(home)
    for pid in sorted(processes_of(home), key=lambda pid: pid != supervisor):
        with contextlib.suppress(psutil.NoSuchProcess):
            kill(pid)
    eventually(lambda: not processes_of(home))
    shown = platform.trackbed("status", "local", check=False)
    assert shown.returncode == 1
    assert "not well: endpoint-digits, tracking; next: trackbed logs endpoint-digits, trackbed up local" in shown.stdout

    taken, *others = urls(platform)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", int(taken.rsplit(":", 1)[1])))
        stranger.listen()
        said = platform.trackbed("up", "local", "--yes").stderr
    moved = tracking_url(platform)
    assert moved != taken and urls(platform)[1:] == others
    assert f"{moved}  (port 5200 was in use)" in said
    assert copies(home) == ONE_OF_EACH
    assert healthy(platform)
    assert has_experiment(platform, "before the reboot")

    assert changes(platform) == {}  # the stranger is gone, the port is kept
    assert tracking_url(platform) == moved
