"""Airflow DAG files, run with the real Airflow 3 in an environment of its own."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from trackbed.configuration import artifact_path
from trackbed.contract import Contract
from trackbed.engines import Command, Context, Program

NAME = "Airflow DAG file"
LOOKED_FOR = "a Python file that imports airflow and defines a DAG: `DAG(...)`, or a function under `@dag`"

DRIVER = Path(__file__).parents[1] / "airflow" / "run.py"
DAG_NAMES = frozenset({"DAG", "dag"})  # `airflow.models.DAG` and its kin, and the decorator of the TaskFlow API
SQLITE_WAIT_SECONDS = 60  # how long a task waits while another one writes to the metadata database


def recognises(program: Program) -> bool:
    """Whether the file imports airflow and makes a DAG."""
    if "airflow" not in program.text or not program.uses("airflow"):
        return False
    names = DAG_NAMES | frozenset(_aliases(program.tree))
    return any(_makes_dag(node, names) for node in ast.walk(program.tree))


def command(program: Program, context: Context) -> Command:
    """Return the command that runs the file's DAGs.

    The arguments are those of `airflow dags test` that concern a run: `--dag-id`, `--logical-date`, `--conf` and
    `--mark-success-pattern`; `--help` lists them.

    Raises:
        UserError: the environment of Airflow cannot be made.
    """
    # Imported here: every run of any program asks this module whether it is a DAG file.
    from trackbed.engine_environments import environment_for

    environment = environment_for("airflow", program.path.parent)
    return Command(
        # -P: the driver's own directory has no place on the path of a DAG's imports.
        argv=[str(environment / "bin" / "python"), "-P", str(DRIVER), str(program.path), *program.arguments],
        environment=airflow_variables(context.contract, program.path.parent, environment, os.environ),
    )


def airflow_variables(contract: Contract, dags: Path, environment: Path, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that configure Airflow for one run.

    The caller's own AIRFLOW_VAR_*, AIRFLOW_CONN_* and AIRFLOW__* stay as they are, except for where the metadata lies:
    an Airflow installed elsewhere must not have its database migrated.

    Args:
        contract: the environment that the DAG runs on.
        dags: the directory of the DAG file.
        environment: the virtual environment of Airflow.
        caller: the environment variables of the caller.
    """
    home = Path(contract.home or artifact_path(contract)) / "airflow"
    from importlib.resources import files

    settings = str(files("trackbed_templates").joinpath("engines/airflow"))
    defaults = {
        # As many tasks at once as the pool has slots: Airflow's own default starts 32.
        "AIRFLOW__CORE__PARALLELISM": str(contract.pools["default"].slots),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    plugins = _plugins(dags)
    if plugins is not None:
        defaults["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(plugins)
    return {
        **{name: value for name, value in defaults.items() if name not in caller},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout={SQLITE_WAIT_SECONDS}",
        "PYTHONPATH": _joined(settings, caller.get("PYTHONPATH", "")),
        "PATH": _joined(str(environment / "bin"), caller.get("PATH", os.defpath)),
        "VIRTUAL_ENV": str(environment),
    }


def _makes_dag(node: ast.AST, names: frozenset[str]) -> bool:
    """Whether a node is a call of a DAG class, or a function under the `@dag` decorator."""
    if isinstance(node, ast.Call):
        return _last_name(node.func) in names
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return any(_last_name(decorator) in names for decorator in node.decorator_list)
    return False


def _aliases(tree: ast.Module) -> Iterator[str]:
    """Yield what the file calls Airflow's DAG class or decorator, after `import ... as`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "airflow":
            yield from (alias.asname for alias in node.names if alias.name in DAG_NAMES and alias.asname)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _plugins(dags: Path) -> Path | None:
    """Return the plugins folder of a project laid out as Airflow's documentation does."""
    candidates = [dags / "plugins", *([dags.parent / "plugins"] if dags.name == "dags" else [])]
    return next((candidate for candidate in candidates if candidate.is_dir()), None)


def _joined(first: str, rest: str) -> str:
    return os.pathsep.join(part for part in (first, rest) if part)
