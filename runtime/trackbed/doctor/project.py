"""The platform project around the current directory: its files, its Pulumi state and who can read it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trackbed.doctor.findings import Finding, Place
from trackbed.environments import environment_home
from trackbed.errors import UserError

if TYPE_CHECKING:
    from trackbed_engine.install import Engine

PROJECT_LINES = {"runtime": "python", "main": "stacks/", "stackConfigDir": "stacks"}
PROGRAM_TEMPLATE = "environment/stacks_main.py"
OTHERS = 0o077  # what group and others may do


def project_file(place: Place) -> Iterator[Finding]:
    """Look at Pulumi.yaml and the Pulumi program beside it."""
    if place.project is None:
        yield Finding("project", "ok", f"no Pulumi.yaml in {place.directory} or above it: not a platform project")
        return
    file = place.project / "Pulumi.yaml"
    settings = _settings(place.project)
    runtime = settings.get("runtime")
    found = {**settings, "runtime": runtime.get("name") if isinstance(runtime, dict) else runtime}
    wrong = [f"{key} is {found.get(key)!r}" for key, value in PROJECT_LINES.items() if not _same(found.get(key), value)]
    if not isinstance(settings.get("name"), str):
        wrong.insert(0, f"name is {settings.get('name')!r}")
    if wrong:
        lines = [f"name: {_project_name(place.project)}", *(f"{key}: {value}" for key, value in PROJECT_LINES.items())]
        quoted = shlex.quote(str(file))
        fix = f"mv {quoted} {quoted}.before; printf '%s\\n' {' '.join(map(shlex.quote, lines))} > {quoted}"
        yield Finding("project", "problem", f"{file} is not what the engine needs: {', '.join(wrong)}", fix)
    else:
        yield Finding("project", "ok", f"{file}, project {settings['name']}")
    program = place.project / "stacks" / "__main__.py"
    if not program.is_file():
        script = f"from trackbed.templates import template_text as t; print(t({PROGRAM_TEMPLATE!r}), end='')"
        fix = f"mkdir -p {shlex.quote(str(program.parent))} && python -c {shlex.quote(script)} > "
        yield Finding("program", "problem", f"there is no {program}", fix + shlex.quote(str(program)))


def stack_files(place: Place) -> Iterator[Finding]:
    """Check every environment file against the spec."""
    from trackbed.spec import read_spec

    if place.project is None:
        return
    files = list(_stack_files(place))
    if not files:
        fix = "trackbed new-environment local --target local"
        yield Finding("environment files", "warning", f"there is none in {place.project / 'stacks'}", fix)
    for name, file in files:
        try:
            read_spec(file)
        except UserError as error:
            fix = f"mend the lines it names, then: trackbed validate {shlex.quote(str(file))}"
            yield Finding(f"file of {name}", "problem", str(error), fix)
        else:
            yield Finding(f"file of {name}", "ok", f"{file} is valid")


def backend(place: Place) -> Iterator[Finding]:
    """Tell where Pulumi keeps the state, and why there."""
    from trackbed_engine.settings import backend_url, state_directory

    if place.project is None:
        return
    own = state_directory(place.project)
    url = os.environ.get("PULUMI_BACKEND_URL")
    if url and url != backend_url(place.project):
        if not _recorded(place.project):
            yield Finding("state", "ok", f"at {url}, by the variable PULUMI_BACKEND_URL")
            return
        yield Finding(
            "state",
            "warning",
            f"PULUMI_BACKEND_URL sends Pulumi to {url}, but the project has state of its own in {own}",
            "unset PULUMI_BACKEND_URL",
        )
    elif not _own_state(place.project):
        yield Finding("state", "ok", f"at {_settings(place.project)['backend']['url']}, by backend.url in Pulumi.yaml")
    else:
        yield Finding("state", "ok", f"in {own}, since neither PULUMI_BACKEND_URL nor Pulumi.yaml names another place")


def permissions(place: Place) -> Iterator[Finding]:
    """Look who else can read the state, the passphrase and the secrets of the project's environments."""
    if place.project is None or not (place.project / ".trackbed").exists():
        return
    kept = place.project / ".trackbed"
    secrets = sorted(kept.glob("environments/*/secrets/*"))
    closed = True
    for path, mode in [(kept / "passphrase", "600"), (kept / "state", "700"), *((file, "600") for file in secrets)]:
        if path.exists() and path.stat().st_mode & OTHERS:
            closed = False
            seen = f"{path} has mode {path.stat().st_mode & 0o777:o}: others on this machine can get at it"
            yield Finding(f"permissions of {path.name}", "problem", seen, f"chmod {mode} {shlex.quote(str(path))}")
    if closed:
        yield Finding("permissions", "ok", f"passphrase, state and secrets in {kept} are closed to others")


def passphrase(place: Place) -> Iterator[Finding]:
    """Open the state of each stack with the passphrase that is set."""
    project = place.project
    if project is None or not _own_state(project) or not (stacks := _recorded(project)):
        return
    variable = _passphrase_variable()
    file = project / ".trackbed" / "passphrase"
    kept, lost = (shlex.quote(str(project / ".trackbed" / name)) for name in ("state", "state.lost"))
    fix = (
        f"put the passphrase back into {file} from a backup; or, if it is lost, begin a new state, "
        f"which finds the data again: mv {kept} {lost} && "
        + " && ".join(place.in_project(f"trackbed up {name} --yes") for name in stacks)
    )
    # Nothing may be asked of the engine here: it would be given a new passphrase.
    if not variable and not (file.exists() and file.stat().st_size):
        yield Finding("passphrase", "problem", f"the state in {kept} needs a passphrase, and {file} is not there", fix)
        return
    from trackbed_engine.install import find_engine

    engine = find_engine()
    if engine is None:
        return
    for name in stacks:
        refusal = _refusal(project, name, engine)
        if refusal is None:
            yield Finding("passphrase", "ok", f"{variable or file} opens the state of {name}")
        elif "incorrect passphrase" not in refusal:
            seen = f"the state of {name} cannot be read: {refusal}"
            yield Finding("passphrase", "problem", seen, f"put it back from a backup: ls {_backups(project)}")
        elif variable:
            seen = f"the state of {name} was made with another passphrase than that of {variable}"
            yield Finding("passphrase", "problem", seen, f"unset {variable}")
        else:
            seen = f"the state of {name} was made with another passphrase than that in {file}"
            yield Finding("passphrase", "problem", seen, fix)


def locks(place: Place) -> Iterator[Finding]:
    """Look for locks of Pulumi's operations whose holder is dead."""
    from trackbed_engine.settings import state_directory

    if place.project is None or not _own_state(place.project):
        return
    for file in sorted(state_directory(place.project).glob(".pulumi/locks/organization/*/*/*.json")):
        name = file.parent.name
        try:
            holder = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # given back, or being written
        who = f"process {holder.get('pid')} of {holder.get('username')} on {holder.get('hostname')}"
        if holder.get("hostname") == socket.gethostname() and not _is_pulumi(int(holder.get("pid", 0))):
            seen = f"the state of {name} is locked by {who}, which is dead"
            yield Finding("lock", "warning", seen, place.in_project(f"trackbed up {name} --yes"))
        else:
            yield Finding("lock", "ok", f"an operation on {name} is under way: {who}")


def ports(place: Place) -> Iterator[Finding]:
    """Look for the ports of the environment files at other programs."""
    from trackbed_local.ports import is_free

    from trackbed.spec import read_spec

    if place.project is None:
        return
    for name, file in _stack_files(place):
        try:
            spec = read_spec(file)
        except UserError:
            continue  # told by another check
        if spec.target != "local":
            continue
        home = environment_home(place.project, name)
        wanted = {"tracking.port": spec.tracking.port} if spec.tracking.url is None else {}
        wanted |= {f"port of endpoint {endpoint.name}": endpoint.port for endpoint in spec.endpoints}
        given = _given_ports(home)
        for field, port in wanted.items():
            if port in given.values() or is_free(port):
                continue
            user = _user_of(port)
            check = f"port {port}"
            if port in given:
                yield Finding(check, "ok", f"{field} of {name} is taken by {user}; {given[port]} stands in for it")
            else:
                yield Finding(
                    check,
                    "warning",
                    f"{field} of {name} is taken by {user}; trackbed up would use the next free one",
                    f"end that program, or give {field} another value in {file}",
                )


CHECKS = (project_file, stack_files, backend, permissions, passphrase, locks, ports)


def _settings(project: Path) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _same(found: object, wanted: str) -> bool:
    return str(found).removeprefix("./").rstrip("/") == wanted.rstrip("/")


def _project_name(project: Path) -> str:
    """Return the name under which the state knows the project; another one would begin a state of its own."""
    from trackbed_engine.settings import state_directory

    recorded = [path.name for path in state_directory(project).glob(".pulumi/stacks/*") if path.is_dir()]
    return recorded[0] if len(recorded) == 1 else project.name


def _stack_files(place: Place) -> Iterator[tuple[str, Path]]:
    assert place.project is not None
    for file in sorted(place.project.glob("stacks/Pulumi.*.yaml")):
        yield file.name.removeprefix("Pulumi.").removesuffix(".yaml"), file


def _own_state(project: Path) -> bool:
    from trackbed_engine.settings import backend_url

    url = os.environ.get("PULUMI_BACKEND_URL")
    if url:
        return url == backend_url(project)
    chosen = _settings(project).get("backend")
    return not (isinstance(chosen, dict) and chosen.get("url"))


def _passphrase_variable() -> str:
    """Return the variable that takes the place of the project's passphrase file; empty when none does."""
    if os.environ.get("PULUMI_CONFIG_PASSPHRASE"):
        return "PULUMI_CONFIG_PASSPHRASE"
    return "PULUMI_CONFIG_PASSPHRASE_FILE" if "PULUMI_CONFIG_PASSPHRASE_FILE" in os.environ else ""


def _refusal(project: Path, name: str, engine: Engine) -> str | None:
    """Let the engine open the state of a stack; return its last words where it does not."""
    from trackbed_engine.settings import pulumi_variables

    # Nothing but decrypting shows whether the passphrase is the right one; what comes out is for nobody's eyes.
    opened = subprocess.run(
        [engine.directory / "pulumi", "stack", "export", "--show-secrets", "--stack", name, "--non-interactive"],
        cwd=project,
        env={**os.environ, **pulumi_variables(project, engine)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return opened.stderr.strip() if opened.returncode else None


def _backups(project: Path) -> Path:
    from trackbed_engine.settings import state_directory

    return state_directory(project) / ".pulumi" / "backups"


def _recorded(project: Path) -> list[str]:
    """Return the stacks that the project's own state holds."""
    from trackbed_engine.settings import state_directory

    return sorted(file.stem for file in state_directory(project).glob(".pulumi/stacks/*/*.json"))


def _given_ports(home: Path) -> dict[int, int]:
    """Return the ports that the environment's programs have, by the ones they asked for."""
    from trackbed_local.layout import Home, read_json

    place = Home(home)
    remembered: dict[str, Any] = read_json(place.ports)
    programs = place.program_names()
    return {entry["preferred"]: entry["port"] for name, entry in remembered.items() if name in programs}


def _user_of(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another program"


def _is_pulumi(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).name().startswith("pulumi")
    except (psutil.Error, ValueError):
        return False
