# pyright: reportMissingImports=false, reportPrivateUsage=false
"""Tasks in processes of their own, and what they print."""

from __future__ import annotations

import atexit
import ctypes
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow import settings
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.definitions.dag import _run_task

from trackbed.airflow.quiet import WARNING, show_warnings
from trackbed.airflow.reporting import label_of
from trackbed.airflow.runs import ActiveRun

PDEATHSIG = 1  # prctl's option: the signal a process gets when its parent dies


@dataclass
class Child:
    """A task that runs in a process of its own.

    Args:
        pid: the process.
        label: the task's id, with the index of a mapped one.
        run: the DAG run it belongs to.
        ti_id: Airflow's id of this task of this run.
        task_id: the task's id in the DAG.
        output: the pipe with its standard output and error.
        rest: what was read of a line that has no end yet.
    """

    pid: int
    label: str
    run: ActiveRun
    ti_id: Any
    task_id: str
    output: int
    rest: bytes = b""


class TaskProcesses:
    """The processes of the tasks that run now."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._warnings: set[str] = set()

    def __len__(self) -> int:
        return len(self._children)

    def of(self, run: ActiveRun) -> list[Child]:
        """Return those of one run."""
        return [child for child in self._children.values() if child.run is run]

    def start(self, run: ActiveRun, ti: Any) -> None:
        """Run a task in a new process.

        Args:
            run: the DAG run.
            ti: the task's record; its session must have been committed.
        """
        label, ti_id, task_id = label_of(ti), ti.id, ti.task_id
        task = run.dag.task_dict[task_id]
        settings.engine.dispose()  # no database connection may be shared with the child
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _become_task(parent, writing, ti_id, task)
        os.close(writing)
        child = Child(pid, label, run, ti_id, task_id, reading)
        self._children[pid] = child
        self._selector.register(reading, selectors.EVENT_READ, child)

    def read(self, seconds: float) -> Iterator[tuple[Child, int]]:
        """Pass on what tasks print until some of them ended, and yield these with their exit codes.

        Args:
            seconds: how long at most.
        """
        deadline = time.monotonic() + seconds
        while self._children and time.monotonic() < deadline:
            for key, _ in self._selector.select(timeout=seconds):
                child = key.data
                data = os.read(child.output, 65536)
                if data:
                    *lines, child.rest = (child.rest + data).split(b"\n")
                    self._pass_on(child, lines)
                else:
                    deadline = 0
                    yield child, self._bury(child)

    def kill(self) -> None:
        """End them all."""
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        for child in self._children.values():
            os.waitpid(child.pid, 0)

    def _pass_on(self, child: Child, lines: Sequence[bytes]) -> None:
        """Print what a task printed; a warning that an earlier task gave is not repeated."""
        for line in lines:
            text = line.decode("utf-8", errors="replace")
            if WARNING in text:
                place, _, message = text.partition(WARNING)
                key = place.rpartition(":")[0] + message  # by file, not by line: once is enough
                if key in self._warnings:
                    continue
                self._warnings.add(key)
            print(f"[{child.label}] {text}")
        sys.stdout.flush()

    def _bury(self, child: Child) -> int:
        """Forget a process that has closed its output, and return its exit code; a signal is a negative one."""
        if child.rest:
            self._pass_on(child, [child.rest])
        self._selector.unregister(child.output)
        os.close(child.output)
        del self._children[child.pid]
        _, status = os.waitpid(child.pid, 0)
        return os.waitstatus_to_exitcode(status)


def _become_task(parent: int, output: int, ti_id: Any, task: Any) -> None:
    """In the child: run one task and end the process, never returning."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before that took effect
            os._exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        late: list[str] = []  # told after the task, or they would stand in the middle of the lines it prints
        show_warnings(late.append)
        _execute(ti_id, task)
        print("".join(f"{text}\n" for text in late), end="", file=sys.stderr)
        atexit._run_exitfuncs()  # clients of tasks finish their work here, such as MLflow's open runs
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _execute(ti_id: Any, task: Any) -> None:
    settings.engine.dispose(close=False)
    settings.Session.remove()
    ti = settings.Session().get(TaskInstance, ti_id)
    _run_task(ti=ti, task=task, run_triggerer=True)
