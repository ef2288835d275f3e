"""The launcher of local environments: loopback addresses, secrets in files, slots as lock files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from trackbed.contract import Address, Contract
from trackbed.errors import UserError
from trackbed.secrets import resolve_secret
from trackbed.slots import Slots


class LocalLauncher:
    """Runs tools on this machine, one slot of the pool each.

    Args:
        contract: the environment, whose pools lie on this machine.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def address(self, address: Address) -> str:
        """Return the loopback URL."""
        return address.external or address.internal

    def secret(self, reference: str) -> str:
        """Return the value behind a `file:` or `env:` reference."""
        return resolve_secret(reference)

    def become(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None, pool: str
    ) -> NoReturn:
        """Take a slot, then replace this process by the tool; the slot is free again when the tool ends."""
        self._slots(pool).acquire(label=" ".join(argv[1:3]), inherit=True)
        if directory is not None:
            os.chdir(directory)
        try:
            os.execvpe(argv[0], list(argv), dict(environment))
        except FileNotFoundError as error:
            raise UserError(f"cannot start {argv[0]!r}: there is no such program") from error

    @contextmanager
    def slot(self, pool: str, *, memory: int | None = None) -> Iterator[int]:
        """Hold a slot of the pool for the length of a `with` block."""
        held = self._slots(pool).acquire(label=f"trackbed {os.getpid()}", memory=memory)
        try:
            yield held.number
        finally:
            held.release()

    def _slots(self, pool: str) -> Slots:
        try:
            described = self._contract.pools[pool]
        except KeyError:
            known = ", ".join(sorted(self._contract.pools))
            raise UserError(
                f"the environment {self._contract.name!r} has no compute pool {pool!r}; it has: {known}"
            ) from None
        return Slots(
            Path(described.locks or Path(self._contract.home or ".") / "run" / "pools" / pool),
            count=described.slots,
            memory=described.memory,
        )
