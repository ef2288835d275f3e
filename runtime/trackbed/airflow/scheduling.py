# pyright: reportMissingImports=false
"""The loop that starts what Airflow says can start, and reads what runs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow import settings
from airflow.configuration import conf as configuration
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import timezone

from trackbed.airflow.reporting import conclude, say, tell_changes, tell_start
from trackbed.airflow.runs import ActiveRun, abandon, adopt_triggered, create_run, due_tasks
from trackbed.airflow.tasks import Child, TaskProcesses

POLL_SECONDS = 0.2  # how often waiting retries and sensors are looked at
WAITING = frozenset({"up_for_retry", "up_for_reschedule"})
INTERRUPTED = 130


class Scheduler:
    """Runs DAGs of one file.

    Args:
        dags: every DAG of the file by id; one of them may trigger another.
        mark_success_pattern: regular expression of task ids that are not run.

    `triggered` holds the ids of the DAGs that ran because another one triggered them.
    """

    def __init__(self, dags: Mapping[str, Any], mark_success_pattern: str | None) -> None:
        self.triggered: set[str] = set()
        self._dags = dags
        self._parallelism = configuration.getint("core", "parallelism")
        self._mark_success_pattern = mark_success_pattern
        self._runs: list[ActiveRun] = []
        self._processes = TaskProcesses()

    def run(self, dag: Any, logical_date: datetime | None, conf: Mapping[str, Any] | None) -> bool:
        """Run one DAG, and those of the same file that it triggers, to the end; True when all succeeded.

        Raises:
            SystemExit: somebody interrupted it.
        """
        started = timezone.utcnow()
        session = settings.Session()
        first = create_run(dag, logical_date, conf, session)
        self._runs = [first]
        say(f"{dag.dag_id}: run {first.record.run_id}, logical date {first.record.logical_date.isoformat()}")
        try:
            while self._tick(started, session):
                self._wait(session)
        except KeyboardInterrupt:
            self._processes.kill()
            self._abandon(session)
            say(f"{dag.dag_id}: interrupted")
            raise SystemExit(INTERRUPTED) from None
        succeeded = [conclude(run, session) for run in self._runs]
        settings.Session.remove()
        return all(succeeded)

    def _tick(self, started: datetime, session: Any) -> bool:
        """Take every scheduling decision that is due; False when nothing is left to do."""
        session.expire_all()
        for run in adopt_triggered(self._dags, started, session):
            self._runs.append(run)
            self.triggered.add(run.dag.dag_id)
            say(f"{run.dag.dag_id}: triggered, run {run.record.run_id}")
        ready: list[tuple[ActiveRun, Any]] = []
        for run in self._runs:
            if run.record.state == "running":
                ready += [(run, ti) for ti in due_tasks(run, session)]
            tell_changes(run, session, printing={child.label for child in self._processes.of(run)})
        ready.sort(key=lambda pair: -pair[1].priority_weight)
        for run, ti in ready:
            if len(self._processes) < self._parallelism and self._may_start(run, ti):
                self._start(run, ti, session)
        return bool(self._processes) or any(run.record.state == "running" for run in self._runs)

    def _may_start(self, run: ActiveRun, ti: Any) -> bool:
        task = run.dag.task_dict[ti.task_id]
        siblings = self._processes.of(run)
        limits = [task.max_active_tis_per_dag, task.max_active_tis_per_dagrun]
        of_task = sum(child.task_id == ti.task_id for child in siblings)
        return len(siblings) < run.dag.max_active_tasks and all(limit is None or of_task < limit for limit in limits)

    def _start(self, run: ActiveRun, ti: Any, session: Any) -> None:
        if self._mark_success_pattern and re.fullmatch(self._mark_success_pattern, ti.task_id):
            ti.set_state("success", session=session)
            session.commit()
            return
        ti.state = "queued"
        tell_start(run, ti)
        session.commit()
        self._processes.start(run, ti)

    def _wait(self, session: Any) -> None:
        """Pass on what tasks print, until one of them ended or something else may be due."""
        if not self._processes:
            time.sleep(0 if self._due_at_once(session) else POLL_SECONDS)
        for child, code in self._processes.read(POLL_SECONDS):
            self._note_end(child, code, session)

    def _due_at_once(self, session: Any) -> bool:
        """Whether Airflow only settled states (skips, mapping), so that the next decision need not wait."""
        states = {ti.state for run in self._runs for ti in run.task_instances(session)}
        return not states & WAITING

    def _note_end(self, child: Child, code: int, session: Any) -> None:
        """Fail a task whose process ended before it could say how the task did."""
        session.expire_all()
        ti = session.get(TaskInstance, child.ti_id)
        if ti is not None and ti.state in {"queued", "running", "scheduled"}:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            ti.task = child.run.record.dag.get_task(child.task_id)
            ti.handle_failure(f"The process of task {child.label} {how}", session=session)
            session.commit()

    def _abandon(self, session: Any) -> None:
        session.rollback()
        session.expire_all()
        for run in self._runs:
            abandon(run, session)
        session.commit()
