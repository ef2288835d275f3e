"""What needs the tracking server says so at once when it is down, whoever answers on its port by then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import psutil
from support import Project

ONLY_TRACKING = "config:\n  trackbed:environment:\n    target: local\n"


def test_programs_are_refused_with_the_fix(project: Project) -> None:
    project.write_spec("local", ONLY_TRACKING)
    project.trackbed("up", "local", "--yes")
    script = project.directory / "train.py"
    script.write_text("import mlflow\nmlflow.log_metric('a', 1)\n")
    project.trackbed("run", str(script))

    supervisor = int((project.home("local") / "run" / "supervisord.pid").read_text())
    notes = json.loads((project.home("local") / "run" / "status" / "local-tracking-server.json").read_text())
    server = psutil.Process(notes["command"]["pid"])
    os.kill(supervisor, signal.SIGKILL)
    psutil.wait_procs([server], timeout=30)
    assert not server.is_running()
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
