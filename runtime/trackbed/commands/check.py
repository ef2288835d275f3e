"""`trackbed check`: run a tiny workflow from training to prediction, as a smoke test."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from trackbed.commands.options import environment_option, json_option

if TYPE_CHECKING:
    from trackbed.check import Result


@click.command(epilog="Example: trackbed check -e local")
@environment_option
@json_option
def command(environment: str | None, as_json: bool) -> None:
    """Train, register, load and serve a tiny model on an environment, and take it all away again.

    Each step is shown with its time. The exit status is 1 when one fails, or when something had to be left behind;
    then it says what, and what to do next.
    """
    from trackbed.check import run_check
    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for

    found = resolve_environment(environment)
    if not as_json:
        click.echo(f"checking {found.contract.name} ({found.uri})")
    report = run_check(found, launcher_for(found.contract), _ignore if as_json else _print)
    if as_json:
        document = {
            "environment": found.contract.name,
            "passed": report.passed,
            "steps": [asdict(result) for result in report.results],
            "left": report.left,
        }
        click.echo(json.dumps(document, indent=2))
    elif report.passed:
        seconds = sum(result.seconds for result in report.results)
        click.echo(f"{found.contract.name} works, from training to a served prediction ({seconds:.1f} s)")
    if not report.passed:
        raise click.exceptions.Exit(1)


def _print(result: Result) -> None:
    word = click.style("passed" if result.passed else "FAILED", fg="green" if result.passed else "red")
    click.echo(f"  {word}  {result.step:<18}  {result.seconds:5.1f} s  {result.message}")
    if not result.passed:
        click.echo(f"          next: {result.hint}")


def _ignore(_result: Result) -> None:
    return
