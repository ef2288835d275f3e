"""Leaves out what Airflow says of its own work, so that what remains is about the DAG."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable
from typing import TextIO

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
WARNING = ": warning: "  # what `show_warnings` puts between place and text
LIBRARIES = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))


def quieten() -> None:
    """Leave out Airflow's records of its own work, and show warnings, which Airflow would log, plainly."""
    levels = " ".join(f"{logger}={level}" for logger, level in QUIET_LOGGERS.items())
    os.environ.setdefault("AIRFLOW__LOGGING__NAMESPACE_LEVELS", levels)
    importlib.import_module("airflow.sdk")  # Airflow sets logging and warnings up here: what follows has the last word
    for logger, level in QUIET_LOGGERS.items():
        logging.getLogger(logger).setLevel(level)

    show_warnings(lambda text: print(text, file=sys.stderr, flush=True))
    # Airflow's own use of its dependencies is nothing that the author of a DAG could mend.
    warnings.filterwarnings("ignore", message=".*starlette.testclient.*")


def show_warnings(say: Callable[[str], None]) -> None:
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
