"""`trackbed validate`: check environment files, offline."""

from __future__ import annotations

import json
from pathlib import Path

import click

from trackbed.commands.options import json_option


@click.command(epilog="Example: trackbed validate stacks/Pulumi.local.yaml")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Check each FILE against the environment spec; all of the project's environments by default.

    Every problem is told at once, with file, line, place, the value given and what is allowed. The exit status is 1
    when there is any.
    """
    from trackbed.documents import read_document
    from trackbed.environments import project_root
    from trackbed.errors import ProblemsError, UserError
    from trackbed.spec import spec_document, spec_problems

    if not files:
        project = project_root()
        files = tuple(sorted(project.glob("stacks/Pulumi.*.yaml"))) if project else ()
    if not files:
        raise UserError(
            "there is no environment file to check",
            hint="give its path, or make one: trackbed new-environment local --target local",
        )
    results: list[dict[str, object]] = []
    for file in files:
        try:
            document = spec_document(read_document(file))
            problems = [
                {"line": found.line, "path": found.path, "message": found.message, "suggestion": found.suggestion}
                for found in spec_problems(document)
            ]
            told = [found.told(str(file)) for found in spec_problems(document)]
        except ProblemsError as error:
            told = list(error.problems)
            problems = [{"message": problem} for problem in told]
        results.append({"file": str(file), "valid": not problems, "problems": problems})
        if not as_json:
            for problem in told:
                click.echo(problem)
            if not told:
                click.echo(f"{file}: valid")
    if as_json:
        click.echo(json.dumps(results, indent=2))
    if not all(result["valid"] for result in results):
        raise click.exceptions.Exit(1)
