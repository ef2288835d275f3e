"""What a person reads of a run: the tasks as they start and end, and the table at its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackbed.airflow.runs import ActiveRun

UNTOLD = frozenset({"", "scheduled", "queued", "running"})  # states on the way, which are no news


def say(message: str) -> None:
    """Print a line at once."""
    print(message, flush=True)


def label_of(ti: Any) -> str:
    """Return a task's id, with the index of a mapped one."""
    return ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"


def tell_start(run: ActiveRun, ti: Any) -> None:
    """Say that a task starts."""
    label = label_of(ti)
    run.states[label] = "running"
    say(f"{label}: started" + (f" (try {ti.try_number} of {ti.max_tries + 1})" if ti.max_tries else ""))


def tell_changes(run: ActiveRun, session: Any, printing: Collection[str]) -> None:
    """Say which tasks changed state since it was last told.

    Args:
        run: the run they belong to.
        session: of Airflow's database.
        printing: labels of tasks that may still print, after which their end is told.
    """
    for ti in run.task_instances(session):
        label, state = label_of(ti), str(ti.state or "")
        if label in printing or state in UNTOLD or run.states.get(label) == state:
            continue
        took = f" after {ti.duration:.1f} s" if run.states.get(label) == "running" and ti.duration else ""
        run.states[label] = state
        say(f"{label}: {_words(state)}{took}")


def conclude(run: ActiveRun, session: Any) -> bool:
    """Print the table of a run's tasks and how it ended; True when it succeeded."""
    order = {task.task_id: number for number, task in enumerate(run.dag.topological_sort())}

    def place(ti: Any) -> tuple[int, int]:
        return order.get(ti.task_id, len(order)), ti.map_index

    tis = sorted(run.task_instances(session), key=place)
    if not tis and run.dag.tasks:
        say(
            f"{run.dag.dag_id}: no task was due at {run.record.logical_date.isoformat()}: "
            "their start_date is later; give a later --logical-date"
        )
        return False
    rows = [(label_of(ti), _words(ti.state or "not run"), str(ti.try_number or "-"), _seconds(ti)) for ti in tis]
    say(f"\n{_table([('task', 'state', 'tries', 'seconds'), *rows])}")
    state = str(run.record.state)
    failed = [label_of(ti) for ti in tis if ti.state == "failed"]
    say(f"{run.dag.dag_id}: {state}" + (f"; failed tasks: {', '.join(failed)}" if failed else ""))
    return state == "success"


def _words(state: Any) -> str:
    return str(state).replace("_", " ")


def _seconds(ti: Any) -> str:
    return f"{ti.duration:.1f}" if ti.duration else "-"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
