"""Waiting and looking, for the tests of the local provider."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trackbed_local import supervision


def eventually(holds: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Wait until something is true and return it; fail when that takes too long."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not become true within {timeout:g} s")


def processes_of(home: Path) -> dict[int, list[str]]:
    """Find every living process that was started for a home, by its variables or its command line."""
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
            zombie = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        belongs = f"TRACKBED_PROCESS={home}::".encode() in environment or f"{home}/run/".encode() in command
        if belongs and not zombie:
            found[int(folder.name)] = command.decode().split("\0")
    return found


def only_status(home: Path) -> supervision.ProcessStatus:
    """Return the status of the only program of a home."""
    (status,) = supervision.status(home)
    return status
