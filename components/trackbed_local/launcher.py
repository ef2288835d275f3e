"""Keeps one command of a local environment alive; started by supervisord, one copy per program.

Run as `python -I -S launcher.py CONFIG.json`. It needs nothing but the standard library, so that it starts in
a few milliseconds and goes on working while packages are being upgraded around it.

Why it stands between supervisord and the command:
    - supervisord backs off only while a program is starting; here every exit is followed by an exponentially
      growing pause, which is forgotten after a minute of good health.
    - supervisord knows no health checks; here a command that stops answering is restarted.
    - a `kill -9` of supervisord leaves its children behind; here the kernel's parent-death signal ends the
      command with everything it started, and a lock makes a second copy impossible.

Files, all below `<home>/run`: `programs/<name>.json` (what to run), `secrets/<name>.json` (secret variables),
`status/<name>.json` (written here, read by `trackbed_local.supervision`), `locks/<name>.lock`.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

MARKER = "TRACKBED_PROCESS"  # variable by which everything a command started is recognised
HEALTHY_RESET = 60.0  # seconds of health after which earlier failures are forgotten
HUNG_AFTER = 3  # consecutive failed health checks until a command counts as hung
PROBE_TIMEOUT = 5.0  # seconds a health check may take
FIRST_PROBES = 0.05  # seconds between health checks while a command starts
PATIENT_PROBES = 0.5  # the same, once a start has taken PATIENT_AFTER seconds
PATIENT_AFTER = 60.0
IDLE_WAKE = 1.0  # seconds between looks at whether supervisord is still there, where no signal tells
LOCK_BUSY = 75  # exit status when another copy holds the lock (EX_TEMPFAIL of sysexits.h)
COMMAND_NOT_FOUND = 127  # exit status of a command that cannot be started, as in a shell
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main() -> int:
    """Run the program described by the configuration file in `sys.argv[1]`; return its exit status."""
    return Keeper(Path(sys.argv[1]).absolute()).run()


def identity(pid: int) -> str:
    """Tell the process that has this id now from any other that had or will have it.

    Args:
        pid: a process id.

    Returns:
        Boot id and start time in clock ticks (field 22 of /proc/PID/stat, see proc(5)); empty when there is
        no such process, "unknown" where the system has no /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        if sys.platform == "linux" or not _exists(pid):
            return ""
        return "unknown"
    fields = stat[stat.rindex(b")") + 2 :].split()
    return "" if fields[0] in (b"Z", b"X") else f"{boot}:{fields[19].decode()}"


def config_digest(config: bytes, secrets: bytes) -> str:
    """Name a configuration by its content, so that a changed file is noticed.

    Args:
        config: the bytes of `programs/<name>.json`.
        secrets: the bytes of `secrets/<name>.json`, empty when there is none.
    """
    return hashlib.sha256(config + b"\0" + secrets).hexdigest()


def http_status(port: int, path: str, timeout: float, wake: int | None = None) -> int | None:
    """Ask a server on the loopback interface for a page and return the status code of its answer.

    Args:
        port: TCP port on 127.0.0.1.
        path: absolute path of the page.
        timeout: seconds for the whole exchange.
        wake: a file descriptor that ends the wait early as soon as it can be read.

    Returns:
        The HTTP status code, or None when there was no (whole) answer in time.

    Raises:
        InterruptedError: `wake` ended the wait.
    """
    deadline = time.monotonic() + timeout
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    head = b""
    with socket.socket() as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(request.encode())
            while b"\n" not in head:
                watched = [connection, *([] if wake is None else [wake])]
                ready, _, _ = select.select(watched, [], [], max(0.0, deadline - time.monotonic()))
                if connection not in ready:
                    if ready:
                        raise InterruptedError
                    return None
                received = connection.recv(4096)
                if not received:
                    return None
                head += received
        except InterruptedError:
            raise
        except OSError:
            return None
    parts = head.split(b"\n", 1)[0].split()
    well_formed = len(parts) >= 2 and parts[0].startswith(b"HTTP/") and parts[1].isdigit()
    return int(parts[1]) if well_formed else None


def accepts_connections(port: int, timeout: float = PROBE_TIMEOUT) -> bool:
    """Say whether something on 127.0.0.1 accepts TCP connections on this port."""
    with socket.socket() as connection:
        connection.settimeout(timeout)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def sweep(home: str, name: str) -> None:
    """Kill whatever carries a program's mark: what is left when its launcher was killed, or left its group.

    Args:
        home: directory of the environment.
        name: the program.
    """
    mark = f"\0{MARKER}={_mark(home, name)}\0".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):  # nothing where there is no /proc
        try:
            if mark in b"\0" + environment.read_bytes() + b"\0":
                os.kill(int(environment.parent.name), signal.SIGKILL)
        except OSError:  # gone meanwhile, or not ours
            continue


class StartError(Exception):
    """The command cannot be started this time; the message goes to its log."""


class Keeper:
    """Starts, watches, restarts and ends one command.

    Args:
        config_file: absolute path of `<home>/run/programs/<name>.json`.
    """

    def __init__(self, config_file: Path) -> None:
        self._run = config_file.parent.parent
        content = config_file.read_bytes()
        self._config: dict[str, Any] = json.loads(content)
        self._name: str = self._config["name"]
        secrets_file = self._run / "secrets" / f"{self._name}.json"
        secrets = secrets_file.read_bytes() if secrets_file.exists() else b""
        self._secrets: dict[str, str] = json.loads(secrets) if secrets else {}
        self._digest = config_digest(content, secrets)
        self._parent = self._supervisor()
        self._stopping = 0  # the signal that told us to stop
        self._child = 0  # process id of the command, which leads a session and process group of its own
        self._child_exit: int | None = None
        self._earlier = self._earlier_notes()
        # a copy that replaces one that was killed goes on counting
        self._restarts: int = self._earlier["restarts"] + 1 if self._earlier else 0
        self._exits = 0
        self._failures = 0  # in a row
        self._last_exit: int | None = None
        self._started_at = 0.0  # epoch seconds
        self._wake, self._wake_write = os.pipe()

    def run(self) -> int:
        """Keep the command alive until it is done by its restart policy or a signal asks for the end.

        Returns:
            The exit status of the command's last run: 128 + N when signal N ended it.
        """
        self._prepare_signals()
        if not self._lock():
            return LOCK_BUSY
        sweep(self._config["home"], self._name)
        if self._is_done():
            return self._earlier["lastExit"]
        while True:
            code, healthy_seconds = self._run_once()
            if self._stopping:
                self._report("stopped")
                return code
            self._exits += 1
            self._last_exit = code
            policy: str = self._config["restart"]["policy"]
            if policy == "never" or (policy == "on-failure" and code == 0):
                self._say(f"the command ended with exit status {code}")
                self._report("finished")
                return code
            self._failures = 1 if healthy_seconds >= HEALTHY_RESET else self._failures + 1
            delay = self._backoff()
            self._say(f"the command ended with exit status {code}; next start in {delay:g} s")
            self._report("backing-off")
            self._pause(delay)
            if self._stopping:
                self._report("stopped")
                return code
            self._restarts += 1

    # -- one run ------------------------------------------------------------------------------------------

    def _run_once(self) -> tuple[int, float]:
        """Prepare and run the command once; return its exit status and its seconds of good health."""
        self._started_at = time.time()
        try:
            environment = self._environment()
            for command in self._config["prepare"]:
                self._report("preparing")
                self._start(command, environment)
                code = self._follow(watch_health=False)[0]
                if code != 0:
                    self._say(f"the preparation {' '.join(command)!r} ended with exit status {code}")
                    return code, 0.0
            if self._stopping:
                return 0, 0.0
            self._start(self._config["command"], environment)
        except StartError as error:
            self._say(str(error))
            return COMMAND_NOT_FOUND, 0.0
        return self._follow(watch_health=True)

    def _follow(self, watch_health: bool) -> tuple[int, float]:
        """Wait for the end of the running command; restart-worthy hangs and stop requests end it."""
        port: int | None = self._config["port"]
        check: dict[str, Any] | None = self._config["healthCheck"]
        begin = time.monotonic()
        healthy_since: float | None = None
        failed = 0
        if watch_health:
            self._report("running" if port is None else "starting")
            if port is None:
                healthy_since = begin
        while True:
            probing = watch_health and port is not None and (check is not None or healthy_since is None)
            if healthy_since is not None:
                interval = check["intervalSeconds"] if check else IDLE_WAKE
            else:
                interval = FIRST_PROBES if time.monotonic() - begin < PATIENT_AFTER else PATIENT_PROBES
            self._pause(interval if probing else IDLE_WAKE, until_exit=True)
            if self._child_exit is not None or self._stopping:
                break
            if not probing or port is None:
                continue
            try:
                passes = self._passes(port, check)
            except InterruptedError:  # a signal arrived: see what it was before judging
                continue
            if passes:
                if healthy_since is None or failed:
                    self._report("running", health="passing")
                healthy_since = healthy_since if healthy_since is not None else time.monotonic()
                failed = 0
                continue
            if healthy_since is None:
                if check and time.monotonic() - begin > check["timeoutSeconds"]:
                    self._say(f"not healthy after {check['timeoutSeconds']:g} s: restarting it")
                    break
                continue
            failed += 1
            self._report("running", health="failing")
            if failed >= HUNG_AFTER:
                self._say(f"{failed} health checks failed in a row: restarting it")
                break
        healthy = 0.0 if healthy_since is None else time.monotonic() - healthy_since
        hung = self._child_exit is None and not self._stopping
        code = self._end()
        return (code or 1) if hung else code, healthy

    def _passes(self, port: int, check: dict[str, Any] | None) -> bool:
        if check is None:
            return accepts_connections(port)
        status = http_status(port, check["path"], PROBE_TIMEOUT, wake=self._wake)
        return status is not None and 200 <= status < 400

    def _environment(self) -> dict[str, str]:
        """Build the command's variables: the clean base from supervisord plus what the program was given."""
        base = {key: value for key, value in os.environ.items() if not key.startswith("SUPERVISOR_")}
        variables = {**base, **self._config["environment"], **self._secrets}
        for name, reference in self._config["secretReferences"].items():
            if reference.startswith("env:"):
                continue  # read when the program was set up: it is among the secrets
            path = Path(reference.removeprefix("file:"))
            try:
                variables[name] = path.read_text().rstrip("\n")
            except OSError as error:
                raise StartError(f"the secret for {name} cannot be read from {path}: {error.strerror}") from error
        return {**variables, MARKER: _mark(self._config["home"], self._name)}

    def _start(self, command: list[str], environment: dict[str, str]) -> None:
        """Start a command as the leader of its own session, bound to the life of this process."""
        directory = self._config["workingDirectory"]
        if directory is not None and not Path(directory).is_dir():
            raise StartError(f"the working directory {directory} does not exist")
        keeper = os.getpid()
        self._child_exit = None
        sys.stdout.flush()
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)
        # A signal that meets the child before it has dropped our handlers would be lost on them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                for number in handled:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != keeper:
                    os._exit(1)
                if directory is not None:
                    os.chdir(directory)
                os.execvpe(command[0], command, environment)
            except OSError as error:
                os.write(2, f"trackbed: cannot start {command[0]}: {error.strerror}\n".encode())
            finally:
                os._exit(COMMAND_NOT_FOUND)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._child = pid
        self._say(f"started {command[0]} (process {pid})")

    def _end(self) -> int:
        """End what is left of the command's process group, first politely; return the exit status."""
        deadline = time.monotonic() + self._config["stopTimeoutSeconds"]
        self._signal_group(signal.SIGTERM)
        while self._group_lives() and time.monotonic() < deadline:
            self._pause(0.05, until_exit=False, interruptible=False)
        self._signal_group(signal.SIGKILL)
        while self._child_exit is None:
            self._pause(0.05, until_exit=True, interruptible=False)
            self._signal_group(signal.SIGKILL)  # a command that was only just forked had no group before
        sweep(self._config["home"], self._name)
        return self._child_exit

    def _group_lives(self) -> bool:
        try:
            os.killpg(self._child, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # something of the group runs as another user, out of reach
            return False
        return True

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self._child, number)
        except (ProcessLookupError, PermissionError):
            return

    # -- waiting and signals --------------------------------------------------------------------------------

    def _prepare_signals(self) -> None:
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, _ignore)  # only to wake the wait below
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)

    def _on_stop(self, number: int, _frame: object) -> None:
        self._stopping = self._stopping or number

    def _pause(self, seconds: float, *, until_exit: bool = False, interruptible: bool = True) -> None:
        """Wait, reaping children; end early on a stop request and, if asked, at the command's exit."""
        deadline = time.monotonic() + seconds
        while True:
            self._reap()
            if os.getppid() != self._parent:
                self._stopping = self._stopping or signal.SIGTERM
            left = deadline - time.monotonic()
            if left <= 0 or (interruptible and self._stopping) or (until_exit and self._child_exit is not None):
                return
            select.select([self._wake], [], [], min(left, IDLE_WAKE))
            try:
                while os.read(self._wake, 512):
                    pass
            except BlockingIOError:
                continue

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                code = os.waitstatus_to_exitcode(status)
                self._child_exit = code if code >= 0 else 128 - code

    def _lock(self) -> bool:
        """Take the program's lock; wait for an earlier copy that is just ending."""
        locks = self._run / "locks"
        locks.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(locks / f"{self._name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + self._config["stopTimeoutSeconds"] + 5
        while not self._stopping:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._say("another copy of this program is still running: giving up")
                    return False
                self._pause(0.05)
        return False

    def _backoff(self) -> float:
        restart = self._config["restart"]
        doubled = restart["backoffSeconds"] * 2.0 ** min(self._failures - 1, 30)
        return min(restart["maximumBackoffSeconds"], doubled)

    # -- telling --------------------------------------------------------------------------------------------

    def _supervisor(self) -> int:
        """Return the process id of supervisord, which may have been killed before this process could look."""
        try:
            return int((self._run / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return os.getppid()

    def _earlier_notes(self) -> dict[str, Any]:
        """Read what an earlier copy wrote last; nothing if it was stopped or there was none."""
        try:
            notes: dict[str, Any] = json.loads((self._run / "status" / f"{self._name}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return {} if notes["phase"] == "stopped" else notes

    def _is_done(self) -> bool:
        """Say whether this very program has ended for good: a supervisor that comes back starts all again."""
        return self._earlier.get("phase") == "finished" and self._earlier["digest"] == self._digest

    def _report(self, phase: str, health: str = "unknown") -> None:
        alive = self._child if phase in ("preparing", "starting", "running") and self._child else 0
        status = {
            "name": self._name,
            "phase": phase,
            "health": health,
            "launcher": {"pid": os.getpid(), "identity": identity(os.getpid())},
            "command": {"pid": alive, "identity": identity(alive)} if alive else None,
            "startedAt": self._started_at,
            "restarts": self._restarts,
            "exits": self._exits,
            "failures": self._failures,
            "lastExit": self._last_exit,
            "digest": self._digest,
        }
        folder = self._run / "status"
        draft = folder / f".{self._name}.{os.getpid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            draft.write_text(json.dumps(status))
            draft.replace(folder / f"{self._name}.json")
        except OSError as error:  # a full disk must not end a healthy command
            self._say(f"the status cannot be written: {error.strerror}")

    def _say(self, text: str) -> None:
        try:
            print(time.strftime("%Y-%m-%dT%H:%M:%S%z"), f"trackbed: {text}", flush=True)
        except OSError:  # supervisord, who reads our output, is gone
            return


def _mark(home: str, name: str) -> str:
    return f"{home}::{name}"


def _ignore(_number: int, _frame: object) -> None:
    pass


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())
