"""`trackbed connect`: make an environment known on this machine."""

from __future__ import annotations

import click


@click.command(epilog="Example: trackbed connect ../platform/.trackbed/environments/local/contract.json")
@click.argument("uri")
@click.option("--name", help="The name to know it by; the environment's own by default.")
def command(uri: str, name: str | None) -> None:
    """Make the environment whose contract lies at URI known to every command of yours on this machine."""
    from trackbed.environments import connect

    found = connect(uri, name=name)
    click.echo(f"connected {name or found.contract.name}: {found.contract.target}, {found.uri}")
