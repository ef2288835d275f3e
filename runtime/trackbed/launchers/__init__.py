"""Launchers: what differs per ground when something runs (addresses, secrets, slots, starting a tool)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from trackbed.contract import Address, Contract
from trackbed.errors import UserError


@dataclass(frozen=True)
class ServiceStatus:
    """What is known about one service of an environment.

    Args:
        component: `tracking`, or `endpoint-<name>`.
        state: `running`, or why it is not: `starting`, `stopped`, `fatal`, `changed`, `foreign`.
        health: result of the last health check: `passing`, `failing` or `unknown`.
        url: where it listens, from where this process runs, without a scheme where that is not HTTP; None while it is
            not known.
        version: version of what runs in it; None where it does not tell.
        started_at: epoch seconds of the last start; None when it never started.
        restarts: how often it was restarted by its supervisor.
    """

    component: str
    state: str
    health: str
    url: str | None = None
    version: str | None = None
    started_at: float | None = None
    restarts: int = 0

    @property
    def is_well(self) -> bool:
        """Whether it runs as it should."""
        return self.state == "running" and self.health != "failing"


class Launcher(Protocol):
    """One ground, at run time."""

    def require_tracking(self) -> None:
        """Refuse to go on while the tracking server is down: tools would wait minutes for it without a word.

        Raises:
            UserError: it does not run.
        """
        ...

    def services(self) -> list[ServiceStatus]:
        """Return the state of every service, also of those that are down."""
        ...

    def logs(self, component: str, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield the last lines of a service's log, and then, where asked, each new one without end.

        Raises:
            UserError: there is no such component.
        """
        ...

    def address(self, address: Address) -> str:
        """Return the URL that works from where this process runs."""
        ...

    def secret(self, reference: str) -> str:
        """Return the value behind a secret reference of the contract.

        Raises:
            UserError: the reference cannot be resolved from here.
        """
        ...

    def become(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None, *, pool: str, label: str
    ) -> NoReturn:
        """Take a slot of the pool and replace this process by the tool.

        Args:
            argv: executable and arguments.
            environment: the whole environment of the tool.
            directory: working directory; None keeps the current one.
            pool: name of the pool whose slot is held as long as the tool runs.
            label: what runs, shown to those who wait for a slot.
        """
        ...

    def slot(self, pool: str, *, memory: int | None = None) -> AbstractContextManager[int]:
        """Hold a slot of the pool for the length of a `with` block; blocks until one is free.

        Args:
            pool: name of the pool.
            memory: bytes the work needs; an equal share of the pool by default.

        Returns:
            A context manager that gives the slot's number.
        """
        ...


def launcher_for(contract: Contract) -> Launcher:
    """Return the launcher of the contract's ground.

    Raises:
        UserError: this trackbed has no launcher for that target.
    """
    if contract.target == "local":
        from trackbed.launchers.local import LocalLauncher

        return LocalLauncher(contract)
    raise UserError(f"the environment {contract.name!r} has target {contract.target!r}; this trackbed launches: local")
