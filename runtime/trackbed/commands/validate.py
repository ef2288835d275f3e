"""`trackbed validate`: check environment files, offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trackbed.commands.options import json_option

if TYPE_CHECKING:
    from trackbed.documents import Problem


@click.command(epilog="Example: trackbed validate stacks/Pulumi.local.yaml")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Check each FILE against the environment spec; all of the project's environments by default.

    Every problem is told at once, with file, line, place, the value given and what is allowed. The exit status is 1
    when there is any.
    """
    from trackbed.environments import project_root
    from trackbed.errors import UserError

    if not files:
        project = project_root()
        files = tuple(sorted(project.glob("stacks/Pulumi.*.yaml"))) if project else ()
    if not files:
        raise UserError(
            "there is no environment file to check",
            hint="give its path, or make one: trackbed new-environment local --target local",
        )
    found = {file: _problems(file) for file in files}
    if as_json:
        results = [
            {"file": str(file), "valid": not problems, "problems": [asdict(problem) for problem in problems]}
            for file, problems in found.items()
        ]
        click.echo(json.dumps(results, indent=2))
    else:
        for file, problems in found.items():
            for problem in problems:
                click.echo(problem.told(str(file)))
            if not problems:
                click.echo(f"{file}: valid")
    if any(found.values()):
        raise click.exceptions.Exit(1)


def _problems(file: Path) -> Sequence[Problem]:
    from trackbed.documents import WHOLE, DocumentError, Problem, read_document
    from trackbed.errors import UserError
    from trackbed.spec import spec_document, spec_problems

    try:
        return spec_problems(spec_document(read_document(file)))
    except DocumentError as error:
        return error.found
    except UserError as error:
        return [Problem(1, WHOLE, str(error))]
