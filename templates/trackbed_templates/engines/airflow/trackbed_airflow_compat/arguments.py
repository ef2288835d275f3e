# pyright: reportMissingImports=false, reportPrivateUsage=false
"""Arguments of DAGs and operators, and trigger rules, that are gone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from airflow.sdk import DAG, BaseOperator, TriggerRule
from airflow.sdk.definitions._internal.decorators import _autostacklevel_warn
from airflow.task.trigger_rule import TriggerRule as SchedulerTriggerRule

from trackbed_airflow_compat.names import DAG_ARGUMENTS, OPERATOR_ARGUMENTS, TRIGGER_RULES
from trackbed_airflow_compat.telling import warn

_DAG_ACCEPTS = frozenset(field.name for field in attrs.fields(DAG) if field.init) - {"timetable", "sla_miss_callback"}
_OPERATOR_ACCEPTS = frozenset(inspect.signature(BaseOperator.__init__).parameters) - {"sla"}


def restore_arguments() -> None:
    """Let DAGs and operators take the arguments that are gone."""
    _accept_old_arguments(DAG, "DAG", _dag_arguments)
    _accept_old_arguments(BaseOperator, "BaseOperator", _operator_arguments)
    # That put one more frame between Airflow's own warnings about an operator and the DAG's line: from two to three.
    inspect.unwrap(BaseOperator.__init__).__globals__["warnings"] = _autostacklevel_warn(3)
    for rules in {TriggerRule, SchedulerTriggerRule}:
        for old in TRIGGER_RULES:
            setattr(rules, old.upper(), RemovedTriggerRule(old))


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
