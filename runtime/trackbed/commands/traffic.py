"""`trackbed traffic`: show or set the canary weights of an endpoint."""

from __future__ import annotations

import click

from trackbed.commands.options import environment_option, json_option


@click.command(epilog="Example: trackbed traffic digits champion=90 challenger=10")
@environment_option
@json_option
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until the endpoint divides its requests so."
)
@click.argument("endpoint")
@click.argument("weights", nargs=-1, metavar="[ALIAS=PERCENT]...")
def command(environment: str | None, as_json: bool, wait: bool, endpoint: str, weights: tuple[str, ...]) -> None:
    """Show the weights of ENDPOINT's aliases, or set them.

    The weights of the environment's file are the first; once set here, they belong to the registry, and `trackbed up`
    leaves them alone. The share of an alias that no version has goes to the others.
    """
    import json

    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for
    from trackbed.models import open_registry, parse_weights, set_traffic
    from trackbed.serving.client import find_endpoint, wait_for_traffic

    contract = resolve_environment(environment).contract
    launcher = launcher_for(contract)
    client = find_endpoint(contract, launcher, endpoint)
    if weights:
        wanted = parse_weights(weights)
        with open_registry(contract, launcher) as registry:
            set_traffic(registry, client.model, endpoint, wanted)
        if wait:
            wait_for_traffic(client, wanted)
        elif as_json:
            click.echo(json.dumps(wanted))
            return
        else:
            click.echo(f"set: {' '.join(f'{alias}={weight}' for alias, weight in wanted.items())}")
            return
    aliases = client.readiness()["aliases"]
    if as_json:
        click.echo(json.dumps({alias: state["weight"] for alias, state in aliases.items()}))
        return
    for alias, state in aliases.items():
        served = f"version {state['version']}" if state["version"] else "no version"
        problem = f" ({state['problem']})" if state["problem"] else ""
        click.echo(f"{alias:<20} {state['weight']:>3} %  {served}{problem}")
