"""`trackbed doctor`: find what this machine lacks, each with its fix."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trackbed.commands.options import environment_option, json_option

if TYPE_CHECKING:
    from trackbed.doctor import Finding

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(epilog="Example: trackbed doctor -e local")
@environment_option
@json_option
def command(environment: str | None, as_json: bool) -> None:
    """Look at this machine, the project and the environments known here; print each problem with its fix.

    Nothing is changed. The exit status is 1 when there is a problem; warnings tell of what works with a drawback.
    """
    from trackbed.doctor import CHECKS, Place, examine
    from trackbed.environments import project_root

    findings = examine(CHECKS, Place(Path.cwd(), project_root(), environment))
    problems = [finding for finding in findings if finding.level == "problem"]
    if as_json:
        document = {"well": not problems, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(document, indent=2))
    else:
        _print(findings)
    if problems:
        raise click.exceptions.Exit(1)


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trackbed.display import output_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("LEVEL", no_wrap=True)
    table.add_column("LOOKED AT", no_wrap=True)
    table.add_column("SEEN", overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.level, style=COLOURS[finding.level]), finding.check, Text(finding.message))
    console = output_console()
    console.print(table)
    fixes: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.level != "ok":
            fixes.setdefault(finding.fix, []).append(finding)
    # Below the table and never wrapped, so that a fix can be copied as one line.
    for fix, mended in fixes.items():
        names = ", ".join(finding.check for finding in mended)
        console.print(Text.assemble(("fix of ", "bold"), names), overflow="ignore", crop=False)
        console.print(Text(f"  {fix}"), overflow="ignore", crop=False)
    counts = {level: sum(finding.level == level for finding in findings) for level in ("problem", "warning")}
    told = ", ".join(f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count)
    console.print(told or "all is well")
