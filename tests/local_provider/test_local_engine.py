"""The local provider under the real Pulumi engine, as a person uses it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from local_provider_helpers import eventually, only_status, processes_of
from trackbed_local.layout import Home

SERVER = Path(__file__).with_name("sample_server.py")
PROGRAM = f"""\
import os
import sys

import pulumi
from trackbed_local.resources import Directory, File, Process, Secret, Settings

home = os.environ["TEST_HOME"]
config = pulumi.Config()
settings = Settings("settings", immutable={{"target": config.get("target") or "local"}})
directory = Directory("home", path=home, opts=pulumi.ResourceOptions(depends_on=[settings]))
within = pulumi.ResourceOptions(depends_on=[directory])
secret = Secret("key", path=home + "/secrets/key", opts=within)
File("motd", path=home + "/motd", content="hello", opts=within)
server = Process(
    "web",
    home=directory.path,
    name="web",
    command=[sys.executable, "-S", {str(SERVER)!r}, "{{port}}"],
    working_directory=home,
    environment={{"COLOUR": config.get("colour") or "red"}},
    secret_environment={{"TOKEN": "t0ken"}},
    secret_references={{"KEY": secret.reference}},
    port=int(os.environ["TEST_PORT"]),
    health_check={{"path": "/health", "timeoutSeconds": 30}},
    opts=within,
)
for name in ("port", "url", "pid", "state", "log_file"):
    pulumi.export(name, getattr(server, name))
"""


class Stack:
    """A Pulumi project in a directory of its own, with a file backend beside it."""

    def __init__(self, folder: Path, home: Path, port: int) -> None:
        self.folder = folder / "project"
        self.state_file = folder / "backend" / ".pulumi" / "stacks" / "sample" / "dev.json"
        self.folder.mkdir()
        (folder / "backend").mkdir()
        (self.folder / "Pulumi.yaml").write_text("name: sample\nruntime: python\n")
        (self.folder / "__main__.py").write_text(PROGRAM)
        engine = os.environ.get("TRACKBED_TEST_PULUMI_BIN") or Path(str(shutil.which("pulumi"))).parent
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(engine), os.environ["PATH"]]),
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "a passphrase for this test",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(folder / "pulumi-home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "TEST_HOME": str(home),
            "TEST_PORT": str(port),
        }
        self("stack", "init", "dev")

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def outputs(self) -> dict[str, object]:
        return json.loads(self("stack", "output", "--json"))


@pytest.fixture
def stack(tmp_path: Path, home: Path, free_port: int) -> Stack:
    return Stack(tmp_path, home, free_port)


UP = ("up", "--yes", "--skip-preview")


def test_life_of_an_environment(stack: Stack, home: Path, free_port: int) -> None:
    assert "+ 6 to create" in stack("preview")
    assert not home.exists()

    assert "+ 6 created" in stack(*UP)
    up = stack.outputs()
    assert (up["port"], up["state"]) == (free_port, "running")
    assert up["log_file"] == str(Home(home).log("web"))
    with urllib.request.urlopen(str(up["url"]), timeout=10) as answer:
        environment = json.loads(answer.read())["environment"]
    key = (home / "secrets" / "key").read_text()
    assert (environment["TOKEN"], environment["KEY"]) == ("t0ken", key)
    state = stack.state_file.read_text()
    assert "t0ken" not in state and key not in state

    assert "6 unchanged" in stack(*UP)
    assert stack.outputs() == up

    stack("config", "set", "target", "aws")
    refused = stack("preview", fails=True)
    stack("config", "rm", "target")
    assert 'target cannot change from "local" to "aws"' in refused
    assert only_status(home).pid == up["pid"]

    os.kill(int((home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not processes_of(home))
    (home / "motd").write_text("edited")
    assert '"running" => "stopped"' in stack("refresh", "--yes", "--skip-preview", "--diff")
    mended = stack(*UP)
    assert "web is not running" in mended and "~ 2 updated" in mended
    assert (home / "motd").read_text() == "hello"
    assert stack.outputs()["port"] == free_port

    stack("destroy", "--yes", "--skip-preview")
    assert not home.exists()
    assert not processes_of(home)


def test_killed_up_and_failed_start_are_repeated(stack: Stack, home: Path) -> None:
    home.mkdir()  # not ours, so it outlives the environment
    (home / "slow").write_text("600")
    up = stack.start(*UP)
    eventually(lambda: Home(home).status("web").exists() and only_status(home).state == "starting")
    up.kill()
    up.wait()
    stack("cancel", "--yes")
    launched = json.loads(Home(home).status("web").read_text())["command"]["pid"]
    (home / "slow").unlink()
    (home / "fail").touch()
    os.kill(launched, signal.SIGKILL)
    failed = stack(*UP, fails=True)
    assert "cannot start: a file named fail is here" in failed
    assert "provider.py" not in failed  # no traceback
    assert not processes_of(home)

    (home / "fail").unlink()
    stack(*UP)
    assert only_status(home).state == "running"
    stack("destroy", "--yes", "--skip-preview")
    assert not processes_of(home)
    assert home.exists()
