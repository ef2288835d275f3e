"""What `up` costs, beside the same server started by hand and an empty or bare `pulumi up`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from measuring import report, side_by_side, timed
from support import EXECUTABLES, Project, make_project

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

ONLY_TRACKING = "config:\n  trackbed:environment:\n    target: local\n"
LEAN = ("--workers", "1")
POLL = 0.02  # seconds
ROUNDS = 3
BARE_PROGRAM = """\
import pulumi


class Bare(pulumi.CustomResource):
    def __init__(self, name):
        super().__init__("bare:index:Bare", name, {})


for number in range(COUNT):
    Bare(f"bare-{number}")
"""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Project]:
    project = make_project(tmp_path / "platform")
    project.write_spec("local", ONLY_TRACKING)
    yield project
    project.trackbed("down", "local", "--delete-data", "--yes")


def test_up_from_nothing(platform: Project, tmp_path: Path) -> None:
    empty = _pulumi_project(tmp_path / "empty", count=0)
    number = iter(range(1000))

    def bring_up() -> float:
        platform.trackbed("down", "local", "--delete-data", "--yes")
        return timed(lambda: platform.trackbed("up", "local", "--yes"))

    def by_hand(*options: str, **variables: str) -> float:
        return _seconds_to_health(tmp_path / f"by-hand-{next(number)}", options, variables)

    def empty_up() -> float:
        _pulumi(empty, "destroy")
        return timed(lambda: _pulumi(empty, "up"))

    seconds = side_by_side(
        {
            "trackbed up": bring_up,
            "lean mlflow server by hand": lambda: by_hand(*LEAN, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            "empty pulumi up": empty_up,
            "default mlflow server by hand": by_hand,
        },
        rounds=ROUNDS,
    )
    floor = seconds["lean mlflow server by hand"] + seconds["empty pulumi up"]
    report(
        "up, from nothing to healthy (medians)",
        {
            **{name: f"{value:.2f} s" for name, value in seconds.items()},
            "trackbed up / (lean by hand + empty pulumi up), goal 1.2": f"{seconds['trackbed up'] / floor:.2f}",
            "trackbed up / default by hand, goal below 1": (
                f"{seconds['trackbed up'] / seconds['default mlflow server by hand']:.2f}"
            ),
        },
    )


def test_no_op_up(platform: Project, tmp_path: Path) -> None:
    platform.trackbed("up", "local", "--yes")
    exported = platform.pulumi("stack", "export", "--stack", "local").stdout
    count = exported.count('"custom": true') - exported.count('"type": "pulumi:providers:')
    bare = _pulumi_project(tmp_path / "bare", count=count)
    _pulumi(bare, "up")
    seconds = side_by_side(
        {
            "no-op trackbed up": lambda: timed(lambda: platform.trackbed("up", "local", "--yes")),
            f"no-op pulumi up of {count} bare resources": lambda: timed(lambda: _pulumi(bare, "up")),
            "the same with --refresh, as trackbed up does": lambda: timed(lambda: _pulumi(bare, "up", "--refresh")),
            "plain no-op pulumi up of our stack": lambda: timed(
                lambda: platform.pulumi("up", "--stack", "local", "--yes", "--skip-preview")
            ),
        },
        rounds=5,
    )
    ours, floor, refreshing, plain = seconds.values()
    report(
        "no-op up (medians)",
        {
            **{name: f"{value:.2f} s" for name, value in seconds.items()},
            "plain pulumi up of our stack / bare, goal 1.3": f"{plain / floor:.2f}",
            "trackbed up / bare with --refresh, goal 1.3": f"{ours / refreshing:.2f}",
        },
    )


def _pulumi_project(directory: Path, *, count: int) -> Path:
    directory.mkdir()
    (directory / "Pulumi.yaml").write_text("name: bare\nruntime: python\n")
    (directory / "__main__.py").write_text(BARE_PROGRAM.replace("COUNT", str(count)))
    subprocess.run(["pulumi", "stack", "init", "bare"], cwd=directory, env=_variables(directory), check=True)
    return directory


def _pulumi(directory: Path, operation: str, *options: str) -> None:
    command = ["pulumi", operation, "--yes", "--skip-preview", "--non-interactive", "--stack", "bare", *options]
    subprocess.run(command, cwd=directory, env=_variables(directory), check=True, stdout=subprocess.DEVNULL)


def _variables(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(__file__).parent / "bare"), os.environ["PATH"]]),
        "PULUMI_HOME": str(directory / "home"),
        "PULUMI_BACKEND_URL": f"file://{directory}",
        "PULUMI_CONFIG_PASSPHRASE": "benchmark",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def _seconds_to_health(directory: Path, options: tuple[str, ...], variables: dict[str, str]) -> float:
    directory.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(str(EXECUTABLES / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), *options),
        *("--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--artifacts-destination", str(directory)),
    ]
    began = time.perf_counter()
    server = subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _is_healthy(port):
            assert server.poll() is None, f"{command} ended by itself; {sys.executable}"
            time.sleep(POLL)
        return time.perf_counter() - began
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False
