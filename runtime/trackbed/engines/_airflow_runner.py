# pyright: reportMissingImports=false, reportPrivateUsage=false
"""Runs the DAGs of one file; the engine starts it with the interpreter of the Airflow environment.

It is `airflow dags test` with the two things a real deployment has and that command lacks: every task runs in a process
of its own, so that no state leaks from one to the next, and independent tasks run side by side. Parsing, scheduling
decisions (dependencies, trigger rules, retries, mapping) and the execution of a task are Airflow's own. There is no
server, and nothing listens: the tasks speak to Airflow's execution API in memory.

It must not import trackbed, which that environment does not have.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import base64
import ctypes
import fcntl
import importlib
import importlib.metadata
import json
import logging
import os
import selectors
import shlex
import signal
import sys
import sysconfig
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

BUNDLE = "dags-folder"  # Airflow's name for the DAGs folder of its configuration
POLL_SECONDS = 0.2  # how often waiting retries and sensors are looked at
# Loggers in which Airflow tells of its own work, and the level from which that is shown. Tasks use others.
QUIET_LOGGERS = {
    "airflow._shared": "ERROR",
    "airflow.api_fastapi": "WARNING",
    "airflow.dag_processing": "WARNING",
    "airflow.models": "WARNING",
    "airflow.sdk._shared": "ERROR",
    "airflow.sdk.api.client": "CRITICAL",  # what it reports is raised in the task too
    "airflow.sdk.definitions.dag": "WARNING",
    "airflow.serialization": "WARNING",
    "airflow.settings": "WARNING",
    "airflow.utils": "WARNING",
    "alembic": "WARNING",
    "task": "WARNING",
}
WARNING = ": warning: "  # what `_show_warnings` puts between place and text
LIBRARIES = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))
PDEATHSIG = 1  # prctl's option: the signal a process gets when its parent dies
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run the chosen DAGs of a file one after the other; 0 when all succeeded."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    home = Path(os.environ["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True, mode=0o700)  # before Airflow makes it, open to all
    _encrypt_secrets(home)
    _quieten()
    _migrate_once(home)
    defined = _load(options.file)
    if defined is None:
        return 1
    dags = _chosen(defined, options.dag_id)
    if not dags:
        return 2
    _warm_execution_api()
    from airflow.configuration import conf

    scheduler = Scheduler(defined, conf.getint("core", "parallelism"), options.mark_success_pattern)
    succeeded = True
    for dag in dags:
        if dag.dag_id not in scheduler.triggered:  # then it has run already, because a DAG before it wanted it
            succeeded &= scheduler.run(dag, options.logical_date, options.conf)
    return 0 if succeeded else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trackbed run DAG.py", description="Runs the DAGs of a file with Airflow.", allow_abbrev=False
    )
    parser.add_argument("file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dag-id", metavar="ID", help="run only this DAG (default: all of the file, in order)")
    parser.add_argument(
        "--logical-date",
        metavar="DATE",
        type=_date,
        help="the run's logical date, in ISO format (default: now)",
    )
    parser.add_argument(
        "-c", "--conf", metavar="JSON", type=_json_object, help="a JSON object: the run's conf and parameters"
    )
    parser.add_argument(
        "--mark-success-pattern",
        metavar="REGEX",
        help="do not run tasks whose id matches: they count as succeeded",
    )
    return parser.parse_args(arguments)


def _date(text: str) -> Any:
    from datetime import UTC, datetime

    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; give it as 2026-01-31 or 2026-01-31T12:00:00") from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is JSON but no object; give it as '{{\"name\": 1}}'")
    return value


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _encrypt_secrets(home: Path) -> None:
    """Give the environment a key of its own, with which Airflow encrypts variables and passwords in its database."""
    file = home / "fernet.key"
    with _only_one(home):
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, base64.urlsafe_b64encode(os.urandom(32)))
            os.close(descriptor)
    # By a command, not by value: variables are passed on to whatever a task starts.
    os.environ.setdefault("AIRFLOW__CORE__FERNET_KEY_CMD", f"cat {shlex.quote(str(file))}")


@contextmanager
def _only_one(home: Path) -> Generator[None]:
    """Let one process at a time prepare the environment's Airflow."""
    with (home / "preparing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _migrate_once(home: Path) -> None:
    """Make or upgrade the metadata database, once per version of Airflow; of two runs at once one waits."""
    marker = home / "migrated"
    version = importlib.metadata.version("apache-airflow-core")
    with _only_one(home):
        if marker.exists() and marker.read_text() == version:
            return
        print(f"trackbed: preparing Airflow's metadata database in {home}", file=sys.stderr, flush=True)
        from airflow.utils import db

        db.initdb()
        db.create_default_connections()  # such as `fs_default`, which sensors use unless told otherwise
        marker.write_text(version)


def _quieten() -> None:
    """Leave out Airflow's records of its own work, and show warnings, which Airflow would log, plainly."""
    levels = " ".join(f"{logger}={level}" for logger, level in QUIET_LOGGERS.items())
    os.environ.setdefault("AIRFLOW__LOGGING__NAMESPACE_LEVELS", levels)
    importlib.import_module("airflow.sdk")  # Airflow sets logging and warnings up here: what follows has the last word
    for logger, level in QUIET_LOGGERS.items():
        logging.getLogger(logger).setLevel(level)

    _show_warnings(lambda text: print(text, file=sys.stderr, flush=True))
    # Airflow's own use of its dependencies is nothing that the author of a DAG could mend.
    warnings.filterwarnings("ignore", message=".*starlette.testclient.*")


def _show_warnings(say: Callable[[str], None]) -> None:
    """Let each warning of this process be told once by `say`, as one line with the place it is about."""
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        # A library that looks at all of Airflow's modules meets its old names too: that is none of the DAG's doing.
        if filename.startswith(LIBRARIES) and category.__name__ == "DeprecatedImportWarning":
            return
        text = f"{filename}:{lineno}{WARNING}{message}"
        if text not in told:
            told.add(text)
            say(text)

    warnings.showwarning = show


def _load(file: Path) -> dict[str, Any] | None:
    """Write the file's DAGs to the database and return them by id as defined, None when it cannot be imported."""
    from airflow import settings
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.exceptions import SerializationError

    with _session_of(settings) as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    # Not in safe mode: what the engine recognised is not filtered again by words in its text.
    with _order_of_definition() as order:
        bag = BundleDagBag(dag_folder=file, bundle_path=file.parent, bundle_name=BUNDLE, safe_mode=False)
    for error in bag.import_errors.values():
        print(f"Airflow cannot import {file}:\n{error}", file=sys.stderr)
    if bag.import_errors:
        return None
    try:
        sync_bag_to_db(bag, BUNDLE, None)
    except SerializationError as error:
        print(f"Airflow cannot use {file}:\n{error}", file=sys.stderr)
        return None
    ids = [*dict.fromkeys(dag_id for dag_id in order if dag_id in bag.dags), *bag.dags]
    return {dag_id: bag.dags[dag_id] for dag_id in ids}


@contextmanager
def _order_of_definition() -> Generator[list[str]]:
    """Note the ids of DAGs as they are made, since Airflow collects those of a file in a set."""
    from airflow.sdk import DAG

    made: list[str] = []
    original = DAG.__init__

    def note(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self.dag_id)

    DAG.__init__ = note
    try:
        yield made
    finally:
        DAG.__init__ = original


def _chosen(defined: dict[str, Any], dag_id: str | None) -> list[Any]:
    if dag_id is None and defined:
        return list(defined.values())
    if dag_id in defined:
        return [defined[dag_id]]
    known = ", ".join(defined) or "none at all"
    wanted = "defines no DAG" if dag_id is None else f"defines no DAG {dag_id!r}"
    print(f"error: the file {wanted}; it defines: {known}", file=sys.stderr)
    return []


def _warm_execution_api() -> None:
    """Let Airflow build its execution API here, once: that takes seconds, and each task's process inherits it."""
    import httpx
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    async def ask_once() -> None:
        transport = in_process_api_server().atransport
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process.invalid") as client:
            await client.get("/variables/trackbed")

    asyncio.run(ask_once())


@contextmanager
def _session_of(settings: Any) -> Generator[Any]:
    session = settings.Session()
    try:
        yield session
        session.commit()
    finally:
        settings.Session.remove()


@dataclass
class Child:
    """A task that runs in a process of its own.

    Args:
        pid: the process.
        label: the task's id, with the index of a mapped one.
        run: the DAG run it belongs to.
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


@dataclass
class ActiveRun:
    """A DAG run that is under way.

    Args:
        dag: the DAG as its file defines it.
        record: Airflow's DagRun.
        states: the state of each task as it was last told.
    """

    dag: Any
    record: Any
    states: dict[str, str] = field(default_factory=dict[str, str])


class Scheduler:
    """The loop that starts what Airflow says can start, and reads what runs.

    Args:
        dags: every DAG of the file by id; one of them may trigger another.
        parallelism: tasks at the same time.
        mark_success_pattern: regular expression of task ids that are not run.

    `triggered` holds the ids of the DAGs that ran because another one triggered them.
    """

    def __init__(self, dags: dict[str, Any], parallelism: int, mark_success_pattern: str | None) -> None:
        from airflow import settings

        self.triggered: set[str] = set()
        self._dags = dags
        self._parallelism = parallelism
        self._mark_success_pattern = mark_success_pattern
        self._settings = settings
        self._runs: list[ActiveRun] = []
        self._children: dict[int, Child] = {}
        self._warnings: set[str] = set()
        self._selector = selectors.DefaultSelector()

    def run(self, dag: Any, logical_date: Any, conf: dict[str, Any] | None) -> bool:
        """Run one DAG, and those of the same file that it triggers, to the end; True when all succeeded."""
        from airflow.sdk import timezone

        self._started = timezone.utcnow()
        session = self._settings.Session()
        first = self._create_run(dag, logical_date, conf, session)
        self._runs = [first]
        _say(f"{dag.dag_id}: run {first.record.run_id}, logical date {first.record.logical_date.isoformat()}")
        try:
            while self._tick(session):
                self._read_children(session)
        except KeyboardInterrupt:
            self._kill_children()
            self._abandon(session)
            _say(f"{dag.dag_id}: interrupted")
            raise SystemExit(INTERRUPTED) from None
        succeeded = [self._conclude(run, session) for run in self._runs]
        self._settings.Session.remove()
        return all(succeeded)

    def _create_run(self, dag: Any, logical_date: Any, conf: dict[str, Any] | None, session: Any) -> ActiveRun:
        from airflow.models.dagrun import DagRun, get_or_create_dagrun
        from airflow.sdk import timezone
        from airflow.serialization.encoders import coerce_to_core_timetable
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        dag.validate()
        run_after = timezone.utcnow()
        # Without a logical date a run has no `ds`, which most DAGs use.
        logical_date = timezone.coerce_datetime(logical_date or run_after)
        timetable = coerce_to_core_timetable(dag.timetable)
        record = get_or_create_dagrun(
            dag=_scheduler_dag(dag),
            start_date=run_after,
            logical_date=logical_date,
            data_interval=timetable.infer_manual_data_interval(run_after=logical_date),
            run_after=run_after,
            run_id=DagRun.generate_run_id(run_type=DagRunType.MANUAL, logical_date=logical_date, run_after=run_after),
            session=session,
            conf=conf,
            triggered_by=DagRunTriggeredByType.TEST,
            triggering_user_name="trackbed",
        )
        return ActiveRun(dag, record)

    def _tick(self, session: Any) -> bool:
        """Take every scheduling decision that is due; False when nothing is left to do."""
        session.expire_all()
        self._adopt_triggered(session)
        ready: list[tuple[ActiveRun, Any]] = []
        for run in self._runs:
            if run.record.state == "running":
                ready += [(run, ti) for ti in self._schedule(run, session)]
            self._tell_changes(run, session)
        ready.sort(key=lambda pair: -pair[1].priority_weight)
        for run, ti in ready:
            if len(self._children) < self._parallelism and self._may_start(run, ti):
                self._start(run, ti, session)
        return bool(self._children) or any(run.record.state == "running" for run in self._runs)

    def _adopt_triggered(self, session: Any) -> None:
        """Take over the runs that tasks triggered of DAGs in the same file."""
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select, update

        queued = select(DagRun).where(
            DagRun.state == "queued", DagRun.dag_id.in_(self._dags), DagRun.queued_at >= self._started
        )
        for record in session.scalars(queued).all():
            # In one statement, since another `trackbed run` of the same file may see it too.
            claim = update(DagRun).where(DagRun.id == record.id, DagRun.state == "queued").values(state="running")
            claimed = session.execute(claim).rowcount
            session.commit()
            if not claimed:
                continue
            dag = self._dags[record.dag_id]
            record.dag = _scheduler_dag(dag)
            self._runs.append(ActiveRun(dag, record))
            self.triggered.add(dag.dag_id)
            _say(f"{dag.dag_id}: triggered, run {record.run_id}")

    def _schedule(self, run: ActiveRun, session: Any) -> list[Any]:
        """Let Airflow decide which tasks of a run are due, and return those that wait to be started."""
        from airflow.sdk import timezone

        due, _ = run.record.update_state(session=session)
        for ti in due:
            if ti.state != "up_for_reschedule":
                ti.try_number += 1
            ti.state = "scheduled"
            ti.scheduled_dttm = timezone.utcnow()
        session.commit()
        return [ti for ti in run.record.get_task_instances(session=session) if ti.state == "scheduled"]

    def _may_start(self, run: ActiveRun, ti: Any) -> bool:
        task = run.dag.task_dict[ti.task_id]
        siblings = [child for child in self._children.values() if child.run is run]
        limits = [task.max_active_tis_per_dag, task.max_active_tis_per_dagrun]
        of_task = sum(child.task_id == ti.task_id for child in siblings)
        return len(siblings) < run.dag.max_active_tasks and all(limit is None or of_task < limit for limit in limits)

    def _start(self, run: ActiveRun, ti: Any, session: Any) -> None:
        import re

        task = run.dag.task_dict[ti.task_id]
        if self._mark_success_pattern and re.fullmatch(self._mark_success_pattern, ti.task_id):
            ti.set_state("success", session=session)
            session.commit()
            return
        ti.state = "queued"
        label, ti_id, task_id = _label(ti), ti.id, ti.task_id
        retries = f" (try {ti.try_number} of {ti.max_tries + 1})" if ti.max_tries else ""
        run.states[label] = "running"
        _say(f"{label}: started{retries}")
        session.commit()
        # No database connection may be shared with the child.
        self._settings.engine.dispose()
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

    def _read_children(self, session: Any) -> None:
        """Pass on what tasks print, until one of them ended or something else may be due."""
        deadline = time.monotonic() + POLL_SECONDS
        if not self._children:
            time.sleep(0 if self._due_at_once(session) else POLL_SECONDS)
        while self._children and time.monotonic() < deadline:
            for key, _ in self._selector.select(timeout=POLL_SECONDS):
                child = key.data
                data = os.read(child.output, 65536)
                if data:
                    *lines, child.rest = (child.rest + data).split(b"\n")
                    self._pass_on(child, lines)
                else:
                    self._bury(child, session)
                    deadline = 0

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

    def _due_at_once(self, session: Any) -> bool:
        """Whether Airflow only settled states (skips, mapping), so that the next decision need not wait."""
        waiting = {"up_for_retry", "up_for_reschedule"}
        states = {ti.state for run in self._runs for ti in run.record.get_task_instances(session=session)}
        return not states & waiting

    def _bury(self, child: Child, session: Any) -> None:
        """Note the end of a task's process, and fail the task where it could not do so itself."""
        from airflow.models.taskinstance import TaskInstance

        if child.rest:
            self._pass_on(child, [child.rest])
        self._selector.unregister(child.output)
        os.close(child.output)
        del self._children[child.pid]
        _, status = os.waitpid(child.pid, 0)
        session.expire_all()
        ti = session.get(TaskInstance, child.ti_id)
        if ti is not None and ti.state in {"queued", "running", "scheduled"}:
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            ti.task = child.run.record.dag.get_task(child.task_id)
            ti.handle_failure(f"The process of task {child.label} {how}", session=session)
            session.commit()

    def _kill_children(self) -> None:
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        for child in self._children.values():
            os.waitpid(child.pid, 0)

    def _abandon(self, session: Any) -> None:
        session.rollback()
        session.expire_all()
        for run in self._runs:
            for ti in run.record.get_task_instances(session=session):
                if ti.state in {"queued", "running", "scheduled", "up_for_retry", "up_for_reschedule", "deferred"}:
                    ti.state = "failed"
            run.record.set_state("failed")
        session.commit()

    def _tell_changes(self, run: ActiveRun, session: Any) -> None:
        """Say which tasks changed state since it was last told; the end of one comes after all that it printed."""
        printing = {child.label for child in self._children.values() if child.run is run}
        for ti in run.record.get_task_instances(session=session):
            label, state = _label(ti), str(ti.state or "")
            if label in printing or state in {"", "scheduled", "queued", "running"} or run.states.get(label) == state:
                continue
            took = f" after {ti.duration:.1f} s" if run.states.get(label) == "running" and ti.duration else ""
            run.states[label] = state
            _say(f"{label}: {state.replace('_', ' ')}{took}")

    def _conclude(self, run: ActiveRun, session: Any) -> bool:
        """Print the table of task states; True when the run succeeded."""
        order = {task.task_id: number for number, task in enumerate(run.dag.topological_sort())}

        def place(ti: Any) -> tuple[int, int]:
            return order.get(ti.task_id, len(order)), ti.map_index

        tis = sorted(run.record.get_task_instances(session=session), key=place)
        if not tis and run.dag.tasks:
            _say(
                f"{run.dag.dag_id}: no task was due at {run.record.logical_date.isoformat()}: "
                "their start_date is later; give a later --logical-date"
            )
            return False
        rows = [
            (_label(ti), str(ti.state or "not run").replace("_", " "), str(ti.try_number or "-"), _seconds(ti))
            for ti in tis
        ]
        _say(f"\n{_table([('task', 'state', 'tries', 'seconds'), *rows])}")
        state = str(run.record.state)
        failed = [_label(ti) for ti in tis if ti.state == "failed"]
        _say(f"{run.dag.dag_id}: {state}" + (f"; failed tasks: {', '.join(failed)}" if failed else ""))
        return state == "success"


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
        _show_warnings(late.append)
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
    from airflow import settings
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk.definitions.dag import _run_task

    settings.engine.dispose(close=False)
    settings.Session.remove()
    ti = settings.Session().get(TaskInstance, ti_id)
    _run_task(ti=ti, task=task, run_triggerer=True)


def _scheduler_dag(dag: Any) -> Any:
    """Return the DAG as Airflow's scheduler sees it, with the callbacks that this form leaves out."""
    from airflow.serialization.serialized_objects import DagSerialization

    scheduled = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    scheduled.on_success_callback = dag.on_success_callback
    scheduled.on_failure_callback = dag.on_failure_callback
    return scheduled


def _label(ti: Any) -> str:
    return ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"


def _seconds(ti: Any) -> str:
    return f"{ti.duration:.1f}" if ti.duration else "-"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _say(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
