# pyright: reportMissingImports=false, reportPrivateUsage=false
"""Lets DAGs written for Airflow 1.10 and 2 run on Airflow 3, unmodified.

Airflow imports this module when it starts, before any DAG. It puts back the names that Airflow 3 removed, in terms of
those that took their place, and each one that a DAG uses is told in a warning that says what to write instead.

What cannot be put back: SubDagOperator (an error that says so). What differs silently: a DAG without any schedule is
not scheduled (it was daily), `catchup` is off unless asked for (it was on), and SLAs are ignored.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import inspect
import linecache
import re
import sys
import sysconfig
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import attrs
import lazy_object_proxy
from airflow.sdk import DAG, BaseOperator, TriggerRule
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.definitions._internal.decorators import _autostacklevel_warn
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.task.trigger_rule import TriggerRule as SchedulerTriggerRule
from airflow.utils import dates, decorators, helpers

__all__: list[str] = []  # nothing here is a setting of Airflow

STANDARD = "airflow.providers.standard"

# Module that is gone -> the one that has the same names now.
MOVED_MODULES = {
    "airflow.contrib.hooks.fs_hook": f"{STANDARD}.hooks.filesystem",
    "airflow.contrib.operators.dagrun_operator": f"{STANDARD}.operators.trigger_dagrun",
    "airflow.contrib.sensors.bash_sensor": f"{STANDARD}.sensors.bash",
    "airflow.contrib.sensors.file_sensor": f"{STANDARD}.sensors.filesystem",
    "airflow.contrib.sensors.python_sensor": f"{STANDARD}.sensors.python",
    "airflow.contrib.sensors.weekday_sensor": f"{STANDARD}.sensors.weekday",
    "airflow.contrib.utils.weekday": f"{STANDARD}.utils.weekday",
    "airflow.datasets": "airflow.sdk",
    "airflow.hooks.base_hook": "airflow.sdk",
    "airflow.hooks.dbapi": "airflow.providers.common.sql.hooks.sql",
    "airflow.hooks.dbapi_hook": "airflow.providers.common.sql.hooks.sql",
    "airflow.models.mappedoperator": "airflow.sdk.definitions.mappedoperator",
    "airflow.operators.bash_operator": f"{STANDARD}.operators.bash",
    "airflow.operators.branch_operator": "airflow.sdk.bases.branch",
    "airflow.operators.check_operator": "airflow.providers.common.sql.operators.sql",
    "airflow.operators.dagrun_operator": f"{STANDARD}.operators.trigger_dagrun",
    "airflow.operators.dummy": f"{STANDARD}.operators.empty",
    "airflow.operators.dummy_operator": f"{STANDARD}.operators.empty",
    "airflow.operators.email_operator": "airflow.providers.smtp.operators.smtp",
    "airflow.operators.latest_only_operator": f"{STANDARD}.operators.latest_only",
    "airflow.operators.python_operator": f"{STANDARD}.operators.python",
    "airflow.operators.sensors": f"{STANDARD}.sensors.external_task",
    "airflow.operators.sql": "airflow.providers.common.sql.operators.sql",
    "airflow.sensors.base_sensor_operator": "airflow.sdk",
    "airflow.sensors.date_time_sensor": f"{STANDARD}.sensors.date_time",
    "airflow.sensors.external_task_sensor": f"{STANDARD}.sensors.external_task",
    "airflow.sensors.python_sensor": f"{STANDARD}.sensors.python",
    "airflow.sensors.sql": "airflow.providers.common.sql.sensors.sql",
    "airflow.sensors.sql_sensor": "airflow.providers.common.sql.sensors.sql",
    "airflow.sensors.time_delta_sensor": f"{STANDARD}.sensors.time_delta",
    "airflow.sensors.time_sensor": f"{STANDARD}.sensors.time",
    "airflow.sensors.weekday_sensor": f"{STANDARD}.sensors.weekday",
    "airflow.utils.weekday": f"{STANDARD}.utils.weekday",
}

# The same, for modules that are in a package which the DAG's project must install.
MOVED_TO_PROVIDERS = {
    "airflow.hooks.http_hook": ("airflow.providers.http.hooks.http", "http"),
    "airflow.hooks.mysql_hook": ("airflow.providers.mysql.hooks.mysql", "mysql"),
    "airflow.hooks.postgres_hook": ("airflow.providers.postgres.hooks.postgres", "postgres"),
    "airflow.hooks.S3_hook": ("airflow.providers.amazon.aws.hooks.s3", "amazon"),
    "airflow.hooks.sqlite_hook": ("airflow.providers.sqlite.hooks.sqlite", "sqlite"),
    "airflow.operators.docker_operator": ("airflow.providers.docker.operators.docker", "docker"),
    "airflow.operators.http_operator": ("airflow.providers.http.operators.http", "http"),
    "airflow.operators.mysql_operator": ("airflow.providers.mysql.operators.mysql", "mysql"),
    "airflow.operators.postgres_operator": ("airflow.providers.postgres.operators.postgres", "postgres"),
    "airflow.operators.sqlite_operator": ("airflow.providers.sqlite.operators.sqlite", "sqlite"),
    "airflow.sensors.http_sensor": ("airflow.providers.http.sensors.http", "http"),
}

# Packages of modules that are all gone; they must be importable for the modules in them to be found.
REMOVED_PACKAGES = frozenset(
    {
        "airflow.contrib",
        "airflow.contrib.hooks",
        "airflow.contrib.operators",
        "airflow.contrib.sensors",
        "airflow.contrib.utils",
    }
)

# Module that is gone -> why no other name does the same.
IMPOSSIBLE_MODULES = dict.fromkeys(
    ("airflow.operators.subdag", "airflow.operators.subdag_operator"),
    "SubDAGs are gone from Airflow 3 and nothing runs them; group tasks by `with TaskGroup(...)` of airflow.sdk",
)

# Name within a moved module -> its present name.
RENAMED_CLASSES = {
    "CheckOperator": "SQLCheckOperator",
    "Dataset": "Asset",
    "DatasetAlias": "AssetAlias",
    "DummyOperator": "EmptyOperator",
    "SimpleHttpOperator": "HttpOperator",
    "ValueCheckOperator": "SQLValueCheckOperator",
}

# Class that could be imported from a package itself, in Airflow 1.8 -> the module that has it now.
PACKAGE_CLASSES = {
    "airflow.operators": {
        "BashOperator": f"{STANDARD}.operators.bash",
        "BranchPythonOperator": f"{STANDARD}.operators.python",
        "DummyOperator": f"{STANDARD}.operators.empty",
        "PythonOperator": f"{STANDARD}.operators.python",
        "ShortCircuitOperator": f"{STANDARD}.operators.python",
        "TriggerDagRunOperator": f"{STANDARD}.operators.trigger_dagrun",
    },
    "airflow.sensors": {"ExternalTaskSensor": f"{STANDARD}.sensors.external_task"},
}

# Argument that is gone -> its present name, or None where it has no effect any more.
DAG_ARGUMENTS = {
    "concurrency": "max_active_tasks",
    "default_view": None,
    "fail_stop": "fail_fast",
    "full_filepath": None,
    "orientation": None,
    "schedule_interval": "schedule",
    "sla_miss_callback": None,
    "timetable": "schedule",
}
OPERATOR_ARGUMENTS = {
    "adhoc": None,
    "max_active_tis": "max_active_tis_per_dag",
    "provide_context": None,
    "sla": None,
    "task_concurrency": "max_active_tis_per_dag",
    "xcom_push": "do_xcom_push",
}
TRIGGER_RULES = {
    "dummy": "always",
    "none_failed_or_skipped": "none_failed_min_one_success",
}

_told: set[tuple[str, str]] = set()
_NOT_OF_A_DAG = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    __file__,
    "<frozen ",
    "<attrs ",
    "<template>",
)


class RemovedNameWarning(DeprecationWarning):
    """A DAG uses a name that Airflow 3 no longer has."""


# Python leaves deprecations of imported modules out; the author of a DAG should see these.
warnings.filterwarnings("always", category=RemovedNameWarning)


def warn(old: str, instead: str, *, dag_file: str = "") -> None:
    """Tell once per name and file that a name is gone.

    Args:
        old: what the DAG says.
        instead: what to write.
        dag_file: the DAG's file, for uses in templates, which have no line of Python.
    """
    place = _place(dag_file, old)
    if place is None or (old, place[0]) in _told:
        return
    _told.add((old, place[0]))
    warnings.warn_explicit(f"`{old}` is gone from Airflow 3; {instead}", RemovedNameWarning, *place)


def _place(dag_file: str, old: str) -> tuple[str, int] | None:
    """Return file and line of the DAG's use of a name, None when it is Airflow itself that looks at a value."""
    frame = sys._getframe(2)
    in_template = False
    while frame is not None:
        file = frame.f_code.co_filename
        in_template = in_template or file == "<template>"
        if not file.startswith(_NOT_OF_A_DAG) and file != _main_file():
            return file, frame.f_lineno
        frame = frame.f_back
    if not in_template:
        return None
    lines = linecache.getlines(dag_file)
    return dag_file, next((number for number, text in enumerate(lines, 1) if re.search(rf"\b{old}\b", text)), 1)


def _main_file() -> str | None:
    """Return the program of this process, below which every DAG's frames lie."""
    return getattr(sys.modules["__main__"], "__file__", None)


# --- modules ---------------------------------------------------------------------------------------------------------


class RemovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that are gone; asked after every other finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module that is gone, None for any other."""
        if fullname in IMPOSSIBLE_MODULES:
            raise ImportError(f"`{fullname}`: {IMPOSSIBLE_MODULES[fullname]}", name=fullname)
        if fullname in REMOVED_PACKAGES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname in MOVED_MODULES or fullname in MOVED_TO_PROVIDERS:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Let Python make the empty module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module in with a lookup of its names where they are now."""
        if module.__name__ not in REMOVED_PACKAGES:
            new_module, package = MOVED_TO_PROVIDERS.get(module.__name__) or (MOVED_MODULES[module.__name__], "")
            module.__dict__["__getattr__"] = functools.partial(_moved_name, module.__name__, new_module, package)


def _moved_name(old_module: str, new_module: str, package: str, name: str) -> Any:
    """Return what `old_module.name` is now, with a warning."""
    if name.startswith("__"):
        raise AttributeError(f"module {old_module!r} has no attribute {name!r}")
    try:
        target = importlib.import_module(new_module)
    except ModuleNotFoundError as error:
        if not package:
            raise
        raise ImportError(
            f"`{old_module}.{name}` moved to {new_module}, in a package of its own: write "
            f"`apache-airflow-providers-{package}` in requirements.txt beside the DAG"
        ) from error
    present = name if hasattr(target, name) else RENAMED_CLASSES.get(name, name)
    value = getattr(target, present)
    warn(f"{old_module}.{name}", f"write `from {new_module} import {present}`")
    return value


def _package_class(package: str, classes: Mapping[str, str], name: str) -> Any:
    if name not in classes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return _moved_name(package, classes[name], "", name)


def days_ago(n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> datetime:
    """Return the time `n` days before today, at midnight UTC unless told otherwise; was in airflow.utils.dates."""
    warn("airflow.utils.dates.days_ago", "write a fixed `datetime(2026, 1, 1)`: a start date that moves is an error")
    today = datetime.now(UTC).replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return today - timedelta(days=n)


def apply_defaults(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as it is: operators apply their defaults by themselves; was in airflow.utils.decorators."""
    warn("airflow.utils.decorators.apply_defaults", "leave the decorator out: every operator applies its defaults")
    return function


def _chain(*tasks: Any) -> None:
    from airflow.sdk import chain

    warn("airflow.utils.helpers.chain", "write `from airflow.sdk import chain`")
    chain(*tasks)


def _cross_downstream(from_tasks: Any, to_tasks: Any) -> None:
    from airflow.sdk import cross_downstream

    warn("airflow.utils.helpers.cross_downstream", "write `from airflow.sdk import cross_downstream`")
    cross_downstream(from_tasks, to_tasks)


# --- arguments of DAGs and operators ---------------------------------------------------------------------------------


def _present_arguments(
    owner: str, given: Mapping[str, Any], table: Mapping[str, str | None], accepted: frozenset[str]
) -> dict[str, Any]:
    """Return the arguments with removed names replaced by present ones, or left out where they mean nothing now."""
    present: dict[str, Any] = {}
    for name, value in given.items():
        if name not in table or name in accepted:
            present[name] = value
            continue
        new = table[name]
        warn(f"{owner}({name}=...)", f"write `{new}=`" if new else "leave it out: it has no effect")
        if new is not None and given.get(new) is None and value is not None:
            present[new] = value
    return present


def _accept_old_arguments(cls: Any, owner: str, adapt: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let a class's constructor pass its keyword arguments through `adapt` first."""
    original = cls.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **adapt(kwargs))

    # Airflow compares what is wrapped to tell the last constructor of a class hierarchy.
    __init__.__wrapped__ = getattr(original, "__wrapped__", original)
    __init__.__qualname__ = f"{owner}.__init__"
    cls.__init__ = __init__


_DAG_ACCEPTS = frozenset(field.name for field in attrs.fields(DAG) if field.init) - {"timetable", "sla_miss_callback"}
_OPERATOR_ACCEPTS = frozenset(inspect.signature(BaseOperator.__init__).parameters) - {"sla"}


def _dag_arguments(given: dict[str, Any]) -> dict[str, Any]:
    present = _present_arguments("DAG", given, DAG_ARGUMENTS, _DAG_ACCEPTS)
    defaults = present.get("default_args")
    if defaults:
        present["default_args"] = _operator_arguments(dict(defaults), owner="default_args")
    return present


def _operator_arguments(given: dict[str, Any], owner: str = "Operator") -> dict[str, Any]:
    present = _present_arguments(owner, given, OPERATOR_ARGUMENTS, _OPERATOR_ACCEPTS)
    rule = present.get("trigger_rule")
    if isinstance(rule, str) and rule in TRIGGER_RULES:
        warn(f"trigger_rule={rule!r}", f"write `trigger_rule={TRIGGER_RULES[rule]!r}`")
        present["trigger_rule"] = TRIGGER_RULES[rule]
    return present


class RemovedTriggerRule:
    """A member of TriggerRule that is gone.

    Args:
        old: its value, in lower case.
    """

    def __init__(self, old: str) -> None:
        self._old = old

    def __get__(self, instance: object, owner: Any) -> Any:
        """Return the member that took its place."""
        new = TRIGGER_RULES[self._old]
        warn(f"TriggerRule.{self._old.upper()}", f"write `TriggerRule.{new.upper()}`")
        return owner(new)


# --- the context of a running task -----------------------------------------------------------------------------------


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


def _restore() -> None:
    """Put everything back in place."""
    sys.meta_path.append(RemovedModules())
    for package, classes in PACKAGE_CLASSES.items():
        importlib.import_module(package).__dict__["__getattr__"] = functools.partial(_package_class, package, classes)
    dates.days_ago = days_ago
    decorators.apply_defaults = apply_defaults
    helpers.chain = _chain
    helpers.cross_downstream = _cross_downstream
    _accept_old_arguments(DAG, "DAG", _dag_arguments)
    _accept_old_arguments(BaseOperator, "BaseOperator", _operator_arguments)
    # That put one more frame between Airflow's own warnings about an operator and the DAG's line: from two to three.
    inspect.unwrap(BaseOperator.__init__).__globals__["warnings"] = _autostacklevel_warn(3)
    for rules in {TriggerRule, SchedulerTriggerRule}:
        for old in TRIGGER_RULES:
            setattr(rules, old.upper(), RemovedTriggerRule(old))
    RuntimeTaskInstance.get_template_context = _add_old_context(RuntimeTaskInstance.get_template_context)
    RuntimeTaskInstance.xcom_pull = _pull_from_any_task(RuntimeTaskInstance.xcom_pull)
    RuntimeTaskInstance.execution_date = property(_execution_date)
    DagRun.execution_date = property(_execution_date)
    DagRun.external_trigger = property(_external_trigger)


_restore()
