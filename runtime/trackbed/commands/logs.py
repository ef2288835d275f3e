"""`trackbed logs`: show or follow the log of a component."""

from __future__ import annotations

import click

from trackbed.commands.options import environment_option


@click.command(epilog="Example: trackbed logs tracking --follow")
@click.argument("component", default="tracking")
@environment_option
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(min=1), help="How many lines to show."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with each new line, until Ctrl-C.")
def command(component: str, environment: str | None, lines: int, follow: bool) -> None:
    """Show the end of the log of COMPONENT: `tracking` (default), or the name of an endpoint."""
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for

    launcher = launcher_for(resolve_environment(environment).contract)
    for line in launcher.logs(component, lines=lines, follow=follow):
        click.echo(line)
