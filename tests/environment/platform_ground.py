"""What the suites of whole environments look at: processes, the recorded state, and what commands answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests
from support import EXECUTABLES, Project
from trackbed_engine.install import find_engine
from trackbed_local.layout import Home

SERVER_MODULES = ("mlflow", "trackbed.serving", "trackbed_local.postgresql")


def spec(*, port: int = 5000, tracking: str = "", rest: str = "") -> str:
    """A stack file; `tracking` is further keys of that block, `rest` further blocks, indented by four."""
    return (
        "config:\n  trackbed:environment:\n    target: local\n"
        f"    tracking: {{port: {port}{', ' if tracking else ''}{tracking}}}\n{rest}"
    )


def endpoints(*names: str) -> str:
    return "    endpoints:\n" + "".join(f"      - name: {name}\n" for name in names)


def eventually(holds: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Wait until something is true and return it; fail when that takes too long."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not become true within {timeout:g} s")


def processes_of(home: Path) -> dict[int, list[str]]:
    """Every living process that belongs to a home, by its variables or its command line."""
    found: dict[int, list[str]] = {}
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            started_for = process.environ().get("TRACKBED_PROCESS", "")
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
        except psutil.Error:
            continue
        if started_for.startswith(f"{home}::") or any(f"{home}/run/" in word for word in command):
            found[process.pid] = command
    return found


def copies(home: Path) -> dict[str, int]:
    """How often each server of a home runs: the leaders of its commands, counted by what they are."""
    counted: dict[str, int] = {}
    for pid, command in processes_of(home).items():
        module = command[command.index("-m") + 1] if "-m" in command else ""
        if module in SERVER_MODULES and os.getsid(pid) == pid:
            counted[module] = counted.get(module, 0) + 1
        kind = "supervisord" if "supervisor.supervisord" in command else "launcher"
        if module == "supervisor.supervisord" or any(word.endswith("launcher.py") for word in command):
            counted[kind] = counted.get(kind, 0) + 1
    return counted


def notes(home: Path, name: str) -> dict[str, Any]:
    """What the launcher of a program wrote last."""
    return json.loads(Home(home).status(name).read_text())


def server_pid(home: Path, name: str) -> int:
    return notes(home, name)["command"]["pid"]


def supervisor_pid(home: Path) -> int:
    return int((home / "run" / "supervisord.pid").read_text())


def kill(pid: int) -> None:
    """End a process as a crash would, and wait until it is gone."""
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def contract(project: Project, name: str = "local") -> dict[str, Any]:
    return json.loads((project.home(name) / "contract.json").read_text())


def tracking_url(project: Project, name: str = "local") -> str:
    return contract(project, name)["tracking"]["address"]["internal"]


def urls(project: Project, name: str = "local") -> list[str]:
    """The addresses of all servers, by which one sees whether ports have moved."""
    document = contract(project, name)
    endpoint_urls = [endpoint["address"]["internal"] for endpoint in document["endpoints"].values()]
    return [document["tracking"]["address"]["internal"], *endpoint_urls]


def healthy(project: Project, name: str = "local") -> bool:
    try:
        return all(requests.get(f"{url}/health", timeout=10).ok for url in urls(project, name))
    except requests.ConnectionError:
        return False


def changes(project: Project, name: str = "local") -> dict[str, str]:
    """Bring an environment up; what that did to each resource."""
    done = project.trackbed("up", name, "--yes", "--json")
    return {change["name"]: change["operation"] for change in json.loads(done.stdout)["changes"]}


def state_directory(project: Project) -> Path:
    return project.directory / ".trackbed" / "state"


def state_file(project: Project, name: str = "local") -> Path:
    [file] = (state_directory(project) / ".pulumi" / "stacks").glob(f"*/{name}.json")
    return file


def pending_operations(project: Project, name: str = "local") -> list[Any]:
    """What the state says that an engine was doing when it was killed."""
    deployment = json.loads(state_file(project, name).read_text())["checkpoint"]["latest"]
    return deployment.get("pending_operations") or []


def recorded(project: Project, name: str = "local") -> dict[str, Any]:
    """What the state says of each resource of ours; secrets, which are encrypted anew each time, are left out."""
    deployment = json.loads(state_file(project, name).read_text())["checkpoint"]["latest"]
    return {
        resource["urn"]: {
            key: value for key, value in resource.get("outputs", {}).items() if not key.startswith("secretEnv")
        }
        for resource in deployment["resources"]
        if "pulumi:providers" not in resource["urn"]
    }


def create_experiment(project: Project, title: str, name: str = "local") -> None:
    body = {"name": title}
    requests.post(
        f"{tracking_url(project, name)}/api/2.0/mlflow/experiments/create", json=body, timeout=30
    ).raise_for_status()


def has_experiment(project: Project, title: str, name: str = "local") -> bool:
    url = f"{tracking_url(project, name)}/api/2.0/mlflow/experiments/get-by-name"
    return requests.get(url, params={"experiment_name": title}, timeout=30).ok


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start the command line as the leader of a process group of its own, as a shell does."""
    return subprocess.Popen(
        [str(EXECUTABLES / "trackbed"), *arguments],
        cwd=project.directory,
        env=project.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def engine_directory() -> Path:
    engine = find_engine()
    assert engine is not None
    return engine.directory
