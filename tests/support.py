"""What several suites share: platform projects in temporary directories, driven as a person drives them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from trackbed.contract import Contract

ROOT = Path(__file__).resolve().parent.parent
EXECUTABLES = Path(sys.executable).parent
# Shared by all suites that run at a time, so that their environments do not choose the same ports; not the person's.
STATE_HOME = Path(tempfile.gettempdir()) / f"trackbed-tests-{os.getuid()}"


@dataclass(frozen=True)
class Project:
    """A platform project in a directory of its own, with the variables under which its commands run."""

    directory: Path
    variables: dict[str, str]

    def trackbed(
        self, *arguments: str, cwd: Path | None = None, check: bool = True, timeout: float = 240, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as a person would."""
        return self.execute([str(EXECUTABLES / "trackbed"), *arguments], cwd, check, timeout, input)

    def pulumi(self, *arguments: str, check: bool = True, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run plain `pulumi`, with what `trackbed environment --export pulumi` prints."""
        script = f'eval "$({EXECUTABLES}/trackbed environment --export pulumi)" && exec pulumi "$@" --non-interactive'
        return self.execute(["bash", "-c", script, "pulumi", *arguments], None, check, timeout)

    def execute(
        self, command: list[str], cwd: Path | None, check: bool, timeout: float, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with captured output; a failure shows all of it."""
        done = subprocess.run(
            command,
            cwd=cwd or self.directory,
            env=self.variables,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done

    def write_spec(self, name: str, text: str) -> Path:
        """Write the file of an environment."""
        file = self.directory / "stacks" / f"Pulumi.{name}.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    def home(self, name: str) -> Path:
        """The directory of a local environment."""
        return self.directory / ".trackbed" / "environments" / name


@dataclass(frozen=True)
class RunningEnvironment:
    """A local environment that is up for the whole session."""

    name: str
    project: Path
    contract: Contract
    platform: Project
    variables: dict[str, str]

    def trackbed(
        self, *arguments: str, cwd: Path | None = None, check: bool = True, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line on this environment."""
        command = [str(EXECUTABLES / "trackbed"), *arguments]
        return Project(self.project, self.variables).execute(command, cwd, check, timeout)


def make_project(directory: Path) -> Project:
    """Lay a platform project out as `trackbed new-environment` does, apart from the person's own settings."""
    directory.mkdir(parents=True, exist_ok=True)
    variables = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PULUMI_", "MLFLOW_", "METAFLOW_"))
        },
        "XDG_DATA_HOME": str(directory / "data-home"),
        "XDG_STATE_HOME": str(STATE_HOME),
        "PULUMI_HOME": str(directory / "pulumi-home"),
    }
    variables.pop("TRACKBED_ENVIRONMENT", None)
    project = Project(directory, variables)
    project.trackbed("new-environment", "local", "--target", "local")
    return project
