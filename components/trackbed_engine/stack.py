"""One stack of a project: the operations of the Pulumi CLI on it, and the one gateway to its state."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
from trackbed.errors import ProblemsError, UserError

from trackbed_engine.events import ROOT_TYPE, Change, Event, Failure, Finished, Notice, Output, read_events
from trackbed_engine.install import Engine
from trackbed_engine.plugin import Plugin
from trackbed_engine.settings import default_backend, pulumi_variables, state_directory

LOCKED = re.compile(r"created by (?P<user>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<time>\S+)")
MISSING = re.compile(r"no stack named '.*' found")
ABANDONED_SECONDS = 10.0  # how long an engine whose command was killed may take to notice and end
POLL = 0.1  # seconds
CRASHED = re.compile(r"program exited with non-zero exit code: \d+$")
LAST_LINES = 40  # of what a program wrote that crashed
UNHELPFUL = re.compile(r"^(update|preview|destroy|refresh) failed$")

OnEvent = Callable[[Event], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """What an operation did, or would do.

    Args:
        changes: the last word on each resource, in the order of the engine.
    """

    changes: Sequence[Change]

    @property
    def effective(self) -> list[Change]:
        """The changes that touch something, components left out."""
        return [change for change in self.changes if change.operation != "same" and not change.is_component]


class Stack:
    """A stack of a project, driven through the Pulumi CLI; as a context manager it keeps a plugin for its operations.

    Args:
        project: the directory that holds Pulumi.yaml.
        name: the stack's name, which is the environment's.
        engine: the engine to use.
    """

    def __init__(self, project: Path, name: str, engine: Engine) -> None:
        self.project = project
        self.name = name
        self._environment = {**os.environ, **pulumi_variables(project, engine)}
        self._plugin: Plugin | None = None

    def __enter__(self) -> Stack:
        self._plugin = Plugin(self._environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._plugin is not None:
            self._plugin.end()
            self._plugin = None

    @property
    def file(self) -> Path:
        """The stack's configuration file, which holds the environment spec."""
        return self.project / "stacks" / f"Pulumi.{self.name}.yaml"

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        return self.name in {
            stack["name"].rsplit("/", 1)[-1] for stack in json.loads(self._run("stack", "ls", "--json"))
        }

    def preview(self, on_event: OnEvent) -> Outcome:
        """Find out what `up` would do; touches nothing, but makes the stack where the backend does not know it.

        Raises:
            UserError: the program, the spec or a resource's check refused.
        """
        return self._operate_made(["preview"], on_event)

    def up(self, on_event: OnEvent, *, refresh: bool = True) -> Outcome:
        """Bring the resources to what the program says; may be repeated after it was interrupted.

        The stack is made where the backend does not know it.

        Args:
            on_event: called with each event.
            refresh: look first at what the resources really are, so that what died is started again.

        Raises:
            UserError: something failed; the message has every failure.
        """
        return self._operate_made(["up", "--yes", "--skip-preview", *(["--refresh"] if refresh else [])], on_event)

    def destroy(self, on_event: OnEvent) -> Outcome:
        """Take all resources away; what is retained stays. May be repeated after it was interrupted.

        Raises:
            UserError: something failed; the message has every failure.
        """
        return self._operate(["destroy", "--yes", "--skip-preview"], on_event)

    def remove(self) -> None:
        """Forget the stack and its history; its configuration file is kept."""
        self._run("stack", "rm", self.name, "--yes", "--preserve-config")

    def resources(self) -> list[Mapping[str, Any]]:
        """Return the resources as the state records them; secrets stay encrypted."""
        return self._export().get("deployment", {}).get("resources") or []

    def retained(self) -> list[str]:
        """Return the logical names of the resources that `destroy` would keep."""
        return [resource["urn"].rsplit("::", 1)[1] for resource in self.resources() if resource.get("retainOnDelete")]

    def release(self) -> None:
        """Let the next `destroy` delete what it would keep; only after a person's explicit word."""
        state = self._export()
        for resource in state["deployment"].get("resources") or []:
            resource.pop("retainOnDelete", None)
        self._run("stack", "import", "--stack", self.name, input=json.dumps(state))

    def _drop_foreign_salt(self) -> None:
        """Remove the salt of a passphrase that only another machine has, from a file that was committed with it.

        The project's own state is new here, so the salt protects nothing, unless the file holds encrypted values.
        """
        text = self.file.read_text(encoding="utf-8")
        if default_backend(self.project, os.environ) and "secure:" not in text:
            kept = [line for line in text.splitlines(keepends=True) if not line.startswith("encryptionsalt:")]
            self.file.write_text("".join(kept), encoding="utf-8")

    def _export(self) -> dict[str, Any]:
        return json.loads(self._run("stack", "export", "--stack", self.name))

    def _operate_made(self, arguments: Sequence[str], on_event: OnEvent) -> Outcome:
        # Asking the backend whether it knows the stack would cost each later operation a start of the engine.
        if default_backend(self.project, os.environ) and not any(state_directory(self.project).glob(".pulumi")):
            self._make()
        try:
            return self._operate(arguments, on_event)
        except MissingError:
            self._make()
        return self._operate(arguments, on_event)

    def _make(self) -> None:
        self._drop_foreign_salt()
        self._run("stack", "init", self.name, "--no-select")

    def _operate(self, arguments: Sequence[str], on_event: OnEvent) -> Outcome:
        return self._past_stale_lock(lambda: self._stream(arguments, on_event), on_event)

    def _past_stale_lock(self, operation: Callable[[], Result], on_event: OnEvent) -> Result:
        try:
            return operation()
        except LockedError as error:
            if not error.will_be_free():
                raise
            on_event(Notice(f"taking over the lock of process {error.pid}, which was killed"))
        # Nobody will ever give the lock back.
        self._run_once("cancel", "--yes", "--stack", self.name)
        self._forget_pending()
        return operation()

    def _forget_pending(self) -> None:
        """Forget what a killed engine was making, of which the engine would warn from then on.

        Only for resources of this machine, which are adopted where they are there already; what a cloud may have
        made stays recorded, for a person to look at.
        """
        state = self._export()
        pending = state["deployment"].get("pending_operations") or []
        kept = [one for one in pending if not one["resource"]["type"].startswith("trackbed:")]
        if kept != pending:
            state["deployment"]["pending_operations"] = kept
            self._run("stack", "import", "--stack", self.name, input=json.dumps(state))

    def _stream(self, arguments: Sequence[str], on_event: OnEvent) -> Outcome:
        command = ["pulumi", *arguments, "--stack", self.name, "--json", "--non-interactive"]
        changes: dict[str, Change] = {}
        failures: list[Failure] = []
        output: list[str] = []
        # Standard error goes to the same pipe, or a full one could block the engine; it holds no JSON.
        with subprocess.Popen(
            command,
            cwd=self.project,
            env=self._streaming(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # out of reach of Ctrl-C, which is handed on below, once
        ) as running:
            assert running.stdout is not None
            said: list[str] = []
            try:
                for event in read_events(_remember(running.stdout, said)):
                    if isinstance(event, Failure):
                        failures.append(event)
                    elif isinstance(event, Output):
                        output = [*output, event.text][-LAST_LINES:]
                    elif isinstance(event, Finished) and ROOT_TYPE not in event.change.urn.split("::"):
                        changes[event.change.urn] = event.change
                    on_event(event)
            except KeyboardInterrupt:
                _interrupt(running)
                raise
        if running.returncode != 0:
            self._raise([_explained(failure, output) for failure in failures], "".join(said), running.returncode)
        return Outcome(list(changes.values()))

    def _streaming(self) -> dict[str, str]:
        # Without this variable `preview --json` prints one document at its end.
        streaming = {**self._environment, "PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
        return streaming if self._plugin is None else {**streaming, **self._plugin.variables(streaming)}

    def _run(self, *arguments: str, input: str | None = None) -> str:
        return self._past_stale_lock(lambda: self._run_once(*arguments, input=input), lambda event: None)

    def _run_once(self, *arguments: str, input: str | None = None) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.project,
            env=self._environment,
            input=input,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self._raise([], done.stderr or done.stdout, done.returncode)
        return done.stdout

    def _raise(self, failures: Sequence[Failure], said: str, status: int) -> None:
        """Raise what went wrong, in the engine's own words but for a held lock, which names its holder."""
        if MISSING.search(said):
            raise MissingError(said.strip())
        lock = LOCKED.search(said)
        if lock is not None:
            raise LockedError(self.name, lock)
        told = [
            f"{failure.urn.rsplit('::', 1)[-1]}: {failure.message}" if failure.urn else failure.message
            for failure in failures
            if not UNHELPFUL.match(failure.message)
        ]
        # A program that says itself what is wrong ends like one that crashed, without a word of its own.
        told = [line for line in told if not CRASHED.search(line)] or told
        told = list(dict.fromkeys(told)) or [said.strip() or _ending(status)]
        raise ProblemsError(f"the environment {self.name!r} could not be brought to what its file says", told)


class MissingError(UserError):
    """The backend does not know the stack."""


class LockedError(UserError):
    """Another operation holds the lock of the stack.

    Args:
        stack: the stack's name.
        lock: who holds it, as the engine told.
    """

    def __init__(self, stack: str, lock: re.Match[str]) -> None:
        self.pid = int(lock["pid"])
        self._on_this_machine = lock["host"] == socket.gethostname()
        holder = f"{lock['user']} on {lock['host']} (process {lock['pid']}) since {lock['time']}"
        super().__init__(f"the environment {stack!r} is locked by {holder}", hint="wait until it has ended")

    def will_be_free(self) -> bool:
        """Whether the holder was killed; waits for one that goes on for a moment after its command was killed."""
        if not self._on_this_machine:
            return False
        deadline = time.monotonic() + ABANDONED_SECONDS
        while _is_pulumi(self.pid):
            if not _is_abandoned(self.pid) or time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True


def _ending(status: int) -> str:
    if status < 0:
        return f"the engine was killed by signal {-status}; what it had begun is taken up by the next `up` or `down`"
    return f"the engine ended with exit status {status} and gave no reason"


def _explained(failure: Failure, output: Sequence[str]) -> Failure:
    """Add what a program wrote that crashed to the engine's bare word that it did."""
    if not output or not CRASHED.search(failure.message):
        return failure
    return Failure(failure.urn, "\n".join([f"{failure.message}; it wrote:", *output]))


def _interrupt(running: subprocess.Popen[str]) -> None:
    """Let the engine give up what it waits for and put its state in order; a second Ctrl-C ends it at once."""
    while running.poll() is None:
        running.send_signal(signal.SIGINT)
        with suppress(KeyboardInterrupt):
            running.communicate()


def _is_pulumi(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("pulumi")
    except psutil.NoSuchProcess:
        return False


def _is_abandoned(pid: int) -> bool:
    """Whether an engine has lost what started it, and so will end at its next word."""
    try:
        parent = psutil.Process(pid).parent()
        return parent is None or parent.pid == 1 or parent.name() == "systemd"
    except psutil.Error:
        return True


def _remember(lines: Any, said: list[str]) -> Any:
    """Hand on the lines, keeping those that are not JSON: the engine's plain words."""
    for line in lines:
        if not line.startswith("{"):
            said.append(line)
        yield line
