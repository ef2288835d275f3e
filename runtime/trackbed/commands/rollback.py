"""`trackbed rollback`: point an alias back at the version before."""

from __future__ import annotations

import click

from trackbed.commands.options import environment_option, json_option


@click.command(epilog="Example: trackbed rollback digits")
@environment_option
@json_option
@click.option("--alias", default="champion", show_default=True, help="The alias that endpoints follow.")
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until the model's endpoints serve the version."
)
@click.argument("model")
def command(environment: str | None, as_json: bool, alias: str, wait: bool, model: str) -> None:
    """Point an alias of MODEL back at the version before.

    One step is kept: a second rollback returns to where the first began.
    """
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for
    from trackbed.models import open_registry, rollback
    from trackbed.serving.moves import finish_move

    contract = resolve_environment(environment).contract
    launcher = launcher_for(contract)
    with open_registry(contract, launcher) as client:
        move = rollback(client, model, alias)
    finish_move(contract, launcher, move, wait=wait, as_json=as_json)
