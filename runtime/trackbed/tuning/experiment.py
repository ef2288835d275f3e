"""Which MLflow experiment a study's runs belong to.

MLflow refuses to go on with a run (MLFLOW_RUN_ID) of one experiment when the program has chosen another with
`mlflow.set_experiment`. So that such programs run unmodified, the runs are made in the program's experiment.
"""

from __future__ import annotations

import ast
import os

from trackbed.engines import Program
from trackbed.tuning.study import Study


def experiment_name(study: Study) -> str:
    """Return the name of the experiment: the study's own choice, the program's, the caller's, or the study's name."""
    return (
        study.experiment or _chosen_by(Program(study.program)) or os.environ.get("MLFLOW_EXPERIMENT_NAME") or study.name
    )


def _chosen_by(program: Program) -> str | None:
    """Return the name in the first `set_experiment("name")` of a Python file."""
    for node in ast.walk(program.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "set_experiment":
            named = [keyword.value for keyword in node.keywords if keyword.arg == "experiment_name"]
            for value in (*node.args[:1], *named):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    return value.value
    return None
