"""Places and waiting for the tests of the local provider: every test has a home and a port registry of its own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trackbed_local.layout import Home
from trackbed_local.programs import HealthCheck, Program, Restart, remove

SERVER = Path(__file__).with_name("sample_server.py")


@pytest.fixture(autouse=True)
def own_port_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's real port reservations out of the tests, and the tests out of them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make homes of environments; what still runs in them afterwards is ended."""
    homes: list[Path] = []

    def make(name: str) -> Path:
        homes.append(tmp_path / name)
        return homes[-1]

    yield make
    for home in homes:
        for name in Home(home).program_names():
            remove(home, name, 0)


@pytest.fixture
def home(make_home: Callable[[str], Path]) -> Path:
    """One home."""
    return make_home("environment")


@pytest.fixture
def server(home: Path, free_port: int) -> Callable[..., Program]:
    """Describe the sample server as a program; keyword arguments replace parts of the description."""

    def describe(*arguments: str, **changes: Any) -> Program:
        parts: dict[str, Any] = {
            "home": home,
            "name": "web",
            "command": [sys.executable, "-S", str(SERVER), "{port}", *arguments],
            "port": free_port,
            "health_check": HealthCheck("/health", timeout_seconds=20, interval_seconds=0.1),
            "restart": Restart(backoff_seconds=0.05, maximum_backoff_seconds=0.4),
            "stop_timeout_seconds": 5,
        }
        return Program(**{**parts, **changes})

    return describe


@pytest.fixture
def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
