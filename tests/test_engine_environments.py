"""Environments of engines: made once, shared, and never half made. With a lock of one small package."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from trackbed import engine_environments
from trackbed.engine_environments import environment_for, environments_root, find_requirements
from trackbed.errors import UserError

LOCK = """\
iniconfig==2.1.0 \\
    --hash=sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760
"""
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACKBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_environments, "template_text", lambda path: LOCK)
    return tmp_path / "cache" / "engines"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


def version_in(environment: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([environment / "bin" / "python", "-c", code], text=True).strip()


def test_an_environment_is_made_once_and_told(cache: Path, project: Path, capfd: pytest.CaptureFixture[str]):
    made = environment_for("airflow", project)
    assert made.parent == cache
    assert version_in(made, "iniconfig") == "2.1.0"
    told = capfd.readouterr().err
    assert "making the airflow environment" in told and f"made {made} in" in told
    assert environment_for("airflow", project) == made
    assert capfd.readouterr().err == ""
    assert version_in(made, "pip"), "components install packages with it"


def test_scripts_in_an_environment_work_where_it_lies(cache: Path, project: Path):
    made = environment_for("airflow", project)
    told = subprocess.check_output([made / "bin" / "pip", "--version"], text=True)
    assert str(made) in told


def test_requirements_of_the_project_are_installed_under_the_lock(cache: Path, project: Path):
    plain = environment_for("airflow", project)
    (project / "requirements.txt").write_text("-r more.txt\niniconfig>=1\n")
    (project / "more.txt").write_text("six==1.16.0\n")
    first = environment_for("airflow", project)
    assert first != plain
    assert (version_in(first, "six"), version_in(first, "iniconfig")) == ("1.16.0", "2.1.0")
    (project / "more.txt").write_text("six==1.17.0\n")
    second = environment_for("airflow", project)
    assert version_in(second, "six") == "1.17.0"
    (project / "more.txt").write_text("six==1.16.0\n")
    assert environment_for("airflow", project) == first


def test_requirements_against_the_lock_are_the_persons_error(cache: Path, project: Path):
    (project / "requirements.txt").write_text("iniconfig<2\n")
    with pytest.raises(UserError) as raised:
        environment_for("airflow", project)
    assert str(project / "requirements.txt") in str(raised.value)
    assert "iniconfig<2" in str(raised.value) and "2.1.0" in str(raised.value)
    assert [path.suffix for path in cache.iterdir()] == [".building"], "nothing else is left"


def build(project: Path, answers) -> None:
    answers.put(environment_for("airflow", project))


def test_two_builders_share_the_work(cache: Path, project: Path, capfd: pytest.CaptureFixture[str]):
    answers = FORK.Queue()
    builders = [FORK.Process(target=build, args=(project, answers)) for _ in range(2)]
    for builder in builders:
        builder.start()
    found = {answers.get(timeout=120) for _ in builders}
    for builder in builders:
        builder.join()
    assert len(found) == 1
    assert capfd.readouterr().err.count("making the airflow environment") == 1


def build_and_tell(project: Path, log: Path) -> None:
    with log.open("w") as told, contextlib.redirect_stderr(told):
        environment_for("airflow", project)


def test_who_waits_is_told_for_whom(cache: Path, project: Path, tmp_path: Path):
    made = environment_for("airflow", project)
    shutil.rmtree(made)
    log = tmp_path / "log"
    log.touch()
    builder = FORK.Process(target=build_and_tell, args=(project, log))
    with made.with_suffix(".building").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builder.start()
        while "waiting" not in log.read_text():
            time.sleep(0.01)
        fcntl.flock(lock, fcntl.LOCK_UN)  # the child has this file open too: closing it here would not free it
    builder.join()
    assert f"waiting for process {os.getpid()}, which makes the same thing" in log.read_text()
    assert version_in(made, "iniconfig") == "2.1.0"


def test_a_killed_build_is_not_taken_for_an_environment(cache: Path, project: Path):
    builder = FORK.Process(target=build, args=(project, FORK.Queue()))
    builder.start()
    assert builder.pid is not None
    while not list(cache.glob("*.partial")):
        time.sleep(0.001)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert not [path for path in cache.iterdir() if path.is_dir() and path.suffix != ".partial"]
    assert version_in(environment_for("airflow", project), "iniconfig") == "2.1.0"
    assert not list(cache.glob("*.partial"))


@pytest.mark.parametrize(
    ("marker", "found"), [(".git", True), ("pyproject.toml", True), ("trackbed.yaml", True), ("other", False)]
)
def test_requirements_are_looked_for_up_to_the_root_of_the_project(tmp_path: Path, marker: str, found: bool):
    inner = tmp_path / "root" / "workflows" / "daily"
    inner.mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text("never\n")
    (tmp_path / "root" / "requirements.txt").write_text("six\n")
    (tmp_path / "root" / marker).mkdir()
    assert find_requirements(inner) == (tmp_path / "root" / "requirements.txt" if found else None)
    (inner / "requirements.txt").write_text("six\n")
    assert find_requirements(inner) == inner / "requirements.txt"


def test_the_cache_is_the_users_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("TRACKBED_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environments_root() == tmp_path / "trackbed" / "engines"


@pytest.mark.parametrize("name", ["airflow", "kubeflow", "kubeflow-v1"])
def test_locks_are_complete(name: str):
    text = engine_environments.template_text(f"engines/{name}.lock")
    packages = [line for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert packages and all(line.endswith("\\") for line in packages), "every package has hashes"
    assert "://" not in text, "no address of a registry"
