"""Fixtures that several suites share: real platform projects, brought up by the real engine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import EXECUTABLES, Project, RunningEnvironment, make_project
from trackbed.environments import resolve_environment
from trackbed_engine.install import Engine, get_engine

SPEC = """\
config:
  trackbed:environment:
    target: local
    pools:
      default: {maximum: 2}
    endpoints:
      - name: digits
"""


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The Pulumi engine, got once and kept in the cache."""
    return get_engine(lambda line: print(line, file=sys.stderr))


@pytest.fixture(scope="session", autouse=True)
def _engine_on_path(engine: Engine) -> None:  # pyright: ignore[reportUnusedFunction]
    os.environ["PATH"] = os.pathsep.join([str(EXECUTABLES), str(engine.directory), os.environ["PATH"]])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty platform project; whatever a test brings up in it is taken down."""
    made = make_project(tmp_path / "platform")
    yield made
    for file in (made.directory / "stacks").glob("Pulumi.*.yaml"):
        name = file.name.removeprefix("Pulumi.").removesuffix(".yaml")
        if made.home(name).exists():
            made.trackbed("down", name, "--delete-data", "--yes", check=False)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEnvironment]:
    """A real local environment, brought up once for the session and taken down with its data."""
    platform = make_project(tmp_path_factory.mktemp("platform"))
    platform.write_spec("local", SPEC)
    platform.trackbed("up", "local", "--yes")
    uri = str(platform.home("local") / "contract.json")
    contract = resolve_environment(uri).contract
    variables = {
        **platform.variables,
        "TRACKBED_ENVIRONMENT": uri,
        "MLFLOW_TRACKING_URI": contract.tracking.address.internal,
        "MLFLOW_REGISTRY_URI": contract.tracking.address.internal,
    }
    yield RunningEnvironment("local", platform.directory, contract, platform, variables)
    platform.trackbed("down", "local", "--delete-data", "--yes")
    shutil.rmtree(platform.directory)
