"""`trackbed open`: open the tracking UI or an endpoint in the browser."""

from __future__ import annotations

import json

import click

from trackbed.commands.options import environment_option, json_option


@click.command(epilog="Example: trackbed open tracking --url")
@click.argument("component", default="tracking")
@environment_option
@json_option
@click.option("--url", "only_url", is_flag=True, help="Only print the URL.")
def command(component: str, environment: str | None, as_json: bool, only_url: bool) -> None:
    """Open COMPONENT in the browser: `tracking` (default), or the name of an endpoint."""
    from trackbed.environments import resolve_environment
    from trackbed.errors import UserError
    from trackbed.launchers import launcher_for

    contract = resolve_environment(environment).contract
    addresses = {"tracking": contract.tracking.address}
    addresses |= {name: endpoint.address for name, endpoint in contract.endpoints.items()}
    address = addresses.get(component.removeprefix("endpoint-"))
    if address is None:
        raise UserError(f"there is no component {component!r} to open; there are: {', '.join(addresses)}")
    url = launcher_for(contract).address(address)
    click.echo(json.dumps({"component": component, "url": url}) if as_json else url)
    if not only_url and click.launch(url) != 0:
        raise UserError("no browser could be started", hint=f"open {url} yourself")
