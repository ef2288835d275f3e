"""What needs the tracking server says so at once when it is down, whoever answers on its port by then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from support import Project

ONLY_TRACKING = "config:\n  trackbed:environment:\n    target: local\n"


def test_programs_are_refused_with_the_fix(project: Project) -> None:
    project.write_spec("local", ONLY_TRACKING)
    project.trackbed("up", "local", "--yes")
    script = project.directory / "train.py"
    script.write_text("import mlflow\nmlflow.log_metric('a', 1)\n")
    project.trackbed("run", str(script))

    supervisor = int((project.home("local") / "run" / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    _wait_until_down(project)
    port = urlsplit(
        json.loads((project.home("local") / "contract.json").read_text())["tracking"]["address"]["internal"]
    ).port
    stranger = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        cwd=project.directory / "stacks",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for command in (["run", str(script)], ["promote", "digits", "1"], ["rollback", "digits"]):
            refused = project.trackbed(*command, check=False, timeout=30)
            assert refused.returncode == 1
            assert "the tracking server of the environment 'local' is not running" in refused.stderr
            assert "trackbed up local" in refused.stderr
    finally:
        stranger.kill()
        stranger.wait()

    project.trackbed("up", "local", "--yes")
    project.trackbed("run", str(script))


def _wait_until_down(project: Project) -> None:
    for _ in range(100):
        services = json.loads(project.trackbed("status", "local", "--json", check=False).stdout)["services"]
        if all(service["state"] != "running" for service in services):
            return
        time.sleep(0.1)
    pytest.fail("the services outlived their supervisor", pytrace=False)
