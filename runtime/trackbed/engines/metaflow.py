"""Metaflow flows: a Python file that defines a flow, run by its own command line."""

from __future__ import annotations

import ast
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from trackbed.configuration import artifact_path
from trackbed.contract import Contract
from trackbed.engines import Command, Context, Program
from trackbed.errors import UserError

NAME = "Metaflow flow"
LOOKED_FOR = "a Python file with a class that derives from metaflow's FlowSpec, or with methods that are its @step"

# Metaflow refuses a run whose user is unknown or root, which is what a bare container has.
UNNAMED_USER = "trackbed"


def recognises(program: Program) -> bool:
    """Whether the file defines a flow, in any style of import and also through a base class of the project."""
    if not program.uses("metaflow"):
        return False
    bases = _names_of("FlowSpec", program.tree)
    steps = _names_of("step", program.tree)
    for node in ast.walk(program.tree):
        if isinstance(node, ast.ClassDef) and (
            any(_dotted(base) in bases for base in node.bases)
            or any(_dotted(decorator) in steps for decorator in _decorators(node))
        ):
            return True
    return False


def command(program: Program, context: Context) -> Command:
    """Return `python flow.py ARGUMENTS`; without arguments the flow is run.

    Raises:
        UserError: Metaflow is not installed beside trackbed.
    """
    if find_spec("metaflow") is None:
        raise UserError(
            f"{program.path} is a Metaflow flow, and {sys.executable} has no metaflow",
            hint=f"{sys.executable} -m pip install metaflow",
        )
    arguments = program.arguments or ("run",)
    return Command([sys.executable, str(program.path), *arguments], metaflow_variables(context.contract))


def metaflow_variables(contract: Contract) -> dict[str, str]:
    """Return the METAFLOW_* variables: where flows keep artifacts, cards and metadata, and a user Metaflow accepts.

    Makes the place where cards are kept.

    Args:
        contract: the environment; a local one keeps everything below its artifact store.
    """
    root = f"{artifact_path(contract)}/metaflow"
    _join_cards(Path(root))
    slots = str(contract.pools["default"].slots)
    return {
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": root,
        # Otherwise cards land below the current directory. In 2.19 any value makes Metaflow keep them with artifacts.
        "METAFLOW_CARD_LOCALROOT": root,
        # As many tasks at once as the pool has slots; `--max-workers` of the flow still decides when it is given.
        "METAFLOW_RUN_MAX_WORKERS": slots,
        "METAFLOW_RESUME_MAX_WORKERS": slots,
        **_user(),
    }


def _join_cards(root: Path) -> None:
    """Let Metaflow's client find cards: it looks in mf.cards, and the command line writes them one level above."""
    directory = root / ".metaflow"
    directory.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (directory / "mf.cards").symlink_to(".")


def _names_of(name: str, tree: ast.Module) -> frozenset[str]:
    """Return every dotted name under which the file can reach `metaflow.<name>`."""
    return frozenset(_aliases(name, tree))


def _aliases(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "metaflow":
                    yield f"{alias.asname or 'metaflow'}.{name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "metaflow":
            for alias in node.names:
                if alias.name in (name, "*"):
                    yield name if alias.name == "*" else alias.asname or name


def _decorators(node: ast.ClassDef) -> Iterator[ast.expr]:
    for method in node.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from method.decorator_list


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _user() -> dict[str, str]:
    """Return METAFLOW_USER where Metaflow itself would find no name it accepts."""
    named = (os.environ.get(variable) for variable in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"))
    if any(name and name != "root" for name in named):
        return {}
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as some clusters give to containers
        user = UNNAMED_USER
    return {"METAFLOW_USER": UNNAMED_USER if user == "root" else user}
