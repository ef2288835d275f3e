"""One supervised program: what it is made of, bringing it up, taking it away, seeing whether it is as it should be."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trackbed.errors import UserError

from trackbed_local import launcher, ports
from trackbed_local.layout import Home, read_json, write_atomic
from trackbed_local.supervision import (
    ProcessStatus,
    Supervisor,
    configuration_on_disk,
    program_status,
    tail,
)

READY_POLL = 0.02  # seconds between looks at the launcher's notes
SUPERVISOR_POLL = 0.5  # seconds between looks at supervisord while waiting
SETTLE_SECONDS = 0.5  # how long a program without a port must live to count as started
PORTLESS_TIMEOUT = 60.0  # seconds for the preparation of a program without a health check
PORT_ATTEMPTS = 5  # how often a program gets another port because somebody took its own at the last moment
EXITS_ALLOWED = 2  # a command that ended this often before it was ever healthy has failed to start
LOG_LINES = 30  # lines of log in an error


@dataclass(frozen=True)
class HealthCheck:
    """How to see that a program works: an HTTP GET on its port, answered with 2xx or 3xx.

    Args:
        path: absolute path of the page.
        timeout_seconds: how long a start may take until the check passes.
        interval_seconds: pause between two checks of a running program.
    """

    path: str
    timeout_seconds: float = 180
    interval_seconds: float = 10


@dataclass(frozen=True)
class Restart:
    """When a command that ended is started again.

    Args:
        policy: "always", "on-failure" (exit status other than 0, or hung) or "never".
        backoff_seconds: pause before the first restart; doubles with each failure.
        maximum_backoff_seconds: longest pause.
    """

    policy: Literal["always", "on-failure", "never"] = "always"
    backoff_seconds: float = 1
    maximum_backoff_seconds: float = 60


@dataclass(frozen=True)
class Program:
    """A command that is kept running in a local environment.

    Args:
        home: directory of the environment.
        name: unique in the environment; lower-case letters, digits and hyphens.
        command: program and arguments; "{port}" stands for the port it gets.
        environment: variables beside the clean base; "{port}" as above.
        secret_environment: the same for secrets; kept in a file of its own.
        secret_references: variable to "file:/path", read at every start, or to "env:NAME", read when it is set up.
        working_directory: where it runs; the environment's run directory when None.
        prepare: commands run in order before every start.
        port: the port wished for; None for a program without one.
        health_check: None to count as healthy once it accepts connections (or lives, without a port).
        restart: the restart policy.
        stop_timeout_seconds: between the polite signal and the last one.
        log_maximum_bytes: size at which its log is rotated.
        log_backups: how many rotated logs are kept.
        triggers: values whose change restarts it.
    """

    home: Path
    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secret_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secret_references: Mapping[str, str] = field(default_factory=dict[str, str])
    working_directory: str | None = None
    prepare: Sequence[Sequence[str]] = ()
    port: int | None = None
    health_check: HealthCheck | None = None
    restart: Restart = Restart()
    stop_timeout_seconds: float = 10
    log_maximum_bytes: int = 10_000_000
    log_backups: int = 3
    triggers: Mapping[str, str] = field(default_factory=dict[str, str])

    def render(self, port: int | None) -> tuple[bytes, bytes]:
        """Return the content of the launcher's configuration and of the secrets file (empty for none)."""

        def fill(text: str) -> str:
            return text if port is None else text.replace("{port}", str(port))

        check = self.health_check
        config: dict[str, Any] = {
            "name": self.name,
            "home": str(self.home),
            "command": [fill(part) for part in self.command],
            "environment": {key: fill(value) for key, value in self.environment.items()},
            "secretReferences": dict(self.secret_references),
            "workingDirectory": self.working_directory,
            "prepare": [[fill(part) for part in command] for command in self.prepare],
            "port": port,
            "healthCheck": check
            and {
                "path": check.path,
                "timeoutSeconds": check.timeout_seconds,
                "intervalSeconds": check.interval_seconds,
            },
            "restart": {
                "policy": self.restart.policy,
                "backoffSeconds": self.restart.backoff_seconds,
                "maximumBackoffSeconds": self.restart.maximum_backoff_seconds,
            },
            "stopTimeoutSeconds": self.stop_timeout_seconds,
            "log": {"maximumBytes": self.log_maximum_bytes, "backups": self.log_backups},
            "triggers": dict(self.triggers),
        }
        secrets = {key: fill(value) for key, value in self.secret_environment.items()} | self._from_variables()
        return _document(config), _document(secrets) if secrets else b""

    def _from_variables(self) -> dict[str, str]:
        """Return the secrets that lie in variables of the person who sets the program up.

        A variable that is not set now keeps the value it had: only the first `up` needs it.

        Raises:
            UserError: a variable is not set, and never was.
        """
        kept = read_json(Home(self.home).secrets(self.name))
        found: dict[str, str] = {}
        for key, reference in self.secret_references.items():
            if not reference.startswith("env:"):
                continue
            variable = reference.removeprefix("env:")
            value = os.environ.get(variable) or kept.get(key)
            if value is None:
                raise UserError(f"the secret {reference} is not set", hint=f"export {variable}=... and run it again")
            found[key] = value
        return found


def bring_up(program: Program, cancelled: threading.Event | None = None) -> ProcessStatus:
    """Make a program run as described and wait until it is healthy. Blocks; may be repeated.

    A program that runs with the same configuration already is left alone, however it came to run; any other
    program of this name is stopped first.

    Args:
        program: what should run.
        cancelled: ends the wait when set; the program goes on starting.

    Returns:
        Its state once it is healthy.

    Raises:
        UserError: it did not become healthy; it has been stopped and taken away again, so that the call can
            be repeated. The message ends with its last output.
    """
    home = Home(program.home)
    home.make_directories()
    log_start = _size(home.log(program.name))
    exits_before: int = read_json(home.status(program.name)).get("exits", 0)
    if not _runs_as_described(home, program):
        exits_before = 0
        _load(home, program)
    failure = _failure_to_start(home, program, exits_before + EXITS_ALLOWED, cancelled)
    for _ in range(PORT_ATTEMPTS):
        if program_status(home, program.name).state != "foreign":
            break
        # Between the choice of the port and its use, somebody with other reservations took it.
        _load(home, program)
        failure = _failure_to_start(home, program, EXITS_ALLOWED, cancelled)
    if failure is not None:
        remove(program.home, program.name, program.stop_timeout_seconds)
        output = tail(home.log(program.name), LOG_LINES, after=log_start)
        ending = "\n".join(["Its last output:", *output]) if output else "It wrote nothing."
        raise UserError(
            f"{program.name} did not start: {failure}. The log is {home.log(program.name)}. {ending}"
        ) from failure
    return program_status(home, program.name)


def _load(home: Home, program: Program) -> None:
    """Stop what runs under the program's name, and hand the program to the supervisor on a free port."""
    supervisor = Supervisor(home)
    _stop(home, program.name, program.stop_timeout_seconds)
    with home.locked():
        port = program.port and ports.allocate(home, program.name, program.port)
        config, secrets = program.render(port)
        home.status(program.name).unlink(missing_ok=True)
        _write_or_remove(home.secrets(program.name), secrets)
        write_atomic(home.program(program.name), config)
        supervisor.configure()
        supervisor.ensure()
        supervisor.load(program.name)


def _failure_to_start(
    home: Home, program: Program, exits_allowed: int, cancelled: threading.Event | None
) -> _StartFailed | None:
    try:
        _wait_until_ready(home, program, exits_allowed, cancelled)
    except _StartFailed as failure:
        return failure
    return None


def remove(home_path: Path, name: str, stop_timeout: float) -> None:
    """Stop a program and forget it; with the last one, end the supervisor too. Blocks; may be repeated.

    Its log and its port stay remembered.

    Args:
        home_path: directory of the environment.
        name: the program.
        stop_timeout: seconds its command gets to end by itself.
    """
    home = Home(home_path)
    if not home.run.is_dir():  # removed behind our back, perhaps while programs were running
        Supervisor(home).end_stray()
        ports.release(home, name)
        return
    supervisor = Supervisor(home)
    _stop(home, name, stop_timeout)
    with home.locked():
        for path in (home.program(name), home.secrets(name), home.status(name)):
            path.unlink(missing_ok=True)
        ports.release(home, name)
        if home.program_names():
            supervisor.configure()
            if supervisor.is_alive():
                supervisor.unload(name)
            return
        supervisor.shut_down()
        for path in (home.socket, home.run / "supervisord.conf", home.run / "supervisord.pid"):
            path.unlink(missing_ok=True)


def remove_all(home_path: Path) -> None:
    """Stop and forget whatever runs in an environment, also what a killed `up` started and nobody recorded.

    Args:
        home_path: directory of the environment; one that is none, or has nothing running, is left alone.
    """
    for name in Home(home_path).program_names():
        remove(home_path, name, 0)


def inspect(program: Program, port: int | None) -> ProcessStatus:
    """Tell the state of a program, "changed" also when its configuration on disk is not the one described.

    Args:
        program: what should run.
        port: the port it was given.
    """
    home = Home(program.home)
    seen = program_status(home, program.name)
    on_disk = configuration_on_disk(home, program.name)
    if on_disk[0] and on_disk != program.render(port):
        return dataclasses.replace(seen, state="changed")
    return seen


class _StartFailed(Exception):
    """Why a program did not become healthy."""


def _runs_as_described(home: Home, program: Program) -> bool:
    port = _configured_port(home, program)
    if configuration_on_disk(home, program.name) != program.render(port):
        return False
    if program.port is not None:
        remembered = read_json(home.ports).get(program.name, {})
        if remembered.get("preferred") != program.port or remembered.get("port") != port:
            return False
    return program_status(home, program.name).state in ("running", "starting", "finished")


def _wait_until_ready(home: Home, program: Program, exits_allowed: int, cancelled: threading.Event | None) -> None:
    check = program.health_check
    timeout = check.timeout_seconds if check else PORTLESS_TIMEOUT
    begin = time.monotonic()
    next_look = begin + SUPERVISOR_POLL
    supervisor = Supervisor(home)
    while True:
        notes = read_json(home.status(program.name))
        phase = notes.get("phase")
        if phase == "finished" and notes["lastExit"] == 0:
            return
        if phase == "running" and (program.port is not None or _settled(notes)):
            return
        if phase == "finished" or notes.get("exits", 0) >= exits_allowed:
            raise _StartFailed(f"its command ended with exit status {notes['lastExit']}")
        now = time.monotonic()
        if now > next_look:
            if not supervisor.is_alive():
                raise _StartFailed("its supervisor died")
            if supervisor.has_ended(program.name):
                raise _StartFailed("its launcher ended")
            next_look = now + SUPERVISOR_POLL
        if now - begin > timeout:
            waited_for = f"GET {check.path} on port {_configured_port(home, program)}" if check else "it"
            raise _StartFailed(f"{waited_for} was not answered as healthy within {timeout:g} s")
        if cancelled is not None and cancelled.is_set():
            raise UserError(f"Cancelled while {program.name} was starting. It goes on; `up` waits for it again.")
        time.sleep(READY_POLL)


def _configured_port(home: Home, program: Program) -> int | None:
    return read_json(home.program(program.name)).get("port")


def _settled(notes: Mapping[str, Any]) -> bool:
    return time.time() - notes["startedAt"] >= SETTLE_SECONDS


def _stop(home: Home, name: str, stop_timeout: float) -> None:
    """Stop a program, whoever started it; it may still have the longer timeout of its last configuration."""
    patience = max(stop_timeout, read_json(home.program(name)).get("stopTimeoutSeconds", 0))
    supervisor = Supervisor(home)
    if supervisor.is_alive():
        supervisor.stop(name, patience)
    _end_stray_launcher(home, name, patience)
    launcher.sweep(str(home.path), name)


def _end_stray_launcher(home: Home, name: str, stop_timeout: float) -> None:
    """Wait for a launcher that its supervisor no longer controls to end; kill it when it does not."""
    keeper = read_json(home.status(name)).get("launcher")
    if keeper is None or not keeper["identity"]:
        return
    pid: int = keeper["pid"]
    deadline = time.monotonic() + stop_timeout + 5
    with contextlib.suppress(ProcessLookupError):
        if launcher.identity(pid) == keeper["identity"]:
            os.kill(pid, signal.SIGTERM)
        while launcher.identity(pid) == keeper["identity"]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(READY_POLL)


def _write_or_remove(path: Path, content: bytes) -> None:
    if content:
        write_atomic(path, content)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _document(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()
