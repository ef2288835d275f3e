"""Plain Python scripts that use MLflow: tracking, autologging, the registry."""

from __future__ import annotations

import sys

from trackbed.engines import Command, Context, Program
from trackbed.engines.metaflow import metaflow_variables

NAME = "MLflow script"
LOOKED_FOR = "a Python file that imports mlflow, at any place"


def recognises(program: Program) -> bool:
    """Whether the file imports mlflow; the engines asked before have taken flows, DAGs and pipelines."""
    return program.uses("mlflow")


def command(program: Program, context: Context) -> Command:
    """Return `python script.py ARGUMENTS`; with Metaflow's variables for a script that reads flows by its client."""
    variables = metaflow_variables(context.contract) if program.uses("metaflow") else {}
    return Command([sys.executable, str(program.path), *program.arguments], variables)
