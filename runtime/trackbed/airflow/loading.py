# pyright: reportMissingImports=false
"""Reads the DAGs of a file and writes them to Airflow's database, as its DAG processor does."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.exceptions import SerializationError
from airflow.sdk import DAG
from airflow.utils.session import create_session

BUNDLE = "dags-folder"  # Airflow's name for the DAGs folder of its configuration


def load(file: Path) -> dict[str, Any] | None:
    """Write the file's DAGs to the database and return them by id as defined, None when it cannot be imported."""
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    # Not in safe mode: what the engine recognised is not filtered again by words in its text.
    with _order_of_definition() as order:
        bag = BundleDagBag(dag_folder=file, bundle_path=file.parent, bundle_name=BUNDLE, safe_mode=False)
    for error in bag.import_errors.values():
        print(f"Airflow cannot import {file}:\n{error}", file=sys.stderr)
    if bag.import_errors:
        return None
    try:
        sync_bag_to_db(bag, BUNDLE, None)
    except SerializationError as error:
        print(f"Airflow cannot use {file}:\n{error}", file=sys.stderr)
        return None
    ids = [*dict.fromkeys(dag_id for dag_id in order if dag_id in bag.dags), *bag.dags]
    return {dag_id: bag.dags[dag_id] for dag_id in ids}


def choose(defined: dict[str, Any], dag_id: str | None) -> list[Any]:
    """Return the DAGs to run, in order; none, after a message, when there is no such DAG."""
    if dag_id is None and defined:
        return list(defined.values())
    if dag_id in defined:
        return [defined[dag_id]]
    known = ", ".join(defined) or "none at all"
    wanted = "defines no DAG" if dag_id is None else f"defines no DAG {dag_id!r}"
    print(f"error: the file {wanted}; it defines: {known}", file=sys.stderr)
    return []


@contextmanager
def _order_of_definition() -> Generator[list[str]]:
    """Note the ids of DAGs as they are made, since Airflow collects those of a file in a set."""
    made: list[str] = []
    original = DAG.__init__

    def note(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self.dag_id)

    DAG.__init__ = note
    try:
        yield made
    finally:
        DAG.__init__ = original
