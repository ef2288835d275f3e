"""`trackbed run`: start a workflow's own tool on an environment and become it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from trackbed.commands.options import environment_option


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: trackbed run flow.py run --n_trials 20",
)
@environment_option
@click.option("--pool", default="default", show_default=True, help="The compute pool whose slot the program holds.")
@click.option("-v", "--verbose", is_flag=True, help="Say which environment and engine were chosen, and why.")
@click.argument("program", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(environment: str | None, pool: str, verbose: bool, program: Path, arguments: tuple[str, ...]) -> None:
    """Run PROGRAM with its own ARGUMENTS, output and exit code.

    PROGRAM is a Metaflow flow, an Airflow DAG file, a Kubeflow pipeline (Python or compiled YAML), an MLflow project
    or a script that uses MLflow. It is recognised without being imported and runs unmodified, with the real tool.
    """
    from trackbed.configuration import common_variables
    from trackbed.engines import Context, Program, find_engine
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for

    found = resolve_environment(environment)
    launcher = launcher_for(found.contract)
    given = Program(program.absolute(), arguments)
    engine = find_engine(given)
    if verbose:
        click.echo(f"trackbed: environment {found.contract.name} ({found.source}); {engine.NAME}", err=True)
    tool = engine.command(given, Context(found.contract, launcher))
    variables = {**os.environ, **common_variables(found.contract, found.uri, launcher), **tool.environment}
    launcher.become(tool.argv, variables, tool.directory, pool)
