# pyright: reportMissingImports=false
"""What is done once per environment, before its first DAG: the key of Airflow's secrets and the metadata database."""

from __future__ import annotations

import base64
import fcntl
import importlib.metadata
import os
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def encrypt_secrets(home: Path) -> None:
    """Give the environment a key of its own, with which Airflow encrypts variables and passwords in its database.

    Args:
        home: Airflow's directory in the environment.
    """
    file = home / "fernet.key"
    with _only_one(home):
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, base64.urlsafe_b64encode(os.urandom(32)))
            os.close(descriptor)
    # By a command, not by value: variables are passed on to whatever a task starts.
    os.environ.setdefault("AIRFLOW__CORE__FERNET_KEY_CMD", f"cat {shlex.quote(str(file))}")


def migrate_once(home: Path) -> None:
    """Make or upgrade the metadata database, once per version of Airflow; of two runs at once one waits.

    Args:
        home: Airflow's directory in the environment.
    """
    marker = home / "migrated"
    version = importlib.metadata.version("apache-airflow-core")
    with _only_one(home):
        if marker.exists() and marker.read_text() == version:
            return
        print(f"trackbed: preparing Airflow's metadata database in {home}", file=sys.stderr, flush=True)
        from airflow.utils import db

        db.initdb()
        db.create_default_connections()  # such as `fs_default`, which sensors use unless told otherwise
        marker.write_text(version)


@contextmanager
def _only_one(home: Path) -> Generator[None]:
    """Let one process at a time prepare the environment's Airflow."""
    with (home / "preparing.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
