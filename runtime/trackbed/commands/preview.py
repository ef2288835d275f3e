"""`trackbed preview`: show what `up` would change."""

from __future__ import annotations

import json

import click

from trackbed.commands.options import json_option


@click.command(epilog="Example: trackbed preview local")
@click.argument("name", default="local")
@json_option
def command(name: str, as_json: bool) -> None:
    """Show what `trackbed up NAME` would change, and why; touches nothing."""
    from trackbed.display import ProgressDisplay, changes_table, output_console
    from trackbed.platform import open_stack

    console = output_console(stderr=True)
    with open_stack(name) as stack, ProgressDisplay(f"finding out what would change in {name}", console):
        planned = stack.preview(lambda event: None).effective
    if as_json:
        click.echo(
            json.dumps([{**vars(change), "name": change.name, "kind": change.kind} for change in planned], indent=2)
        )
        return
    output_console().print(changes_table(planned) if planned else f"{name}: nothing would change")
