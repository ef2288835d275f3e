"""Where a local environment keeps its running state, and the file operations everything else is built on."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackbed.errors import UserError

SOCKET_PATH_LIMIT = 88  # bytes: sun_path holds 108, and supervisord binds under a longer temporary name first


@dataclass(frozen=True)
class Home:
    """The directory of one environment, seen by what runs in it.

    Args:
        path: absolute path of the environment's directory.
    """

    path: Path

    @property
    def run(self) -> Path:
        """Configuration and state of the supervised programs, readable by their owner only."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """The log of each program and of supervisord itself."""
        return self.path / "logs"

    @property
    def ports(self) -> Path:
        """The ports the programs had last; outlives them, so that they get the same ones again."""
        return self.run / "ports.json"

    @property
    def socket(self) -> Path:
        """The control socket of supervisord; in the user's runtime directory when the path would be too long."""
        near = self.run / "supervisor.sock"
        if len(os.fsencode(near)) <= SOCKET_PATH_LIMIT:
            return near
        return user_runtime_directory() / f"{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:20]}.sock"

    def program(self, name: str) -> Path:
        """The launcher's configuration of one program; the program exists as long as this file does."""
        return self.run / "programs" / f"{name}.json"

    def secrets(self, name: str) -> Path:
        """The secret variables of one program."""
        return self.run / "secrets" / f"{name}.json"

    def status(self, name: str) -> Path:
        """What the launcher of one program last said about it."""
        return self.run / "status" / f"{name}.json"

    def log(self, name: str) -> Path:
        """The output of one program and of its launcher."""
        return self.logs / f"{name}.log"

    def program_names(self) -> list[str]:
        """Name the programs of this environment, sorted."""
        directory = self.run / "programs"
        # A glob would pass over a directory that may not be read, as if nothing was there.
        return sorted(path.stem for path in directory.iterdir() if path.suffix == ".json") if directory.exists() else []

    def make_directories(self) -> None:
        """Create what is missing, for the owner's eyes only."""
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.run, self.logs, self.run / "programs", self.run / "secrets", self.run / "status"):
            folder.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the environment's lock while its set of programs changes."""
        with file_lock(self.run / "home.lock"):
            yield


def user_runtime_directory() -> Path:
    """Make and return a directory for sockets that is short, and belongs to this user alone.

    Raises:
        UserError: somebody else owns the directory, or may write to it.
    """
    path = Path("/tmp") / f"trackbed-{os.getuid()}"  # not TMPDIR: the same place from every shell
    path.mkdir(mode=0o700, exist_ok=True)
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise UserError(
            f"{path} must be a directory that only you can use, but it is not.",
            hint=f"Remove it (rm -r {path}), or choose a shorter path for the environment.",
        )
    return path


@contextlib.contextmanager
def file_lock(path: Path) -> Generator[None]:
    """Hold an exclusive lock on a file, waiting for it; the kernel releases it however the holder ends."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file by new content in one step, so that no reader ever sees half of it.

    Args:
        path: the file; its directory exists.
        content: the whole new content.
        mode: permissions of the file, set before it gets its content.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or unreadable one is an empty one."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content
