# pyright: reportMissingImports=false
"""DAG runs in Airflow's database: made, or taken over when a task triggered them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow.models.dagrun import DagRun, get_or_create_dagrun
from airflow.sdk import timezone
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select, update

UNFINISHED = frozenset({"queued", "running", "scheduled", "up_for_retry", "up_for_reschedule", "deferred"})


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

    def task_instances(self, session: Any) -> list[Any]:
        """Return Airflow's records of the run's tasks."""
        return self.record.get_task_instances(session=session)


def create_run(dag: Any, logical_date: datetime | None, conf: Mapping[str, Any] | None, session: Any) -> ActiveRun:
    """Make a run of a DAG, as a person does who triggers it by hand.

    Args:
        dag: the DAG as its file defines it.
        logical_date: with a time zone; now when None.
        conf: the run's conf and parameters.
        session: of Airflow's database.
    """
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


def adopt_triggered(dags: Mapping[str, Any], since: datetime, session: Any) -> Iterator[ActiveRun]:
    """Take over the runs that tasks triggered, and yield them.

    Args:
        dags: the DAGs whose runs are wanted, by id.
        since: when this program began to run DAGs.
        session: of Airflow's database.
    """
    queued = select(DagRun).where(DagRun.state == "queued", DagRun.dag_id.in_(dags), DagRun.queued_at >= since)
    for record in session.scalars(queued).all():
        # In one statement, since another `trackbed run` of the same file may see it too.
        claim = update(DagRun).where(DagRun.id == record.id, DagRun.state == "queued").values(state="running")
        claimed = session.execute(claim).rowcount
        session.commit()
        if claimed:
            dag = dags[record.dag_id]
            record.dag = _scheduler_dag(dag)
            yield ActiveRun(dag, record)


def due_tasks(run: ActiveRun, session: Any) -> list[Any]:
    """Let Airflow decide which tasks of a run are due, and return those that wait to be started."""
    due, _ = run.record.update_state(session=session)
    for ti in due:
        if ti.state != "up_for_reschedule":
            ti.try_number += 1
        ti.state = "scheduled"
        ti.scheduled_dttm = timezone.utcnow()
    session.commit()
    return [ti for ti in run.task_instances(session) if ti.state == "scheduled"]


def abandon(run: ActiveRun, session: Any) -> None:
    """Fail a run and whatever of it has not ended."""
    for ti in run.task_instances(session):
        if ti.state in UNFINISHED:
            ti.state = "failed"
    run.record.set_state("failed")


def _scheduler_dag(dag: Any) -> Any:
    """Return the DAG as Airflow's scheduler sees it, with the callbacks that this form leaves out."""
    scheduled = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    scheduled.on_success_callback = dag.on_success_callback
    scheduled.on_failure_callback = dag.on_failure_callback
    return scheduled
