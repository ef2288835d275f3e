"""`trackbed environment`: show an environment's contract, or export it for a tool."""

from __future__ import annotations

import json
import shlex

import click

from trackbed.commands.options import environment_option, json_option

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
    `airflow`; for `pulumi` what plain `pulumi` commands need in this project. Passwords are printed only there, where
    the tool has no other way to get them.
    """
    if tool == "pulumi":
        _print_exports(_pulumi_variables())
        return
    from trackbed.configuration import common_variables, mlflow_variables
    from trackbed.engines.metaflow import metaflow_variables
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for

    found = resolve_environment(environment)
    launcher = launcher_for(found.contract)
    common = common_variables(found.contract, found.uri, launcher)
    exports = {
        "mlflow": lambda: mlflow_variables(found.contract, launcher),
        "metaflow": lambda: {**common, **metaflow_variables(found.contract)},
        "shell": lambda: {**common, **metaflow_variables(found.contract)},
    }
    if tool is not None:
        _print_exports(exports[tool]())
        return
    document = found.contract.to_dict()
    if as_json:
        click.echo(json.dumps({"environment": document, "uri": found.uri, "source": found.source}, indent=2))
        return
    click.echo(f"{found.contract.name}: chosen because {found.source}; read from {found.uri}")
    width = max(len(place) for place, _ in _flattened(document))
    for place, value in _flattened(document):
        click.echo(f"  {place:<{width}}  {value}")


def _flattened(document: object, place: str = "") -> list[tuple[str, str]]:
    if isinstance(document, dict) and document:
        return [
            line
            for key, value in document.items()
            for line in _flattened(value, f"{place}.{key}" if place else str(key))
        ]
    return [(place, str(document))]


def _print_exports(variables: dict[str, str]) -> None:
    for name, value in sorted(variables.items()):
        click.echo(f"export {name}={shlex.quote(value)}")


def _pulumi_variables() -> dict[str, str]:
    from trackbed.platform import project_and_engine, pulumi_exports

    project, engine = project_and_engine()
    return pulumi_exports(project, engine)
