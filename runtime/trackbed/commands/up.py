"""`trackbed up`: make an environment, or bring it to what its file says."""

from __future__ import annotations

import json
import sys
import time

import click

from trackbed.commands.options import json_option


@click.command(epilog="Example: trackbed up local --yes")
@click.argument("name", default="local")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before changing anything.")
@json_option
def command(name: str, yes: bool, as_json: bool) -> None:
    """Make the environment NAME (default: local), or bring it to what stacks/Pulumi.NAME.yaml says.

    Shows what will change and asks, works with progress, waits until each service is healthy, and sums up. It may be
    interrupted and repeated at any time. What died since the last `up` is started again.
    """
    from rich.console import Console

    from trackbed.display import ProgressDisplay, changes_table, counted
    from trackbed.environments import connect, environment_home
    from trackbed.errors import UserError
    from trackbed.platform import open_stack

    began = time.monotonic()
    console = Console(stderr=True, highlight=False)
    stack = open_stack(name)
    stack.make()
    if not yes:
        with ProgressDisplay(f"finding out what would change in {name}", console):
            planned = stack.preview(lambda event: None).effective
        console.print(changes_table(planned) if planned else f"{name}: nothing would change")
        if not sys.stdin.isatty():
            raise UserError("nobody can be asked here whether to go on", hint=f"trackbed up {name} --yes")
        if planned:
            click.confirm("Go on?", abort=True, err=True)
    with ProgressDisplay(f"bringing up {name}", console) as progress:
        outcome = stack.up(progress.on_event)
    contract = environment_home(stack.project, name) / "contract.json"
    found = connect(str(contract), name=name, replace=True)
    if as_json:
        changes = [{"name": change.name, "operation": change.operation} for change in outcome.effective]
        click.echo(json.dumps({"environment": found.contract.to_dict(), "changes": changes}, indent=2))
        return
    console.print(f"{name} is up: {counted(outcome.effective)}, {time.monotonic() - began:.1f} s")
    tracking = found.contract.tracking.address
    console.print(f"  tracking UI   {tracking.external or tracking.internal}")
    for endpoint, described in found.contract.endpoints.items():
        address = described.address
        console.print(f"  endpoint      {address.external or address.internal}  ({endpoint}, model {described.model})")
    console.print(f"next: trackbed run PROGRAM, trackbed status {name}, trackbed new-project DIRECTORY")
