"""Running a program on an environment: find the environment and the engine, then become the tool."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from trackbed.configuration import common_variables
from trackbed.engines import Context, Program, find_engine
from trackbed.environments import resolve_environment
from trackbed.launchers import launcher_for

DEFAULT_POOL = "default"


def run_program(
    path: Path,
    arguments: tuple[str, ...],
    *,
    environment: str | None = None,
    pool: str = DEFAULT_POOL,
    verbose: bool = False,
) -> NoReturn:
    """Replace this process by the tool that runs a program.

    Args:
        path: the program.
        arguments: its own arguments, untouched.
        environment: name or URI of the environment; None resolves it.
        pool: compute pool whose slot the program holds.
        verbose: say on standard error which environment and engine were chosen, and why.

    Raises:
        UserError: there is no such environment or program, or its tool cannot be started.
    """
    found = resolve_environment(environment)
    launcher = launcher_for(found.contract)
    launcher.require_tracking()
    program = Program(path.absolute(), arguments)
    engine = find_engine(program)
    if verbose:
        print(f"trackbed: environment {found.contract.name} ({found.source}); {engine.NAME}", file=sys.stderr)
    tool = engine.command(program, Context(found.contract, launcher))
    variables = {**os.environ, **common_variables(found.contract, found.uri, launcher), **tool.environment}
    launcher.become(tool.argv, variables, tool.directory, pool=pool, label=path.name)
