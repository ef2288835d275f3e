"""`trackbed new-project`: write a project to start from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from trackbed.commands.options import json_option
from trackbed.errors import UserError

STARTER = "starter"  # below templates/trackbed_templates
TEMPLATE_SUFFIX = ".j2"


@click.command(epilog="Example: trackbed new-project digits")
@click.option(
    "-e",
    "--environment",
    default="local",
    show_default=True,
    metavar="NAME|URI",
    help="The environment that the project runs on: a name, or the path of its contract. "
    "It is written into its trackbed.yaml.",
)
@json_option
@click.argument("directory", type=click.Path(path_type=Path))
def command(environment: str, as_json: bool, directory: Path) -> None:
    """Create a project in DIRECTORY, which must be new or empty.

    It holds a workflow that tunes, trains, judges and registers a classifier of handwritten digits (an ordinary
    Metaflow flow that logs to MLflow), and a program that asks the serving endpoint. None of it imports trackbed.
    """
    written = write_project(directory, environment=environment)
    if as_json:
        document = {"directory": str(directory), "environment": environment, "written": written}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"Created in {directory}, for the environment {environment!r}: {', '.join(written)}")
    click.echo("\nNext:")
    for line in (f"cd {shlex.quote(str(directory))}", "trackbed run flow.py", "trackbed run predict.py"):
        click.echo(f"  {line}")


def write_project(directory: Path, *, environment: str) -> list[str]:
    """Write the starter project.

    Args:
        directory: where to; made when it is not there.
        environment: the environment's name or the path or URI of its contract, for the project's trackbed.yaml.

    Returns:
        The names of the files, sorted.

    Raises:
        UserError: no environment can have that name; the directory holds something already, or cannot be written.
    """
    from importlib.resources import files

    from trackbed.environments import connections
    from trackbed.spec import check_name
    from trackbed.templates import render

    # Who connects an environment chooses the name it is known by, which has fewer rules.
    if not environment.endswith(".json") and environment not in dict(connections()):
        check_name(environment)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if found := sorted(path.name for path in directory.iterdir()):
            raise UserError(
                f"{directory} is not empty: it holds {', '.join(found[:3])}{', ...' if len(found) > 3 else ''}",
                hint="give the name of a new directory",
            )
        written: list[str] = []
        for source in files("trackbed_templates").joinpath(STARTER).iterdir():
            if not source.is_file():  # what Python left beside a file that was run in place
                continue
            name = source.name.removesuffix(TEMPLATE_SUFFIX)
            if name != source.name:
                text = render(f"{STARTER}/{source.name}", environment=environment)
            else:
                text = source.read_text(encoding="utf-8")
            (directory / name).write_text(text, encoding="utf-8")
            written.append(name)
    except OSError as error:
        raise UserError(f"cannot write the project to {directory}: {error.strerror}") from error
    return sorted(written)
