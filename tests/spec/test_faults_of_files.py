"""What a person's files and disks do to the command line is told in a line, and never as a traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from spec_ground import published, trackbed
from support import EXECUTABLES
from trackbed.engines import Program
from trackbed.errors import UserError

SPEC = "config:\n  trackbed:environment:\n    target: local\n"
# The superuser passes every permission, unless this power is taken away.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def platform(directory: Path) -> Iterator[Path]:
    """A project that was never brought up; its permissions are given back, so that it can be removed."""
    stacks = directory / "stacks"
    stacks.mkdir()
    (directory / "Pulumi.yaml").write_text("name: platform\nruntime: python\nmain: stacks/\n")
    (stacks / "Pulumi.local.yaml").write_text(SPEC)
    yield directory
    for place in (directory, stacks, directory / ".trackbed"):
        if place.exists():
            place.chmod(0o700)


def bound(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as somebody whom permissions bind."""
    command = [*BOUND, str(EXECUTABLES / "trackbed"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("command", ["up", "preview", "down"])
def test_a_project_that_cannot_be_written_is_told(platform: Path, command: str) -> None:
    platform.chmod(0o500)
    done = bound(command, "local")
    assert (done.returncode, done.stderr) == (1, f"error: {platform / '.trackbed'}: Permission denied\n")


def test_a_project_of_somebody_else_is_told(platform: Path) -> None:
    (platform / ".trackbed").mkdir(mode=0)
    done = bound("preview", "local")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {platform / '.trackbed'}")
    assert done.stderr.endswith(": Permission denied\n")
    assert done.stderr.count("\n") == 1


def test_stacks_that_cannot_be_written_are_told(platform: Path) -> None:
    (platform / "stacks").chmod(0o500)
    done = bound("new-environment", "b", "--target", "local")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {platform / 'stacks'}")
    assert done.stderr.endswith(": Permission denied\n")


def test_a_cache_that_cannot_be_used_is_told_by_its_variable(platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (platform / "file").touch()
    monkeypatch.setenv("TRACKBED_CACHE", str(platform / "file"))
    monkeypatch.setenv("PATH", str(platform))  # where no engine is
    done = trackbed("preview", "local")
    assert done.code == 1
    told = done.err.splitlines()[-2:]
    assert told[0] == f"error: the cache {platform / 'file'} cannot be written: Not a directory"
    assert "TRACKBED_CACHE" in told[1]


@pytest.mark.parametrize(
    ("command", "place"),
    [("status", "run"), ("status", "run/programs"), ("logs", "run/programs"), ("doctor", "run/programs")],
)
def test_services_that_cannot_be_looked_at_are_not_told_to_be_none(directory: Path, command: str, place: str) -> None:
    home = published(directory, "one").parent
    (home / "run" / "programs").mkdir(parents=True)
    (home / place).chmod(0)
    done = bound(command, *(["--json"] if command == "doctor" else []))
    (home / place).chmod(0o700)
    assert done.returncode == 1
    told = done.stderr if command != "doctor" else done.stdout
    assert f"{home / 'run'}" in told
    assert "Permission denied" in told
    assert "report it" not in told


def test_a_study_that_is_no_file_is_refused_at_once(directory: Path) -> None:
    os.mkfifo(directory / "study.yaml")
    done = bound("tune", "study.yaml")
    assert (done.returncode, done.stderr) == (1, "error: study.yaml is not a file; give the path of a study\n")


def test_a_program_that_is_not_text_is_refused_without_a_line_it_has_not(directory: Path) -> None:
    (directory / "binary.py").write_bytes(b"\0\1\2")
    with pytest.raises(UserError, match=r"binary\.py: not valid Python"):
        _ = Program(directory / "binary.py").tree
