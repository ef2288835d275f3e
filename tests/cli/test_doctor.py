"""`trackbed doctor`: each fault is made for real, found, and gone once the fix that was printed is applied."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support import EXECUTABLES, ROOT, Project, make_project
from trackbed.doctor import Finding, Place, examine
from trackbed_engine import install
from trackbed_engine.install import Engine

SPEC = """\
config:
  trackbed:environment:
    target: local
    tracking: {{port: {port}}}
"""


def diagnosed(project: Project, *options: str, first: str = "true", **variables: str) -> dict[str, Finding]:
    """Run the doctor after a shell command, and check that its exit status says what its findings say."""
    told = replace(project, variables={**project.variables, **variables})
    script = f"{first}\ntrackbed doctor --json {' '.join(options)}"
    done = told.execute(["/bin/bash", "-c", script], None, False, 240)
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout[done.stdout.index('{\n  "well"') :])
    findings = [Finding(**each) for each in document["findings"]]
    assert document["well"] == (not [finding for finding in findings if finding.level == "problem"])
    assert done.returncode == (0 if document["well"] else 1)
    assert not [finding for finding in findings if finding.level != "ok" and not finding.fix]
    return {finding.check: finding for finding in findings}


def complaints(findings: Mapping[str, Finding]) -> dict[str, str]:
    """Return the level of each finding that is not well; what this machine has little of is not ours to fix."""
    return {
        check: finding.level
        for check, finding in findings.items()
        if finding.level != "ok" and check not in ("disk", "memory")
    }


def executable(file: Path, script: str) -> Path:
    """Write a program, and return its directory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file.parent


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def plain(tmp_path: Path) -> Project:
    """A platform project of which nothing is up."""
    made = make_project(tmp_path / "platform")
    made.write_spec("local", SPEC.format(port=free_port()))
    return made


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A platform project whose environment is up; every test leaves it well."""
    made = make_project(tmp_path_factory.mktemp("doctor") / "platform")
    made.write_spec("local", SPEC.format(port=free_port()))
    made.trackbed("up", "local", "--yes")
    yield made
    made.trackbed("down", "local", "--delete-data", "--yes")


# -- the machine -----------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_new_project(plain: Project) -> None:
    findings = diagnosed(plain)
    assert complaints(findings) == {"environment": "warning"}
    assert findings["environment"].fix == "make one with `trackbed up local`, or `trackbed connect URI`"
    assert str(plain.directory / "Pulumi.yaml") in findings["project"].message
    assert findings["python"].message.endswith(f"{EXECUTABLES}/python")


def test_people_get_a_table_and_fixes_in_one_line(plain: Project) -> None:
    secret = plain.directory / ".trackbed" / "passphrase"
    secret.parent.mkdir()
    secret.write_text("open")
    secret.chmod(0o644)
    done = plain.trackbed("doctor", check=False)
    assert done.returncode == 1
    assert f"\n  chmod 600 {secret}\n" in done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("1 problem, ")


def test_missing_packages_are_installed_by_the_fix(plain: Project, tmp_path: Path) -> None:
    uv = [sys.executable, "-m", "uv", "--quiet"]
    light = tmp_path / "light"
    subprocess.run([*uv, "venv", "--python", sys.executable, str(light)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", f"{light}/bin/python", "--editable", str(ROOT)], check=True)
    with_light = {"PATH": f"{light}/bin:{plain.variables['PATH']}"}

    findings = diagnosed(plain, **with_light)
    assert findings["extra platform"].level == "problem"
    assert "pulumi, supervisor cannot be imported" in findings["extra platform"].message
    assert findings["extra metaflow"].level == "warning"
    outside = replace(plain, directory=tmp_path)
    assert set(complaints(diagnosed(outside, **with_light)).values()) == {"warning"}

    findings = diagnosed(plain, first=findings["extra metaflow"].fix, **with_light)
    assert findings["extra metaflow"].level == "ok"
    assert findings["extra platform"].level == "problem"


def test_an_old_pulumi_on_path_is_named_and_passed_by(plain: Project, tmp_path: Path, engine: Engine) -> None:
    old = executable(tmp_path / "old" / "pulumi", "echo v3.10.0")
    os.environ["TRACKBED_CACHE"] = cache = str(tmp_path / "cache")
    try:
        kept = install._cached("downloaded") / "bin"  # pyright: ignore[reportPrivateUsage]
    finally:
        del os.environ["TRACKBED_CACHE"]
    kept.parent.mkdir(parents=True)
    kept.symlink_to(engine.directory)
    variables = {"TRACKBED_CACHE": cache, "PATH": f"{old}:{plain.variables['PATH']}"}

    findings = diagnosed(plain, **variables)
    assert findings["pulumi"].level == "ok"
    assert findings["pulumi on PATH"].level == "warning"
    assert f"{old}/pulumi" in findings["pulumi on PATH"].message
    assert "v3.10.0" in findings["pulumi on PATH"].message
    assert "pulumi on PATH" not in diagnosed(plain, first=findings["pulumi on PATH"].fix, **variables)


def test_without_an_engine_it_says_how_up_gets_one(plain: Project, tmp_path: Path, engine: Engine) -> None:
    parts = [part for part in plain.variables["PATH"].split(":") if not (Path(part) / "pulumi").exists()]
    variables = {"TRACKBED_CACHE": str(tmp_path / "cache"), "PATH": ":".join(parts)}
    finding = diagnosed(plain, **variables)["pulumi"]
    assert finding.level == "warning"
    assert "trackbed up downloads it, or builds it" in finding.message
    assert "put it on PATH" in finding.fix
    found = diagnosed(plain, first=f"export PATH={engine.directory}:$PATH", **variables)["pulumi"]
    assert found.level == "ok"
    assert engine.version in found.message


def test_a_missing_git_is_told(plain: Project, engine: Engine) -> None:
    finding = diagnosed(plain, PATH=f"{EXECUTABLES}:{engine.directory}")["git"]
    assert finding.level == "warning"
    assert "install" in finding.fix
    assert diagnosed(plain)["git"].level == "ok"


def test_a_container_engine_that_does_not_answer(plain: Project, tmp_path: Path) -> None:
    broken = executable(tmp_path / "broken" / "podman", "exit 125")
    executable(broken / "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    finding = diagnosed(plain, PATH=f"{broken}:{plain.variables['PATH']}")["containers"]
    assert finding.level == "warning"
    assert f"{broken}/podman info" in finding.fix
    executable(broken / "podman", "exit 0")
    assert diagnosed(plain, PATH=f"{broken}:{plain.variables['PATH']}")["containers"].level == "ok"


def test_a_cache_that_cannot_be_written(plain: Project, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    finding = diagnosed(plain, TRACKBED_CACHE=str(tmp_path / "file"))["cache"]
    assert finding.level == "problem"
    assert finding.fix == "unset TRACKBED_CACHE"
    assert diagnosed(plain, first=finding.fix, TRACKBED_CACHE=str(tmp_path / "file"))["cache"].level == "ok"


def test_a_check_that_crashes_hides_no_other() -> None:
    def broken(_place: Place) -> Iterator[Finding]:
        yield Finding("first", "ok", "seen before the crash")
        raise KeyError("nobody thought of this")

    def sound(_place: Place) -> Iterator[Finding]:
        yield Finding("sound", "ok", "seen")

    first, crashed, last = examine([broken, sound], Place(Path.cwd()))
    assert [first.check, last.check] == ["first", "sound"]
    assert crashed.level == "problem"
    assert "a bug of trackbed" in crashed.message
    assert "nobody thought of this" in crashed.message
    assert "test_doctor.py" in crashed.message


# -- the project -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["name: [", "name: platform\nruntime: nodejs\n", ""])
def test_a_broken_project_file_is_written_anew(plain: Project, text: str) -> None:
    file = plain.directory / "Pulumi.yaml"
    file.write_text(text)
    finding = diagnosed(plain)["project"]
    assert finding.level == "problem"
    assert diagnosed(plain, first=finding.fix)["project"].level == "ok"
    assert (plain.directory / "Pulumi.yaml.before").read_text() == text


def test_a_missing_program_is_written_anew(plain: Project) -> None:
    program = plain.directory / "stacks" / "__main__.py"
    text = program.read_text()
    program.unlink()
    finding = diagnosed(plain)["program"]
    assert finding.level == "problem"
    assert "program" not in diagnosed(plain, first=finding.fix)
    assert program.read_text() == text


def test_an_environment_file_with_problems(plain: Project) -> None:
    file = plain.write_spec("local", SPEC.format(port=70000))
    finding = diagnosed(plain)["file of local"]
    assert finding.level == "problem"
    assert "70000" in finding.message
    assert f"trackbed validate {file}" in finding.fix
    plain.write_spec("local", SPEC.format(port=free_port()))
    assert diagnosed(plain)["file of local"].level == "ok"


def test_secrets_that_others_can_read(plain: Project) -> None:
    plain.trackbed("environment", "--export", "pulumi")  # makes the passphrase
    kept = plain.directory / ".trackbed"
    secret = kept / "environments" / "local" / "secrets" / "password"
    secret.parent.mkdir(parents=True)
    secret.write_text("word")
    faults = {kept / "passphrase": 0o644, kept / "state": 0o755, secret: 0o640}
    for path, mode in faults.items():
        path.chmod(mode)
    findings = diagnosed(plain)
    fixes: list[str] = []
    for path, mode in faults.items():
        finding = findings[f"permissions of {path.name}"]
        assert finding.level == "problem"
        assert f"{path} has mode {mode:o}" in finding.message
        fixes.append(finding.fix)
    assert diagnosed(plain, first=" && ".join(fixes))["permissions"].level == "ok"
    assert not [path for path in faults if path.stat().st_mode & 0o077]


def test_a_port_in_use_by_something_else(plain: Project) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        plain.write_spec("local", SPEC.format(port=port))
        finding = diagnosed(plain)[f"port {port}"]
        assert finding.level == "warning"
        assert f"process {os.getpid()}" in finding.message
    assert f"port {port}" not in diagnosed(plain)


def test_a_port_in_use_by_the_environment_itself_is_well(standing: Project) -> None:
    assert not [check for check in diagnosed(standing) if check.startswith("port ")]


def test_a_passphrase_of_another_project(standing: Project) -> None:
    wrong = {"PULUMI_CONFIG_PASSPHRASE": "another"}
    finding = diagnosed(standing, **wrong)["passphrase"]
    assert finding.level == "problem"
    assert finding.fix == "unset PULUMI_CONFIG_PASSPHRASE"
    assert complaints(diagnosed(standing, first=finding.fix, **wrong)) == {}


@pytest.mark.parametrize("lost", [True, False], ids=["deleted", "replaced"])
def test_a_lost_passphrase(standing: Project, lost: bool) -> None:
    file = standing.directory / ".trackbed" / "passphrase"
    before = file.read_text()
    file.unlink() if lost else file.write_text("another")
    finding = diagnosed(standing)["passphrase"]
    assert finding.level == "problem"
    assert file.exists() is not lost  # looking has made none
    words, command = finding.fix.split("the data again: ")
    assert str(file) in words
    if lost:
        assert complaints(diagnosed(standing, first=command)) == {}
        assert file.stat().st_mode & 0o777 == 0o600
    else:
        file.write_text(before)
        assert complaints(diagnosed(standing)) == {}


def test_a_backend_elsewhere_hides_the_state(standing: Project, tmp_path: Path) -> None:
    elsewhere = {"PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    finding = diagnosed(standing, **elsewhere)["state"]
    assert finding.level == "warning"
    assert str(tmp_path) in finding.message
    assert complaints(diagnosed(standing, first=finding.fix, **elsewhere)) == {}


def test_the_lock_of_a_killed_operation(standing: Project) -> None:
    exports = 'eval "$(trackbed environment --export pulumi)"'
    operation = "exec pulumi up --stack local --yes --skip-preview --non-interactive"
    running = subprocess.Popen(
        ["/bin/bash", "-c", f"{exports} && {operation}"],
        cwd=standing.directory,
        env=standing.variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    locks = standing.directory / ".trackbed" / "state" / ".pulumi" / "locks"
    while running.poll() is None and not list(locks.rglob("*.json")):
        time.sleep(0.005)
    running.send_signal(signal.SIGSTOP)
    assert diagnosed(standing)["lock"].level == "ok"
    running.send_signal(signal.SIGKILL)
    running.wait()
    [lock] = locks.rglob("*.json")
    finding = diagnosed(standing)["lock"]
    assert finding.level == "warning"
    assert f"process {running.pid}" in finding.message
    assert complaints(diagnosed(standing, first=finding.fix)) == {}
    assert not lock.exists()


# -- environments ----------------------------------------------------------------------------------------------


def test_an_environment_that_is_up_is_well(standing: Project) -> None:
    findings = diagnosed(standing)
    assert complaints(findings) == {}
    assert findings["local: tracking"].message.startswith("running, health passing, http://127.0.0.1:")
    assert findings["passphrase"].level == findings["permissions"].level == findings["local: MLflow"].level == "ok"
    assert complaints(diagnosed(standing, "-e", "local")) == {}


def test_a_dead_supervisor_and_another_mlflow_are_mended_by_one_up(standing: Project) -> None:
    pid = int((standing.home("local") / "run" / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    file = standing.home("local") / "contract.json"
    contract = json.loads(file.read_text())
    file.write_text(json.dumps({**contract, "tracking": {**contract["tracking"], "version": "3.1.0"}}))
    findings = diagnosed(standing)
    assert complaints(findings) == {
        "local: supervisor": "problem",
        "local: tracking": "problem",
        "local: MLflow": "warning",
    }
    assert "trackbed logs tracking" in findings["local: tracking"].message
    assert "3.1.0" in findings["local: MLflow"].message
    [fix] = {findings[check].fix for check in complaints(findings)}
    assert complaints(diagnosed(standing, first=fix)) == {}


def test_a_contract_that_cannot_be_read(standing: Project) -> None:
    (standing.home("local") / "contract.json").write_text("not a contract")
    findings = diagnosed(standing)
    assert findings["local: contract"].level == "problem"
    assert complaints(diagnosed(standing, first=findings["local: contract"].fix)) == {}


def test_a_fix_is_given_for_where_the_person_is(standing: Project, tmp_path: Path) -> None:
    file = standing.home("local") / "contract.json"
    text = file.read_text()
    file.write_text("{}")
    fix = diagnosed(replace(standing, directory=tmp_path))["local: contract"].fix
    file.write_text(text)
    assert fix == f"cd {standing.directory} && trackbed up local --yes"


def test_a_home_that_is_gone(standing: Project, tmp_path: Path) -> None:
    contract = json.loads((standing.home("local") / "contract.json").read_text())
    copy = tmp_path / "contract.json"
    copy.write_text(json.dumps({**contract, "name": "moved", "home": str(tmp_path / "gone")}))
    standing.trackbed("connect", str(copy))
    findings = diagnosed(standing)
    assert complaints(findings) == {"moved: home": "problem"}
    assert str(tmp_path / "gone") in findings["moved: home"].message

    removal = findings["moved: home"].fix.partition("gone for good: ")[2]
    findings = diagnosed(standing, first=removal)
    assert complaints(findings) == {"connections": "warning"}  # it was known by that file
    assert complaints(diagnosed(standing, first=findings["connections"].fix)) == {}


@pytest.mark.parametrize("text", ['{"gone": "/nowhere/contract.json"}', "no JSON", "[]"])
def test_connections_to_nothing(plain: Project, text: str) -> None:
    file = Path(plain.variables["XDG_DATA_HOME"]) / "trackbed" / "connections.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    finding = diagnosed(plain)["connections"]
    assert finding.level != "ok"
    assert str(file) in finding.message
    assert "connections" not in diagnosed(plain, first=finding.fix)


def test_a_variable_that_names_nothing(standing: Project) -> None:
    wrong = {"TRACKBED_ENVIRONMENT": "staging"}
    finding = diagnosed(standing, **wrong)["environment"]
    assert finding.level == "problem"
    assert "'staging'" in finding.message
    assert complaints(diagnosed(standing, first=finding.fix, **wrong)) == {}


def test_an_option_that_names_nothing(standing: Project) -> None:
    assert complaints(diagnosed(standing, "-e", "staging")) == {"environment": "problem"}


def test_a_shell_that_points_mlflow_elsewhere(standing: Project) -> None:
    elsewhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    finding = diagnosed(standing, **elsewhere)["MLFLOW_TRACKING_URI"]
    assert finding.level == "warning"
    assert "http://127.0.0.1:9" in finding.message
    assert complaints(diagnosed(standing, first=finding.fix, **elsewhere)) == {}
