"""The entry point of the command line, and how errors reach people."""

from __future__ import annotations

import sys
from pathlib import Path

from trackbed.errors import UserError, refusal


def main() -> None:
    """Run the command line and exit with an honest status."""
    try:
        status = _run(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  fix: {error.hint}", file=sys.stderr)
        status = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away: that is its right.
        sys.stderr.close()
        status = 141
    except OSError as error:
        told = refusal(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        status = 1
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["run"] and arguments[1:] and not arguments[1].startswith("-"):
        # Without options of our own there is nothing to parse: a program starts some 20 ms sooner without click.
        from trackbed.running import run_program

        run_program(Path(arguments[1]), tuple(arguments[2:]))
    import click

    from trackbed.cli import cli

    try:
        status = cli(arguments, prog_name="trackbed", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        print("interrupted", file=sys.stderr)
        return 130
    # Without its standalone mode, click hands back the status of a command that asked to exit.
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    main()
