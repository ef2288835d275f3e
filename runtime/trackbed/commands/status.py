"""`trackbed status`: the health of each component."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from trackbed.commands.options import environment_option, json_option

if TYPE_CHECKING:
    from trackbed.contract import Contract
    from trackbed.launchers import Launcher, ServiceStatus


@click.command(epilog="Example: trackbed status local")
@click.argument("name", required=False)
@environment_option
@json_option
def command(name: str | None, environment: str | None, as_json: bool) -> None:
    """Show each component of the environment NAME: health, URL, version, uptime and drift.

    The exit status is 1 when a service is down or differs from what was set up.
    """
    from trackbed.environments import OPTION, resolve_environment
    from trackbed.launchers import launcher_for

    if name is not None and environment is not None:
        raise click.UsageError(f"{name!r} and --environment {environment!r} both name an environment; give one of them")
    contract = resolve_environment(name or environment, option="the argument NAME" if name else OPTION).contract
    launcher = launcher_for(contract)
    services = [_with_models(service, contract, launcher) for service in launcher.services()]
    if as_json:
        document = {"environment": contract.name, "services": [asdict(service) for service in services]}
        click.echo(json.dumps({**document, "stores": _stores(contract)}, indent=2))
    else:
        _print(contract, services)
    if not services or not all(service.is_well for service in services):
        raise click.exceptions.Exit(1)


def _with_models(service: ServiceStatus, contract: Contract, launcher: Launcher) -> ServiceStatus:
    """Return the status of an endpoint with the versions of its model, as it tells them itself: `champion=3`."""
    from trackbed.errors import UserError
    from trackbed.serving.client import find_endpoint

    name = service.component.removeprefix("endpoint-")
    if name == service.component or service.state != "running":
        return service
    try:
        aliases = find_endpoint(contract, launcher, name).readiness()["aliases"]
    except UserError as error:
        return replace(service, version=str(error))
    served = ", ".join(f"{alias}={said['version'] or 'none'}" for alias, said in aliases.items())
    return replace(service, version=f"{contract.endpoints[name].model}: {served}")


def _print(contract: Contract, services: list[ServiceStatus]) -> None:
    from rich.table import Table

    from trackbed.display import output_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("COMPONENT", "STATE", "HEALTH", "UPTIME", "RESTARTS", "VERSION", "URL"):
        table.add_column(heading, no_wrap=True)
    for service in services:
        table.add_row(
            service.component,
            f"[{'green' if service.state == 'running' else 'red'}]{service.state}",
            f"[{'red' if service.health == 'failing' else 'green'}]{service.health}",
            _uptime(service),
            str(service.restarts),
            service.version or "",
            service.url or "",
        )
    console = output_console()
    console.print(f"{contract.name} ({contract.target})")
    console.print(table)
    for store, place in _stores(contract).items():
        console.print(f"{store:<10} {place}")
    ill = [service.component for service in services if not service.is_well]
    if not services:
        console.print(f"nothing of it runs; next: trackbed up {contract.name}")
    elif ill:
        console.print(f"not well: {', '.join(ill)}; next: trackbed logs {ill[0]}, trackbed up {contract.name}")


def _stores(contract: Contract) -> dict[str, str]:
    stores = {"artifacts": contract.artifacts.uri}
    for name, pool in contract.pools.items():
        stores[f"pool {name}"] = f"{pool.slots} slots, {pool.cpu:g} cpu, {pool.memory / 2**30:.1f} GiB"
    if contract.tuning is not None:
        stores["tuning"] = contract.tuning.storage
    return stores


def _uptime(service: ServiceStatus) -> str:
    if service.started_at is None or service.state != "running":
        return ""
    seconds = int(time.time() - service.started_at)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
