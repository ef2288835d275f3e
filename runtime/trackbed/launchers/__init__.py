"""Launchers: what differs per ground when something runs (addresses, secrets, slots, starting a tool)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, Protocol

from trackbed.contract import Address, Contract
from trackbed.errors import UserError


class Launcher(Protocol):
    """One ground, at run time."""

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
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None, pool: str
    ) -> NoReturn:
        """Take a slot of the pool and replace this process by the tool.

        Args:
            argv: executable and arguments.
            environment: the whole environment of the tool.
            directory: working directory; None keeps the current one.
            pool: name of the pool whose slot is held as long as the tool runs.
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
    raise UserError(
        f"the environment {contract.name!r} has target {contract.target!r}; this trackbed launches: local"
    )
