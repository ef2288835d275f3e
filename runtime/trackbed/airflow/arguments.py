"""The arguments of a DAG file: those of `airflow dags test` that concern a run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Options:
    """What a person asked for.

    Args:
        file: the DAG file.
        dag_id: the only DAG to run; all of the file when None.
        logical_date: the run's logical date, with a time zone; now when None.
        conf: the run's conf and parameters.
        mark_success_pattern: regular expression of task ids that are not run.
    """

    file: Path
    dag_id: str | None
    logical_date: datetime | None
    conf: dict[str, Any] | None
    mark_success_pattern: str | None


def parse_arguments(words: Sequence[str]) -> Options:
    """Return what the words of the command line say.

    Raises:
        SystemExit: they do not fit, with code 2 after a message, or ask for help.
    """
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
    return Options(**vars(parser.parse_args(words)))


def _date(text: str) -> datetime:
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
