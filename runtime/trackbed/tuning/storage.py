"""Where studies are kept: Optuna's journal file or a database, as the contract says."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from trackbed.contract import Tuning
from trackbed.errors import UserError
from trackbed.launchers import Launcher


def open_storage(tuning: Tuning, launcher: Launcher) -> BaseStorage:
    """Open the storage of an environment's studies.

    Args:
        tuning: the tuning service.
        launcher: resolves the password of a database.

    Raises:
        UserError: the storage cannot be opened.
    """
    kind, _, place = tuning.storage.partition(":")
    if kind == "journal":
        return _open_journal(Path(place))
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    url = make_url(tuning.storage)
    if tuning.secret is not None:
        url = url.set(password=launcher.secret(tuning.secret))
    try:
        return RDBStorage(url.render_as_string(hide_password=False))
    except (SQLAlchemyError, ImportError) as error:
        shown = url.render_as_string(hide_password=True)
        raise UserError(f"the storage of studies {shown} cannot be opened: {error}") from error


class KernelLock(JournalFileOpenLock):
    """A lock on the journal that goes with its holder, however that ends.

    Optuna's own locks are files that outlive a killed process for half a minute. Programs that use those beside this
    one still cannot harm the journal: each record is a single write at the end of the file.

    Args:
        path: the lock file; made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


def _open_journal(path: Path) -> JournalStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = KernelLock(path.with_name(path.name + ".flock"))
        backend = JournalFileBackend(str(path), lock_obj=lock)
        lock.acquire()
        try:
            _cut_unfinished_record(path)
        finally:
            lock.release()
    except OSError as error:
        raise UserError(f"the storage of studies {path} cannot be opened: {error.strerror}") from error
    return JournalStorage(backend)


def _cut_unfinished_record(path: Path) -> None:
    """Drop a last record without its newline: its writer was killed, and the next record would be glued to it."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end, block = size, 4096
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            file.truncate(end)
