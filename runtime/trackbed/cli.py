"""The command line: each command is a module of trackbed.commands, imported only when it is used."""

from __future__ import annotations

import importlib

import click

# Name to summary, in the order of the work: listing the commands imports none of them.
COMMANDS = {
    "new-environment": "Write a commented starter file for an environment.",
    "validate": "Check environment files, offline.",
    "preview": "Show what `up` would change.",
    "up": "Make an environment, or bring it to what its file says.",
    "down": "Take an environment away; data is kept unless told otherwise.",
    "status": "Show the health of each component.",
    "logs": "Show or follow the logs of a component.",
    "open": "Open the tracking UI or an endpoint in the browser.",
    "doctor": "Find what this machine lacks, each with its fix.",
    "check": "Run a tiny workflow from training to prediction, as a smoke test.",
    "environment": "Show an environment's contract, or export it for a tool.",
    "connect": "Make an environment known on this machine.",
    "new-project": "Create a project to start from.",
    "run": "Run a workflow on an environment, unmodified.",
    "tune": "Tune the parameters of any program.",
    "promote": "Point an alias at a version of a registered model.",
    "rollback": "Point an alias back at the version before.",
    "traffic": "Show or set the canary weights of an endpoint.",
    "predict": "Ask an endpoint for predictions.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"trackbed.commands.{cmd_name.replace('-', '_')}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and suggest the nearest one where there is none of that name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            suggestion = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"there is no command {args[0]!r}{suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trackbed")
def cli() -> None:
    """Machine-learning platforms as code, and the workflows you already have running on them.

    Example: trackbed up local && trackbed run flow.py
    """
