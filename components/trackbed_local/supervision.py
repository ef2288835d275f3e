"""The supervisor of a local environment: starting it, talking to it, ending it, and the state of its programs.

Each environment has one supervisord, a daemon of the user's own without a terminal, reached through a UNIX
socket that only the user can open. Nothing here needs Pulumi, and `status` asks supervisord for nothing: every
launcher writes down what it does, and whether the writer still lives tells whether that is true.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trackbed.errors import UserError

from trackbed_local import launcher
from trackbed_local.layout import Home, read_json, write_atomic

# What a supervised program inherits. The person's other variables (cloud keys, tokens) stay with the person.
BASE_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE"),
    *("LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"),
)
DAEMON_START_TIMEOUT = 30.0  # seconds
DAEMON_STOP_TIMEOUT = 30.0  # seconds
POLL = 0.01  # seconds
KILL_MARGIN = 10.0  # seconds the launcher has beyond the command's own stop timeout
FAILURES_UNTIL_FATAL = 3  # starts in a row that did not last
SUPERVISOR_LOG_BYTES = 1_000_000

State = Literal["running", "starting", "finished", "stopped", "changed", "foreign", "fatal"]
Health = Literal["passing", "failing", "unknown"]


@dataclass(frozen=True)
class ProcessStatus:
    """What is known about one program, whether or not anything of it is alive.

    Args:
        name: the program.
        state: "running"; "starting" (not healthy yet); "finished" (ended as its restart policy allows);
            "stopped" (should run and does not); "fatal" (its command keeps failing); "changed" (runs with
            another configuration than the one it was given); "foreign" (another program has its port).
        pid: process id of the command, None when it does not run.
        port: its TCP port on 127.0.0.1, None for a program without one.
        url: `http://127.0.0.1:<port>`, None for a program without a port.
        is_http: whether its health is asked over HTTP; what listens without that may speak anything.
        started_at: epoch seconds of the last start, None when it never started.
        health: result of the last health check; "unknown" without one.
        restarts: how often it was restarted since it was last set up.
        log_file: where its output goes.
    """

    name: str
    state: State
    pid: int | None
    port: int | None
    url: str | None
    is_http: bool
    started_at: float | None
    health: Health
    restarts: int
    log_file: Path


class SupervisorError(UserError):
    """supervisord refused a request or did not answer; `code` is its fault code, 0 for no answer."""

    def __init__(self, home: Home, reason: str, code: int = 0) -> None:
        hint = f"Its log is {home.logs / 'supervisord.log'}."
        super().__init__(f"The supervisor of {home.path}: {reason}.", hint=hint)
        self.code = code


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout)


class Supervisor:
    """The supervisord of one environment.

    Args:
        home: the environment.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    def is_alive(self) -> bool:
        """Say whether supervisord answers at its socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            return probe.connect_ex(os.fspath(self.home.socket)) == 0

    def ensure(self) -> None:
        """Start supervisord unless it is alive; the caller holds the environment's lock.

        Raises:
            UserError: it did not start; the message carries what it said.
        """
        if self.is_alive():
            return
        self.end_stray()
        self.home.socket.unlink(missing_ok=True)
        started = subprocess.run(
            [sys.executable, "-I", "-m", "supervisor.supervisord", "-c", str(self.home.run / "supervisord.conf")],
            cwd=self.home.run,
            env={**_base_environment(), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DAEMON_START_TIMEOUT,
            check=False,
        )
        if started.returncode != 0:
            raise UserError(f"The supervisor of {self.home.path} did not start:\n{started.stdout.strip()}")
        for _ in _until(DAEMON_START_TIMEOUT):
            if self.is_alive():
                return
        raise UserError(
            f"The supervisor of {self.home.path} did not answer within {DAEMON_START_TIMEOUT:g} s.",
            hint=f"Its log is {self.home.logs / 'supervisord.log'}.",
        )

    def configure(self) -> None:
        """Write supervisord's configuration from the programs that exist; the caller holds the lock."""
        write_atomic(self.home.run / "supervisord.conf", _configuration(self.home).encode())

    def load(self, name: str) -> None:
        """Make a running supervisord take up a (newly configured) program and start it."""
        self._call("reloadConfig")
        with contextlib.suppress(SupervisorError):  # not there before
            self._call("removeProcessGroup", name)
        try:
            self._call("addProcessGroup", name)
        except SupervisorError as error:
            if error.code != _Faults.ALREADY_ADDED:
                raise
        with contextlib.suppress(SupervisorError):  # started by itself meanwhile
            self._call("startProcess", name, False)

    def unload(self, name: str) -> None:
        """Make a running supervisord forget a stopped program."""
        self._call("reloadConfig")
        with contextlib.suppress(SupervisorError):
            self._call("removeProcessGroup", name)

    def stop(self, name: str, timeout: float) -> None:
        """Stop a program and wait for its end; a program that is unknown or down is none to stop.

        Args:
            name: the program.
            timeout: seconds its command gets to end by itself.
        """
        with contextlib.suppress(SupervisorError):  # not running, or the supervisor died meanwhile
            self._call("stopProcess", name, True, timeout=timeout + 2 * KILL_MARGIN)

    def has_ended(self, name: str) -> bool:
        """Say whether supervisord has given up on the program's launcher, or does not know it."""
        try:
            info: dict[str, Any] = self._call("getProcessInfo", name)
        except SupervisorError:
            return True
        return info["statename"] in ("EXITED", "FATAL", "STOPPED")

    def shut_down(self) -> None:
        """End supervisord and wait until it is gone; one that is dead already is none to end."""
        try:
            pid: int = self._call("getPID")
            self._call("shutdown")
        except SupervisorError:
            return
        _await_end(pid)

    def end_stray(self) -> None:
        """End a supervisord of this environment that lost its socket; with it end its programs."""
        config = os.fsencode(self.home.run / "supervisord.conf")
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = command.read_bytes().split(b"\0")
                if config in words and b"supervisor.supervisord" in words:
                    _end(int(command.parent.name))

    def _call(self, method: str, *arguments: Any, timeout: float = 30.0) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self.home.socket, timeout))
        with proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except xmlrpc.client.Fault as fault:
                raise SupervisorError(self.home, fault.faultString, fault.faultCode) from fault
            except (OSError, http.client.HTTPException) as error:
                raise SupervisorError(self.home, f"no answer to {method} ({error})") from error


class _Faults:
    ALREADY_ADDED = 90  # supervisor.xmlrpc.Faults


def status(home: Path) -> list[ProcessStatus]:
    """Tell the state of every program of an environment, sorted by name; works with a dead supervisor too.

    Args:
        home: absolute path of the environment's directory.
    """
    place = Home(home)
    return [program_status(place, name) for name in place.program_names()]


def program_status(home: Home, name: str) -> ProcessStatus:
    """Tell the state of one program from its configuration, its launcher's notes and the live processes."""
    config = read_json(home.program(name))
    port: int | None = config.get("port")
    notes = read_json(home.status(name))
    state = _state(home, name, notes, port)
    alive = state in ("running", "starting", "changed", "foreign")
    command = notes.get("command") or {}
    return ProcessStatus(
        name=name,
        state=state,
        pid=command.get("pid") if alive else None,
        port=port,
        url=None if port is None else f"http://127.0.0.1:{port}",
        is_http=config.get("healthCheck") is not None,
        started_at=notes.get("startedAt"),
        health=notes.get("health", "unknown") if alive else "unknown",
        restarts=notes.get("restarts", 0),
        log_file=home.log(name),
    )


def tail(path: Path, lines: int = 30, *, after: int = 0) -> list[str]:
    """Return the last lines of a log.

    Args:
        path: the log; a missing one has no lines.
        lines: how many at most.
        after: leave out what stood before this position in bytes, unless the log has been rotated since.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(after if after <= size else 0, size - 200 * 1024))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def configuration_on_disk(home: Home, name: str) -> tuple[bytes, bytes]:
    """Return the launcher's configuration and the secret variables of a program; empty when there are none."""
    return _content(home.program(name)), _content(home.secrets(name))


def _state(home: Home, name: str, notes: dict[str, Any], port: int | None) -> State:
    if not notes or not home.program(name).exists():
        return "stopped"
    keeper = notes["launcher"]
    phase: str = notes["phase"]
    if phase == "finished":
        return "finished" if notes["lastExit"] == 0 else "fatal"
    if launcher.identity(keeper["pid"]) != keeper["identity"] or not Supervisor(home).is_alive():
        return "stopped"  # a launcher whose supervisor is dead is about to end
    if notes["digest"] != launcher.config_digest(*configuration_on_disk(home, name)):
        return "changed"
    if phase == "stopped":
        return "stopped"
    if port is not None and phase != "running" and launcher.accepts_connections(port):
        listener_is_ours = _listens(keeper["pid"], port)
        if not listener_is_ours:
            return "foreign"
    if phase == "backing-off":
        return "fatal" if notes["failures"] >= FAILURES_UNTIL_FATAL else "starting"
    if phase != "running":
        return "starting"
    command = notes["command"]
    if launcher.identity(command["pid"]) != command["identity"]:
        return "starting"  # just died; its launcher is about to start it again
    return "foreign" if port is not None and not _listens(keeper["pid"], port) else "running"


def _listens(root: int, port: int) -> bool:
    """Say whether a process or one of its descendants listens on a port.

    A program whose processes belong to another user cannot be looked into; it counts as listening.
    """
    import psutil  # only here: reading the process tree is the one thing the standard library cannot do

    try:
        process = psutil.Process(root)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    for member in family:
        try:
            connections = member.net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            return True
        if any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections):
            return True
    return False


def _configuration(home: Home) -> str:
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": home.socket, "chmod": "0600"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisord": {
            "logfile": home.logs / "supervisord.log",
            "logfile_maxbytes": SUPERVISOR_LOG_BYTES,
            "logfile_backups": 1,
            "pidfile": home.run / "supervisord.pid",
            "umask": "077",
            "strip_ansi": "false",
        },
    }
    if os.getuid() == 0:
        sections["supervisord"]["user"] = pwd.getpwuid(0).pw_name  # said explicitly, root is no mistake
    for name in home.program_names():
        config = read_json(home.program(name))
        command = [sys.executable, "-I", "-S", launcher.__file__, str(home.program(name))]
        sections[f"program:{name}"] = {
            "command": shlex.join(command),
            "autostart": "true",
            # The launcher restarts its command itself. Whatever status it exits with was meant; only a
            # launcher killed by a signal is started again.
            "autorestart": "unexpected",
            "exitcodes": ",".join(str(code) for code in range(256)),
            "startsecs": 0,
            "stopsignal": "TERM",
            "stopwaitsecs": int(config["stopTimeoutSeconds"] + KILL_MARGIN),
            "killasgroup": "true",
            "umask": "022",
            "redirect_stderr": "true",
            "stdout_logfile": home.log(name),
            "stdout_logfile_maxbytes": config["log"]["maximumBytes"],
            "stdout_logfile_backups": config["log"]["backups"],
        }
    return "\n".join(
        "\n".join([f"[{title}]", *(f"{key}={_escaped(value)}" for key, value in section.items()), ""])
        for title, section in sections.items()
    )


def _escaped(value: object) -> str:
    """Write a value for supervisord's parser, which has no way to quote what begins a comment."""
    text = str(value)
    if "\n" in text or " ;" in text or " #" in text:
        raise UserError(
            f"The path {text!r} cannot be used: supervisord takes a ';' or '#' after a space for a comment.",
            hint="Rename the directory.",
        )
    return text.replace("%", "%%")


def _base_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in BASE_VARIABLES if name in os.environ}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _end(pid: int) -> None:
    """Ask a process of ours to end, and wait for it."""
    os.kill(pid, signal.SIGTERM)
    _await_end(pid)


def _await_end(pid: int) -> None:
    """Wait for the end of a process; kill it when it takes too long."""
    for _ in _until(DAEMON_STOP_TIMEOUT):
        if not launcher.identity(pid):
            return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _until(timeout: float) -> Iterator[None]:
    """Yield every few milliseconds until the time (seconds) is over."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        yield
        time.sleep(POLL)
