# pyright: reportMissingImports=false
"""Lets DAGs written for Airflow 1.10 and 2 run on Airflow 3, unmodified.

Airflow imports this module when it starts, before any DAG. It puts back the names that Airflow 3 removed, in terms of
those that took their place, and each one that a DAG uses is told in a warning that says what to write instead.

What cannot be put back: SubDagOperator (an error that says so). What differs silently: a DAG without any schedule is
not scheduled (it was daily), `catchup` is off unless asked for (it was on), and SLAs are ignored.
"""

from __future__ import annotations

from trackbed_airflow_compat.arguments import restore_arguments
from trackbed_airflow_compat.context import restore_context
from trackbed_airflow_compat.modules import restore_modules

__all__: list[str] = []  # nothing here is a setting of Airflow

restore_modules()
restore_arguments()
restore_context()
