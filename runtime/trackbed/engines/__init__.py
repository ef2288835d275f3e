"""Workflow engines: how a program is recognised, and how the tool that runs it is started.

An engine is a module of this package with `NAME`, `LOOKED_FOR`, `recognises` and `command` (see `Engine`). Other
distributions add engines through the entry point group `trackbed.engines`; those are asked when no engine of this
package recognises the program.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

from trackbed.contract import Contract
from trackbed.errors import ProblemsError, UserError
from trackbed.launchers import Launcher

# The order matters: a flow that also imports mlflow is a flow; a plain script comes last.
BUILT_IN = ("metaflow", "kubeflow", "airflow", "mlflow_project", "mlflow_script")
ENTRY_POINT_GROUP = "trackbed.engines"


@dataclass(frozen=True)
class Program:
    """What a person asked to run: a file or a directory, never imported by Trackbed.

    Args:
        path: the file or directory, absolute.
        arguments: the program's own arguments, untouched.
    """

    path: Path
    arguments: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """The file's text; empty for a directory or a file that is not text."""
        if not self.path.is_file():
            return ""
        return self.path.read_bytes().decode("utf-8", errors="ignore")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file; an empty one for anything else.

        Raises:
            UserError: the file is not valid Python.
        """
        if self.path.suffix != ".py":
            return ast.Module(body=[], type_ignores=[])
        try:
            return ast.parse(self.text, filename=str(self.path))
        except SyntaxError as error:
            place = self.path if error.lineno is None else f"{self.path}:{error.lineno}"
            raise UserError(f"{place}: not valid Python: {error.msg}") from error

    @cached_property
    def imports(self) -> frozenset[str]:
        """Dotted names of every module the file imports, at any level, with the names taken from them."""
        return frozenset(_imports(self.tree))

    def uses(self, package: str) -> bool:
        """Whether the file imports `package` or something below it."""
        return any(name == package or name.startswith(package + ".") for name in self.imports)


@dataclass(frozen=True)
class Command:
    """The tool's own command line, ready to be executed.

    Args:
        argv: executable and arguments.
        environment: variables on top of the caller's environment.
        directory: working directory; None keeps the caller's.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    directory: Path | None = None


@dataclass(frozen=True)
class Context:
    """What an engine may use to build its command.

    Args:
        contract: the environment the program runs on.
        launcher: what differs per ground: addresses, secrets, slots.
    """

    contract: Contract
    launcher: Launcher


class Engine(Protocol):
    """A workflow engine: a module with these two constants and two functions."""

    NAME: str
    """The engine's name, for people: `Metaflow flow`."""
    LOOKED_FOR: str
    """What makes a program one of this engine's, as the end of the sentence 'looked for ...'."""

    def recognises(self, program: Program) -> bool:
        """Whether the program is one of this engine's, told without importing it."""
        ...

    def command(self, program: Program, context: Context) -> Command:
        """Return the tool's command line and native configuration for the program.

        Raises:
            UserError: the tool is missing or the arguments cannot be used.
        """
        ...


def find_engine(program: Program) -> Engine:
    """Return the engine that recognises the program.

    Raises:
        UserError: the path does not exist, or no engine recognises it (the message says what was looked for).
    """
    if not program.path.exists():
        raise UserError(f"there is no file or directory {program.path}", hint="give the path of a program to run")
    looked_for: list[str] = []
    for engine in _engines():
        if engine.recognises(program):
            return engine
        looked_for.append(f"{engine.NAME}: {engine.LOOKED_FOR}")
    raise ProblemsError(f"{program.path} is no program that trackbed knows; looked for", looked_for)


def _engines() -> Iterator[Engine]:
    for name in BUILT_IN:
        yield cast(Engine, importlib.import_module(f"trackbed.engines.{name}"))
    # Scanning the installed distributions takes tens of milliseconds: only when the known engines gave up.
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        yield cast(Engine, entry_point.load())


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
