"""Which environment a command works on: flag, variable, the project's file, or the only local one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from trackbed.contract import Contract, read_contract
from trackbed.errors import UserError

VARIABLE = "TRACKBED_ENVIRONMENT"
OPTION = "the --environment option"
PROJECT_FILE = "trackbed.yaml"
CONTRACT_FILE = "contract.json"


@dataclass(frozen=True)
class Environment:
    """An environment that was found.

    Args:
        contract: what it says of itself.
        uri: where the contract was read.
        source: what decided for it, in words.
    """

    contract: Contract
    uri: str
    source: str


def resolve_environment(flag: str | None, *, start: Path | None = None, option: str = OPTION) -> Environment:
    """Find the environment a command works on.

    Args:
        flag: the value of `--environment`: a name, or the path or URI of a contract; None when it was not given.
        start: directory from which project files are looked for; the current one by default.
        option: what the flag was given by, in words.

    Raises:
        UserError: none is named and there is not exactly one, or the one named cannot be found or read.
    """
    start = start or Path.cwd()
    if flag:
        return _named(flag, option, start)
    if variable := os.environ.get(VARIABLE):
        return _named(variable, f"the variable {VARIABLE}", start)
    for directory in (start, *start.parents):
        file = directory / PROJECT_FILE
        if file.is_file():
            return _named(_environment_of_project(file), f"the project's file {file}", directory)
    # Inside a platform's project its own environments count, elsewhere those this user has connected.
    known = dict(enclosing_environments(start)) or dict(connections())
    if len(known) == 1:
        [(name, uri)] = known.items()
        return Environment(_read(uri), uri, f"{name!r} is the only environment known here")
    if not known:
        raise UserError(
            "there is no environment here",
            hint="make one with `trackbed up local`, or `trackbed connect URI`",
        )
    raise UserError(
        f"several environments are known here: {', '.join(sorted(known))}",
        hint=f"choose one with --environment NAME or the variable {VARIABLE}",
    )


def connect(uri: str, *, name: str | None = None, replace: bool = False) -> Environment:
    """Make an environment known to every command of this user on this machine.

    Args:
        uri: path or URI of its contract.
        name: the name to know it by; the environment's own by default.
        replace: whether the name may be taken from another environment.

    Raises:
        UserError: the contract cannot be read, the name cannot be one, or it stands for another environment.
    """
    if name is not None and (not name or _is_place(name)):
        raise UserError(f"{name!r} cannot be the name of an environment: it is read as the place of a contract")
    if "://" not in uri:
        uri = os.path.normpath(Path(uri).absolute())
    contract = _read(uri)
    known = dict(connections())
    name = name or contract.name
    other = known.get(name)
    if not replace and other is not None and other != uri and _exists(other):
        raise UserError(
            f"the name {name!r} already stands for {other}",
            hint="give another one: trackbed connect URI --name NAME",
        )
    _write_connections({**known, name: uri})
    return Environment(contract, uri, "connected")


def disconnect(uri: str) -> None:
    """Forget an environment by the path or URI of its contract; unknown ones are ignored."""
    recorded = _recorded_connections()
    kept = {name: other for name, other in recorded.items() if other != uri}
    if kept != recorded:
        _write_connections(kept)


def project_root(start: Path | None = None) -> Path | None:
    """Return the nearest directory at or above `start` that holds a Pulumi.yaml; None when there is none."""
    start = start or Path.cwd()
    return next((path for path in (start, *start.parents) if (path / "Pulumi.yaml").is_file()), None)


def environment_home(project: Path, name: str) -> Path:
    """Return the directory of a local environment: its state, logs, secrets and, by default, its data."""
    return project / ".trackbed" / "environments" / name


def _named(value: str, source: str, start: Path) -> Environment:
    if _is_place(value):
        return Environment(_read(value), value, source)
    known = {**dict(connections()), **dict(enclosing_environments(start))}
    if value not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise UserError(
            f"there is no environment {value!r} (from {source}); known here: {listed}",
            hint=f"make it with `trackbed up {value}`, or `trackbed connect URI`",
        )
    return Environment(_read(known[value]), known[value], source)


def _is_place(value: str) -> bool:
    return "/" in value or value.endswith(".json")


def _environment_of_project(file: Path) -> str:
    from trackbed.documents import read_document

    value = read_document(file).value
    name = value.get("environment") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{file} names no environment", hint="write in it: environment: local")
    return name


def enclosing_environments(start: Path) -> Iterator[tuple[str, str]]:
    """Yield name and contract of the environments of the projects around a directory."""
    # Outermost first: of two projects around us that know a name, the nearest has the last word.
    for directory in reversed((start, *start.parents)):
        for file in sorted(directory.glob(f".trackbed/environments/*/{CONTRACT_FILE}")):
            yield file.parent.name, str(file)


def connections_file() -> Path:
    """Return the file in which `connect` writes environments down."""
    from platformdirs import user_data_path

    return user_data_path("trackbed") / "connections.json"


def connections() -> Iterator[tuple[str, str]]:
    """Yield name and contract of every connected environment that is still there."""
    for name, uri in _recorded_connections().items():
        if _exists(uri):
            yield name, uri


def _recorded_connections() -> dict[str, str]:
    """Return what `connect` wrote down, also of environments that are gone since."""
    try:
        recorded: Any = json.loads(connections_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    items: Any = recorded.items() if isinstance(recorded, dict) else ()
    return {name: uri for name, uri in items if isinstance(uri, str)}


def _write_connections(known: dict[str, str]) -> None:
    file = connections_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)


def _exists(uri: str) -> bool:
    return ("://" in uri and not uri.startswith("file://")) or _path(uri).is_file()


def _path(uri: str) -> Path:
    if not uri.startswith("file://"):
        return Path(uri)
    return Path(unquote(uri.removeprefix("file://").removeprefix("localhost")))


def _read(uri: str) -> Contract:
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(f"cannot read a contract from {uri}; allowed are a path and file:// URIs")
    path = _path(uri)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"the contract {path} cannot be read: {error.strerror}",
            hint="give the path of a contract.json, or run `trackbed up`",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a contract: it is not text", hint="give the path of a contract.json") from error
    return read_contract(text, source=str(path))
