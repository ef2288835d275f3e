"""`trackbed connect`: make an environment known on this machine."""

from __future__ import annotations

import json

import click

from trackbed.commands.options import json_option


@click.command(epilog="Example: trackbed connect ../platform/.trackbed/environments/local/contract.json")
@click.argument("uri")
@json_option
@click.option("--name", help="The name to know it by; the environment's own by default.")
def command(uri: str, as_json: bool, name: str | None) -> None:
    """Make the environment whose contract lies at URI known to every command of yours on this machine."""
    from trackbed.environments import connect

    found = connect(uri, name=name)
    if as_json:
        document = {"name": name or found.contract.name, "target": found.contract.target, "uri": found.uri}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"connected {name or found.contract.name}: {found.contract.target}, {found.uri}")
