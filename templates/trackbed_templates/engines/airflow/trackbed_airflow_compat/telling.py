# pyright: reportPrivateUsage=false
"""Tells the author of a DAG, at the line in question, that a name is gone."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
import warnings
from pathlib import Path

_told: set[tuple[str, str]] = set()
_NOT_OF_A_DAG = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("scripts"),
    str(Path(__file__).parents[1]),
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
    not_of_a_dag = (*_NOT_OF_A_DAG, *_runner())
    frame = sys._getframe(2)
    in_template = False
    while frame is not None:
        file = frame.f_code.co_filename
        in_template = in_template or file == "<template>"
        if not file.startswith(not_of_a_dag):
            return file, frame.f_lineno
        frame = frame.f_back
    if not in_template:
        return None
    lines = linecache.getlines(dag_file)
    return dag_file, next((number for number, text in enumerate(lines, 1) if re.search(rf"\b{old}\b", text)), 1)


def _runner() -> list[str]:
    """Return the directory of the program that runs DAGs: below its frames all those of DAGs lie."""
    return list(getattr(sys.modules.get("trackbed.airflow"), "__path__", []))
