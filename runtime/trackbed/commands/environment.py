"""`trackbed environment`: show an environment's contract, or export it for a tool."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trackbed.commands.options import environment_option, json_option

if TYPE_CHECKING:
    from trackbed.contract import Contract
    from trackbed.documents import Document
    from trackbed.environments import Environment

SEARCH_PATHS = ("PATH", "PYTHONPATH")
TOOLS = ("metaflow", "mlflow", "airflow", "shell", "pulumi")


@click.command(epilog='Example: eval "$(trackbed environment --export metaflow)" && python flow.py run')
@environment_option
@json_option
@click.option(
    "--export", "tool", type=click.Choice(TOOLS), help="Print a tool's own configuration, for a shell's eval."
)
def command(environment: str | None, as_json: bool, tool: str | None) -> None:
    """Show an environment: its contract, and where each value came from.

    --export prints what a tool started by hand needs: variables for `shell` (all of them), `mlflow`, `metaflow` and
    `airflow` (with the current directory for its DAGs); for `pulumi` what plain `pulumi` commands need in this project.
    Passwords are printed only there, where the tool has no other way to get them.
    """
    if tool == "pulumi":
        _print_exports(_pulumi_variables())
        return
    from trackbed.configuration import common_variables, mlflow_variables
    from trackbed.engines.metaflow import metaflow_variables
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for
    from trackbed.origins import flattened, origin

    found = resolve_environment(environment)
    launcher = launcher_for(found.contract)
    common = common_variables(found.contract, found.uri, launcher)
    exports = {
        "mlflow": lambda: mlflow_variables(found.contract, launcher),
        "metaflow": lambda: {**common, **metaflow_variables(found.contract)},
        "airflow": lambda: {**common, **_airflow_variables(found.contract)},
        "shell": lambda: {**common, **metaflow_variables(found.contract), **_airflow_beside_others(found.contract)},
    }
    if tool is not None:
        _print_exports(exports[tool]())
        return
    spec = _spec_of(found)
    values = [(place, value, origin(place, spec)) for place, value in flattened(found.contract.to_dict())]
    if as_json:
        origins = {place: came_from for place, _, came_from in values}
        document = {"environment": found.contract.to_dict(), "uri": found.uri, "source": found.source}
        click.echo(json.dumps({**document, "origins": origins}, indent=2))
        return
    click.echo(f"{found.contract.name}: chosen because {found.source}; read from {found.uri}")
    width = max(len(place) for place, _, _ in values)
    for place, value, came_from in values:
        click.echo(f"  {place:<{width}}  {value}  ({came_from})")


def _airflow_variables(contract: Contract) -> dict[str, str]:
    """Return what Airflow needs; an environment of its own is used, but not made for it: that takes a minute."""
    from trackbed.cache import tell
    from trackbed.engine_environments import environment_directory
    from trackbed.engines.airflow import airflow_variables

    directory = environment_directory("airflow", Path.cwd())
    variables = airflow_variables(contract, Path.cwd(), directory, os.environ)
    if not directory.is_dir():
        tell("Airflow is not installed yet; the first `trackbed run` of a DAG file does it. Then export again.")
        del variables["PATH"], variables["VIRTUAL_ENV"]
    return {name: _once(value) if name in SEARCH_PATHS else value for name, value in variables.items()}


def _airflow_beside_others(contract: Contract) -> dict[str, str]:
    """Return what Airflow needs in a shell for all tools, where `python` must stay the person's own."""
    variables = _airflow_variables(contract)
    variables.pop("VIRTUAL_ENV", None)
    if "PATH" in variables:
        first, _, rest = variables["PATH"].partition(os.pathsep)
        variables["PATH"] = f"{rest}{os.pathsep}{first}"
    return variables


def _once(path: str) -> str:
    """Return a search path in which each directory stands once: exports are evaluated over and over."""
    return os.pathsep.join(dict.fromkeys(path.split(os.pathsep)))


def _spec_of(found: Environment) -> Document | None:
    """Return the environment's file where it is at hand: a contract from elsewhere comes without it."""
    from trackbed.documents import read_document
    from trackbed.environments import project_root
    from trackbed.spec import spec_document

    home = found.contract.home
    project = project_root(Path(home)) if home else None
    file = project / "stacks" / f"Pulumi.{Path(home).name}.yaml" if project and home else None
    return spec_document(read_document(file)) if file and file.exists() else None


def _print_exports(variables: dict[str, str]) -> None:
    for name, value in sorted(variables.items()):
        click.echo(f"export {name}={shlex.quote(value)}")


def _pulumi_variables() -> dict[str, str]:
    from trackbed.platform import project_and_engine, pulumi_exports

    project, engine = project_and_engine()
    return pulumi_exports(project, engine)
