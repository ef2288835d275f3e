"""What a tuner needs of the machine: directories, a lock against a second tuner, and signals."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from trackbed.contract import Contract
from trackbed.errors import UserError


@dataclass(frozen=True)
class Directories:
    """Where a study keeps what it needs on this machine.

    Args:
        logs: logs of the trials, and the plot.
        lock: file whose lock the study's tuner holds.
    """

    logs: Path
    lock: Path


def study_directories(name: str, contract: Contract) -> Directories:
    """Return a study's directories: below the environment's home, or the user's state directory where it has none.

    Args:
        name: the study's name.
        contract: the environment.
    """
    from platformdirs import user_state_path

    home = Path(contract.home) if contract.home else user_state_path("trackbed") / contract.name
    return Directories(logs=home / "logs" / "tuning" / name, lock=home / "run" / "tuning" / f"{name}.lock")


@contextmanager
def study_lock(name: str, path: Path) -> Generator[None]:
    """Hold a study for the length of a `with` block; the lock goes with the process, however it ends.

    Args:
        name: the study's name.
        path: the lock file.

    Raises:
        UserError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode() or "unknown"
            raise UserError(
                f"the study {name!r} is being tuned by the process {holder}",
                hint="wait for it, or end it with Ctrl-C, or give this study another `name:`",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Generator[None]:
    """Call `stop` for Ctrl-C and for SIGTERM; a second Ctrl-C is the usual KeyboardInterrupt.

    Args:
        stop: takes note and returns at once.
    """

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
