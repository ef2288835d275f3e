"""`trackbed up`: make an environment, or bring it to what its file says."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from trackbed.commands.options import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from trackbed.contract import Address, Contract
    from trackbed.spec import EnvironmentSpec


@click.command(epilog="Example: trackbed up local --yes")
@click.argument("name", default="local")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before changing anything.")
@json_option
def command(name: str, yes: bool, as_json: bool) -> None:
    """Make the environment NAME (default: local), or bring it to what stacks/Pulumi.NAME.yaml says.

    Shows what will change and asks, works with progress, waits until each service is healthy, and sums up. It may be
    interrupted and repeated at any time. What died since the last `up` is started again.
    """
    from trackbed.display import ProgressDisplay, changes_table, counted, output_console
    from trackbed.environments import connect, environment_home
    from trackbed.errors import UserError
    from trackbed.platform import open_stack
    from trackbed.spec import read_spec

    began = time.monotonic()
    console = output_console(stderr=True)
    with open_stack(name) as stack:
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
    _print_addresses(found.contract, read_spec(stack.file), console)
    console.print(f"next: trackbed run PROGRAM, trackbed status {name}, trackbed new-project DIRECTORY")


def _print_addresses(contract: Contract, spec: EnvironmentSpec, console: Console) -> None:
    # A tracking server that existed before has the port that its owner gave it.
    tracking_port = spec.tracking.port if spec.tracking.url is None else None
    rows: list[tuple[str, Address, int | None, str]] = [("tracking UI", contract.tracking.address, tracking_port, "")]
    for wanted in spec.endpoints:
        endpoint = contract.endpoints[wanted.name]
        rows.append(("endpoint", endpoint.address, wanted.port, f"  ({wanted.name}, model {endpoint.model})"))
    for title, address, port, about in rows:
        url = address.external or address.internal
        taken = "" if port is None or url.endswith(f":{port}") else f"  (port {port} was in use)"
        console.print(f"  {title:<12}  {url}{about}{taken}")
