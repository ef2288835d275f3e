"""`trackbed run`: start a workflow's own tool on an environment and become it."""

from __future__ import annotations

from pathlib import Path

import click

from trackbed.commands.options import environment_option
from trackbed.running import DEFAULT_POOL, run_program


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: trackbed run flow.py run --n_trials 20",
)
@environment_option
@click.option("--pool", default=DEFAULT_POOL, show_default=True, help="The compute pool whose slot the program holds.")
@click.option("-v", "--verbose", is_flag=True, help="Say which environment and engine were chosen, and why.")
@click.argument("program", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(environment: str | None, pool: str, verbose: bool, program: Path, arguments: tuple[str, ...]) -> None:
    """Run PROGRAM with its own ARGUMENTS, output and exit code.

    PROGRAM is a Metaflow flow, an Airflow DAG file, a Kubeflow pipeline (Python or compiled YAML), an MLflow project
    or a script that uses MLflow. It is recognised without being imported and runs unmodified, with the real tool.
    """
    run_program(program, arguments, environment=environment, pool=pool, verbose=verbose)
