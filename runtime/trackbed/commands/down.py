"""`trackbed down`: take an environment away; data is kept unless told otherwise."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trackbed.commands.options import json_option

if TYPE_CHECKING:
    from trackbed_engine.stack import Stack


@click.command(epilog="Example: trackbed down local")
@click.argument("name", default="local")
@click.option("--delete-data", is_flag=True, help="Delete artifacts, runs, models and studies too; asks first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, not even with --delete-data.")
@json_option
def command(name: str, delete_data: bool, yes: bool, as_json: bool) -> None:
    """Take the environment NAME (default: local) away, and say what was kept.

    Data is kept, and the next `up` finds it again. May be interrupted and repeated.
    """
    from trackbed.platform import open_stack

    with open_stack(name, check=False) as stack:  # a broken description is no reason to keep what runs
        done = _take_down(stack, delete_data, yes)
    if as_json:
        click.echo(json.dumps(done, indent=2))


def _take_down(stack: Stack, delete_data: bool, yes: bool) -> dict[str, Any]:
    """Take down, telling a person about it on standard error; return what was done and kept."""
    from trackbed_local.programs import remove_all

    from trackbed.display import ProgressDisplay, counted, output_console
    from trackbed.environments import disconnect, environment_home
    from trackbed.errors import UserError

    console = output_console(stderr=True)
    name = stack.name
    home = environment_home(stack.project, name)
    done: dict[str, Any] = {"environment": name, "changes": [], "deleted_data": False, "kept": None}
    known = stack.exists()
    if not known and not home.exists():
        console.print(f"{name} is not up, and has left nothing")
        return done
    if delete_data and not yes:
        if not sys.stdin.isatty():
            raise UserError(
                "nobody can be asked here whether to delete the data", hint=f"trackbed down {name} --delete-data --yes"
            )
        word = click.prompt(f"This deletes all runs, models and artifacts of {name}. Type its name to go on", err=True)
        if word != name:
            raise UserError(f"{word!r} is not {name!r}; nothing was deleted")
    if known:
        if delete_data:
            stack.release()
        with ProgressDisplay(f"taking down {name}", console) as progress:
            outcome = stack.destroy(progress.on_event)
        done["changes"] = [{"name": change.name, "operation": change.operation} for change in outcome.effective]
        console.print(f"{name} is down: {counted(outcome.effective)}")
    remove_all(home)  # a killed `up` may have started what no state knows of
    disconnect(str(home / "contract.json"))
    if delete_data:
        _delete_data(home)
        if known:
            stack.remove()
        done["deleted_data"] = True
        left = stack.file.relative_to(stack.project)
        console.print(f"deleted its data too; left are its description {left} and the project's engine state")
    elif home.exists():
        size = _size(home / "data")
        done["kept"] = {"directory": str(home), "data_bytes": size}
        console.print(f"kept: {_shown(size)} of data in {home / 'data'}, secrets and logs beside it")
        console.print(f"next: trackbed up {name} finds it again; trackbed down {name} --delete-data deletes it")
    return done


def _delete_data(home: Path) -> None:
    """Remove what earlier destroys have kept: the state does not know of it any more."""
    if home.exists():
        shutil.rmtree(home)


def _size(directory: Path) -> int:
    """Return how many bytes the files below a directory have."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _shown(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return ""
