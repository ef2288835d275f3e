"""Runs the DAGs of one file.

It is `airflow dags test` with the two things a real deployment has and that command lacks: every task runs in a process
of its own, so that no state leaks from one to the next, and independent tasks run side by side. Parsing, scheduling
decisions (dependencies, trigger rules, retries, mapping) and the execution of a task are Airflow's own. There is no
server, and nothing listens: the tasks speak to Airflow's execution API in memory.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from trackbed.airflow import preparation
from trackbed.airflow.arguments import parse_arguments
from trackbed.airflow.quiet import quieten


def main(words: Sequence[str]) -> int:
    """Run the chosen DAGs of a file one after the other; 0 when all succeeded, 2 when the arguments do not fit."""
    options = parse_arguments(words)
    signal.signal(signal.SIGTERM, _terminate)
    with _kept():
        home = Path(os.environ["AIRFLOW_HOME"])
        home.mkdir(parents=True, exist_ok=True, mode=0o700)  # before Airflow makes it, open to all
        preparation.encrypt_secrets(home)
        quieten()
        preparation.migrate_once(home)

        # Imported here: these import Airflow, which must not happen before its home and its key are there.
        from trackbed.airflow import loading
        from trackbed.airflow.execution_api import warm_execution_api
        from trackbed.airflow.scheduling import Scheduler

    defined = loading.load(options.file)
    if defined is None:
        return 1
    dags = loading.choose(defined, options.dag_id)
    if not dags:
        return 2
    with _kept():
        warm_execution_api()

    scheduler = Scheduler(defined, options.mark_success_pattern)
    succeeded = True
    for dag in dags:
        if dag.dag_id not in scheduler.triggered:  # then it has run already, because a DAG before it wanted it
            succeeded &= scheduler.run(dag, options.logical_date, options.conf)
    return 0 if succeeded else 1


@contextmanager
def _kept() -> Generator[None]:
    """Spare the garbage collector what is made here, all of which stays: looking at it takes a fifth of the start.

    Nor need the processes of tasks look at, and thereby copy, what they inherit of it.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
