"""A copy of the repository in which `make demo` was run, and a typist who types the pages' commands in it."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from documentation import ROOT
from mlflow import MlflowClient
from support import EXECUTABLES, make_project
from trackbed.contract import Contract
from trackbed.environments import resolve_environment

LEFT_OUT = (
    ".git",
    ".venv",
    ".venv-tools",
    ".trackbed",
    "digits",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "Pulumi.*.yaml",
)
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Typist:
    """Runs commands as a person types them.

    Args:
        root: the copy of the repository.
        variables: environment variables of the shell.
    """

    root: Path
    variables: Mapping[str, str]

    def __call__(
        self,
        command: str,
        *,
        cwd: Path | None = None,
        before: str = "true",
        after: str = "true",
        answer: str = "",
        status: int = 0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the documentation in bash, and check its exit status.

        Args:
            command: the command, as it stands on the page.
            cwd: where; the root of the copy by default.
            before: what was typed before it in the same shell.
            after: what is typed after it.
            answer: what is typed when it asks, at a terminal.
            status: the exit status it must have.
        """
        master, terminal = pty.openpty()
        os.write(master, answer.encode())
        try:
            done = subprocess.run(
                ["bash", "-c", f"{before} && {command} && {after}"],
                cwd=cwd or self.root,
                env=dict(self.variables),
                stdin=terminal if answer else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=280,
                check=False,
            )
        finally:
            os.close(master)
            os.close(terminal)
        assert done.returncode == status, f"{command!r} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def also(self, command: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run what is on no page, and is needed to see an effect."""
        return self(command, cwd=cwd)

    def until(self, command: str, word: str) -> None:
        """Run a command that goes on without end, until a line of its output has the word."""
        running = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.root,
            env=dict(self.variables),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        try:
            assert any(word in line for line in running.stdout)
            assert running.poll() is None
        finally:
            running.send_signal(signal.SIGINT)
            running.communicate()


@dataclass(frozen=True)
class World:
    """An environment that is up in the copy.

    Args:
        root: the directory of the copy.
        work: a person's directory beside it, with programs.
        contract: the environment `local`.
        registry: a client of its tracking server, which has three versions of a model `digits`.
    """

    root: Path
    work: Path
    contract: Contract
    registry: MlflowClient


def copy_of_the_repository(base: Path) -> Typist:
    """Copy what a clone has, with this virtual environment for its own, and return who types in it."""
    variables = {**make_project(base / "elsewhere").variables}
    variables["PATH"] = os.pathsep.join([str(EXECUTABLES), variables["PATH"]])
    root = base / "platform"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(ROOT / "stacks" / "Pulumi.local.yaml", root / "stacks")
    # Not one link to the whole of it: `make` must never come to mend the one that runs this test.
    (root / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (root / ".venv" / part).symlink_to(EXECUTABLES.parent / part)
    (root / ".venv" / "made").touch()
    return Typist(root, variables)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Typist]:
    """A typist in a copy of one test's own, in which nothing is up."""
    typist = copy_of_the_repository(tmp_path)
    yield typist
    take_down(typist)


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Typist:
    """A typist in the copy that all other tests share."""
    return copy_of_the_repository(tmp_path_factory.mktemp("documentation"))


@pytest.fixture(scope="session")
def world(typed: Typist) -> Iterator[World]:
    """The environment `local`, a model whose champion is version 1, and a directory of programs."""
    try:
        yield _world(typed)
    finally:
        take_down(typed)


def _world(typist: Typist) -> World:
    file = typist.root / "stacks" / "Pulumi.local.yaml"
    spec = yaml.safe_load(file.read_text())
    spec["config"]["trackbed:environment"]["pools"] = {"default": {"maximum": 2}, "large": {"maximum": 1}}
    file.write_text(yaml.safe_dump(spec))
    typist("trackbed up local --yes")
    contract = resolve_environment(str(typist.root / ".trackbed/environments/local/contract.json")).contract
    url = contract.tracking.address.internal
    registry = MlflowClient(url, url)
    typist(f"python {PROGRAMS / 'register.py'}", before='eval "$(trackbed environment --export shell)"')
    source = str(registry.get_model_version("digits", "1").source)  # models:/ID
    for _ in range(2):
        registry.create_model_version("digits", source, model_id=source.removeprefix("models:/"))
    typist("trackbed promote digits 1")
    work = typist.root.parent / "work"
    shutil.copytree(PROGRAMS, work, ignore=shutil.ignore_patterns("__pycache__"))
    return World(typist.root, work, contract, registry)


def take_down(typist: Typist) -> None:
    """Take down what a test left up."""
    if (typist.root / ".trackbed" / "environments" / "local").exists():
        subprocess.run(
            [EXECUTABLES / "trackbed", "down", "local", "--delete-data", "--yes"],
            cwd=typist.root,
            env=dict(typist.variables),
            capture_output=True,
            check=True,
        )
