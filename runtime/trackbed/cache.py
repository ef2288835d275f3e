"""The user's cache: what is slow to make, kept by the content it was made from."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from trackbed.errors import UserError

VARIABLE = "TRACKBED_CACHE"


def cache_root() -> Path:
    """Return the directory of the cache: TRACKBED_CACHE, or the user's cache directory."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("trackbed")


@contextmanager
def only_builder(directory: Path) -> Generator[int]:
    """Hold the build lock of one entry of the cache; the kernel lets go of it when every holder is dead.

    Args:
        directory: the entry; its lock file lies beside it. A person who has to wait is told for whom.

    Returns:
        A context manager that gives the lock's descriptor, to be handed on to children that may outlive this process.

    Raises:
        UserError: the cache cannot be written.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory.with_suffix(".building"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(
            f"the cache {cache_root()} cannot be written: {error.strerror}",
            hint=f"set the variable {VARIABLE} to a directory that you may write",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            builder = os.pread(descriptor, 32, 0).decode() or "another process"
            tell(f"waiting for {builder}, which makes the same thing ({directory.name})")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def tell(message: str) -> None:
    """Say on standard error what is going on, apart from what a tool prints."""
    print(f"trackbed: {message}", file=sys.stderr, flush=True)
