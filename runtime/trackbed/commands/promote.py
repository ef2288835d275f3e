"""`trackbed promote`: point an alias at a version of a registered model."""

from __future__ import annotations

import click

from trackbed.commands.options import environment_option, json_option


@click.command(epilog="Example: trackbed promote digits 3")
@environment_option
@json_option
@click.option("--alias", default="champion", show_default=True, help="The alias that endpoints follow.")
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until the model's endpoints serve the version."
)
@click.argument("model")
@click.argument("version")
def command(environment: str | None, as_json: bool, alias: str, wait: bool, model: str, version: str) -> None:
    """Point an alias of MODEL at VERSION.

    Endpoints load the version in the background and change over without failing a request. The version before is kept
    for `trackbed rollback`.
    """
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for
    from trackbed.models import open_registry, promote
    from trackbed.serving.moves import finish_move

    contract = resolve_environment(environment).contract
    launcher = launcher_for(contract)
    with open_registry(contract, launcher) as client:
        move = promote(client, model, version, alias)
    finish_move(contract, launcher, move, wait=wait, as_json=as_json)
