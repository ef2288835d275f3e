"""What `trackbed promote` and `trackbed rollback` do after the alias has moved: wait, and say so."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from trackbed.contract import Contract
from trackbed.launchers import Launcher
from trackbed.models import Move
from trackbed.serving.client import wait_for_version


def finish_move(contract: Contract, launcher: Launcher, move: Move, *, wait: bool, as_json: bool) -> None:
    """Wait for the endpoints that follow the alias, and print what happened.

    Args:
        contract: the environment.
        launcher: resolves addresses.
        move: the alias that moved.
        wait: whether to wait.
        as_json: print JSON instead of text.

    Raises:
        UserError: an endpoint does not answer or cannot load the version.
    """
    if not as_json:
        before = f" (before: version {move.previous})" if move.previous else ""
        click.echo(f"{move.alias} of {move.model} is version {move.version}{before}")
    endpoints: list[str] = []
    if wait:
        endpoints = wait_for_version(contract, launcher, model=move.model, alias=move.alias, version=move.version)
    if as_json:
        click.echo(json.dumps({**asdict(move), "endpoints": endpoints}))
    elif endpoints:
        click.echo(f"served by {', '.join(endpoints)}")
