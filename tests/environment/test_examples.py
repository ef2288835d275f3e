"""The examples of docs/examples, as somebody uses them who has installed the package and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from platform_ground import processes_of
from support import ROOT, STATE_HOME

EXAMPLES = ROOT / "docs" / "examples"


class Example:
    """A copy of an example, with a backend and a passphrase of the person's own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.directory = directory / name
        self.home = self.directory / "platform"
        shutil.copytree(EXAMPLES / name, self.directory)
        (directory / "backend").mkdir()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "MLFLOW_"))},
            "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "their own words",
            "PULUMI_HOME": str(directory / "pulumi-home"),
            "XDG_STATE_HOME": str(STATE_HOME),
        }
        self.pulumi("stack", "init", "dev")

    def pulumi(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.pulumi("stack", "output", "--json"))


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Example]:
    made = Example(request.param, tmp_path)
    made.pulumi("up", "--yes", "--skip-preview")
    yield made
    made.pulumi("destroy", "--yes", "--skip-preview")
    assert not processes_of(made.home)


@pytest.mark.parametrize("example", ["tracking_server"], indirect=True)
def test_a_tracking_server_keeps_its_data_when_it_is_destroyed(example: Example) -> None:
    assert requests.get(f"{example.outputs()['url']}/health", timeout=30).text == "OK"
    assert "unchanged" in example.pulumi("preview", "--expect-no-changes")
    example.pulumi("destroy", "--yes", "--skip-preview")
    assert (example.home / "data" / "tracking" / "mlflow.db").exists()


@pytest.mark.parametrize("example", ["every_component"], indirect=True)
def test_every_component_works_beside_the_others(example: Example) -> None:
    outputs = example.outputs()
    password, token = (Path(outputs[name].removeprefix("file:")).read_text() for name in ("password", "token"))
    search = f"{outputs['tracking']}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(search, timeout=30).status_code == 401
    assert requests.get(search, auth=("admin", password), timeout=30).ok

    ready = f"{outputs['endpoint']}/v2/health/ready"
    assert "champion" in requests.get(ready, headers={"Authorization": f"Bearer {token}"}, timeout=30).text
    assert outputs["slots"] == 2
    assert outputs["studies"].startswith(f"journal:{example.home}/")
    assert not [secret for secret in (password, token) if secret in json.dumps(outputs)]

    example.pulumi("destroy", "--yes", "--skip-preview")
    assert not list((example.home / "data").iterdir())
