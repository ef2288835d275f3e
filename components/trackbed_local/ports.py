"""Which port a program gets: its preferred one, else the next free one, and from then on always the same."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import platformdirs
from trackbed.errors import UserError

from trackbed_local.layout import Home, file_lock, read_json, user_runtime_directory, write_atomic

SEARCH_LENGTH = 200  # how many ports after the preferred one are tried
RESERVED_FOR = 300.0  # seconds in which a port given out may not be listened on yet


def allocate(home: Home, name: str, preferred: int) -> int:
    """Choose and remember the port of a program that is not running.

    All environments of a user share one file of reservations, so that two that start at once never get the
    same port, and one that is down finds its ports untaken by the others. A reservation whose program is
    gone counts for nothing.

    Args:
        home: the environment the program belongs to.
        name: the program.
        preferred: the port wished for; the search begins here.

    Returns:
        The port it had before if the wish has not changed and nobody took it, else the first free one from
        `preferred` on.

    Raises:
        UserError: none of the ports is free.
    """
    registry = _registry()
    with file_lock(registry.with_suffix(".lock")):
        reserved = read_json(registry)
        remembered = read_json(home.ports)
        own: dict[str, Any] = remembered.get(name, {})
        candidates = list(range(preferred, min(preferred + SEARCH_LENGTH, 65536)))
        if own.get("preferred") == preferred:
            candidates.insert(0, own["port"])
        for port in candidates:
            if _taken_by_other(reserved, port, home, name) or not is_free(port):
                continue
            entry = {"home": str(home.path), "name": name, "since": time.time()}
            _write(registry, {**_without(reserved, home, name), str(port): entry})
            _write(home.ports, {**remembered, name: {"preferred": preferred, "port": port}})
            return port
    raise UserError(
        f"No free port for {name}: {preferred} to {candidates[-1]} are all taken.",
        hint="Give it another preferred port.",
    )


def release(home: Home, name: str) -> None:
    """Give up the reservation of a program that is going away; its environment still remembers the port."""
    registry = _registry()
    with file_lock(registry.with_suffix(".lock")):
        reserved = read_json(registry)
        kept = _without(reserved, home, name)
        if kept != reserved:
            _write(registry, kept)


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, after a restart
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _registry() -> Path:
    folder = platformdirs.user_state_path("trackbed")
    if not os.access(_nearest_existing(folder), os.W_OK):  # a service account without a home of its own
        folder = user_runtime_directory()
    return folder / "ports.json"


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _taken_by_other(reserved: dict[str, Any], port: int, home: Home, name: str) -> bool:
    entry = reserved.get(str(port))
    if entry is None or (entry["home"] == str(home.path) and entry["name"] == name):
        return False
    young = time.time() - entry["since"] < RESERVED_FOR
    return young or Home(Path(entry["home"])).program(entry["name"]).exists()


def _without(reserved: dict[str, Any], home: Home, name: str) -> dict[str, Any]:
    return {
        port: entry
        for port, entry in reserved.items()
        if not (entry["home"] == str(home.path) and entry["name"] == name)
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, json.dumps(content, indent=1, sort_keys=True).encode())
