# pyright: reportMissingImports=false, reportPrivateUsage=false
"""What is gone of the context of a running task, and of the objects in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import lazy_object_proxy
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from trackbed_airflow_compat.telling import warn


def restore_context() -> None:
    """Give tasks the keys, attributes and lookups that are gone."""
    RuntimeTaskInstance.get_template_context = _add_old_context(RuntimeTaskInstance.get_template_context)
    RuntimeTaskInstance.xcom_pull = _pull_from_any_task(RuntimeTaskInstance.xcom_pull)
    RuntimeTaskInstance.execution_date = property(_execution_date)
    DagRun.execution_date = property(_execution_date)
    DagRun.external_trigger = property(_external_trigger)


def _old_context(context: Mapping[str, Any]) -> dict[str, tuple[Callable[[], Any], str]]:
    """Return, for each key that is gone, how to get its value and what to write instead."""
    now: datetime = context["logical_date"]
    day = timedelta(days=1)

    def nearby(step: str) -> datetime:
        """The schedule's date after or before the run's own; the run's own where the schedule has no period."""
        from airflow.sdk.timezone import coerce_datetime
        from airflow.serialization.encoders import coerce_to_core_timetable

        move = getattr(coerce_to_core_timetable(context["dag"].timetable), step, None)
        return coerce_datetime(move(now)) if move is not None else now

    def following() -> datetime:
        return nearby("_get_next")

    def previous() -> datetime:
        return nearby("_get_prev")

    def airflow_configuration() -> Any:
        from airflow.configuration import conf

        return conf

    def date(of: Callable[[], datetime], form: str = "%Y-%m-%d") -> Callable[[], str]:
        return lambda: of().strftime(form)

    plain = "%Y%m%d"
    by_interval = "use `data_interval_start` and `data_interval_end`"
    by_macro = "write `macros.ds_add(ds, 1)` or `macros.ds_add(ds, -1)`"
    return {
        "execution_date": (lambda: now, "write `logical_date`"),
        "next_execution_date": (following, by_interval),
        "prev_execution_date": (previous, by_interval),
        "prev_execution_date_success": (
            lambda: context["prev_data_interval_start_success"],
            "write `prev_data_interval_start_success`",
        ),
        "next_ds": (date(following), "write `data_interval_end | ds`"),
        "next_ds_nodash": (date(following, plain), "write `data_interval_end | ds_nodash`"),
        "prev_ds": (date(previous), by_interval),
        "prev_ds_nodash": (date(previous, plain), by_interval),
        "yesterday_ds": (date(lambda: now - day), by_macro),
        "yesterday_ds_nodash": (date(lambda: now - day, plain), by_macro),
        "tomorrow_ds": (date(lambda: now + day), by_macro),
        "tomorrow_ds_nodash": (date(lambda: now + day, plain), by_macro),
        "END_DATE": (lambda: context["ds"], "write `ds`"),
        "end_date": (lambda: context["ds"], "write `ds`"),
        "latest_date": (lambda: context["ds"], "write `ds`"),
        "conf": (airflow_configuration, "write `from airflow.configuration import conf`"),
    }


def _add_old_context(original: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    @functools.wraps(original)
    def get_template_context(self: Any) -> dict[str, Any]:
        context = original(self)
        if "logical_date" not in context or "execution_date" in context:
            return context
        file = self.task.dag.fileloc
        for key, (value, instead) in _old_context(context).items():
            # A proxy, so that only a DAG that uses the key is told about it.
            context[key] = lazy_object_proxy.Proxy(functools.partial(_with_warning, key, value, instead, file))
        return context

    return get_template_context


def _with_warning(key: str, value: Callable[[], Any], instead: str, dag_file: str) -> Any:
    warn(key, instead, dag_file=dag_file)
    return value()


def _pull_from_any_task(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let `xcom_pull` without `task_ids` find what any task pushed, where the task itself has nothing of that key."""

    @functools.wraps(original)
    def xcom_pull(
        self: Any, task_ids: Any = None, dag_id: Any = None, key: str = "return_value", *args: Any, **kwargs: Any
    ) -> Any:
        value = original(self, task_ids, dag_id, key, *args, **kwargs)
        if task_ids is not None or value is not None or dag_id is not None:
            return value
        for task in reversed(self.task.dag.topological_sort()):
            value = None if task.task_id == self.task_id else original(self, task.task_id, None, key, *args, **kwargs)
            if value is not None:
                warn("xcom_pull without task_ids", f"write `task_ids={task.task_id!r}`", dag_file=self.task.dag.fileloc)
                return value
        return kwargs.get("default")

    return xcom_pull


def _execution_date(self: Any) -> Any:
    """The logical date, by its former name."""
    warn(f"{type(self).__name__.removeprefix('Runtime')}.execution_date", "write `logical_date`")
    return self.get_template_context()["logical_date"] if isinstance(self, RuntimeTaskInstance) else self.logical_date


def _external_trigger(self: Any) -> bool:
    """Whether a person or a program started the run."""
    warn("DagRun.external_trigger", "write `dag_run.run_type == 'manual'`")
    return self.run_type == "manual"
