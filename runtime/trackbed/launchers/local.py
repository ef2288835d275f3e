"""The launcher of local environments: loopback addresses, secrets in files, slots as lock files."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

from trackbed.contract import Address, Contract
from trackbed.errors import UserError
from trackbed.launchers import ServiceStatus
from trackbed.secrets import resolve_secret
from trackbed.slots import Slots

FOLLOW_SECONDS = 0.2


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

    def require_tracking(self) -> None:
        """Refuse to go on while the tracking server's process does not live, whoever answers on its port."""
        program = f"{self._contract.name}-tracking-server"
        if not (self._home / "run" / "programs" / f"{program}.json").exists():
            return  # an existing server, which is not ours to watch
        try:
            notes = json.loads((self._home / "run" / "status" / f"{program}.json").read_text())
        except (OSError, ValueError):
            notes = {}
        command = notes.get("command") or {}
        if not _lives(command.get("pid"), str(command.get("identity", ""))):
            raise UserError(
                f"the tracking server of the environment {self._contract.name!r} is not running",
                hint=f"trackbed up {self._home.name}; trackbed logs tracking says why it ended",
            )

    def services(self) -> list[ServiceStatus]:
        """Return the state of every supervised process of the environment."""
        from trackbed_local.supervision import status

        versions = {"tracking": self._contract.tracking.version}
        found: list[ServiceStatus] = []
        for process in status(self._home):
            component = self._component(process.name)
            found.append(
                ServiceStatus(
                    component=component,
                    state=process.state,
                    health=process.health,
                    url=process.url if process.is_http else process.url and process.url.removeprefix("http://"),
                    version=versions.get(component),
                    started_at=process.started_at,
                    restarts=process.restarts,
                )
            )
        return found

    def logs(self, component: str, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield lines of the log of a supervised process; survives the log's rotation."""
        from trackbed_local.supervision import status

        files = {self._component(process.name): process.log_file for process in status(self._home)}
        if component not in files and f"endpoint-{component}" in files:
            component = f"endpoint-{component}"
        if component not in files:
            known = ", ".join(sorted(name.removeprefix("endpoint-") for name in files)) or "none"
            raise UserError(f"there is no component {component!r} with a log; there are: {known}")
        yield from _followed(files[component], lines) if follow else _last(files[component], lines)

    def become(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None, *, pool: str, label: str
    ) -> NoReturn:
        """Take a slot, then replace this process by the tool; the slot is free again when the tool ends."""
        self._slots(pool).acquire(label=label, inherit=True)
        if directory is not None:
            os.chdir(directory)
        try:
            os.execvpe(argv[0], list(argv), dict(environment))
        except FileNotFoundError as error:
            raise UserError(f"cannot start {argv[0]!r}: there is no such program") from error

    @contextmanager
    def slot(self, pool: str, *, memory: int | None = None) -> Generator[int]:
        """Hold a slot of the pool for the length of a `with` block."""
        held = self._slots(pool).acquire(label=f"trackbed {os.getpid()}", memory=memory)
        try:
            yield held.number
        finally:
            held.release()

    @property
    def _home(self) -> Path:
        if self._contract.home is None:
            raise UserError(f"the contract of {self._contract.name!r} names no home", hint="run `trackbed up` again")
        return Path(self._contract.home)

    def _component(self, process: str) -> str:
        return process.removeprefix(f"{self._contract.name}-").removesuffix("-server")

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


def _lives(pid: int | None, identity: str) -> bool:
    """Whether the process with this id is still the one that the launcher noted with its start time."""
    if not sys.platform.startswith("linux"):
        return pid is not None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    fields = stat[stat.rindex(b")") + 2 :].split()
    return fields[0] not in (b"Z", b"X") and identity.endswith(":" + fields[19].decode())


def _last(file: Path, lines: int) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") if file.exists() else nullcontext(()) as opened:
        yield from (line.rstrip("\n") for line in deque(opened, maxlen=lines))


def _followed(file: Path, lines: int) -> Iterator[str]:
    yield from _last(file, lines)
    position = file.stat().st_size if file.exists() else 0
    while True:
        size = file.stat().st_size if file.exists() else 0
        if size < position:
            position = 0  # it was rotated: a new file has begun
        if size > position:
            with file.open("rb") as opened:
                opened.seek(position)
                new = opened.read()
            complete = new.rfind(b"\n") + 1
            position += complete
            yield from new[:complete].decode("utf-8", errors="replace").splitlines()
        time.sleep(FOLLOW_SECONDS)
