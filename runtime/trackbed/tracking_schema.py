"""Brings the database of a tracking server to the schema of the installed MLflow, before the server starts.

`python -m trackbed.tracking_schema URL`. A database without tables is left to the server, which makes them all at
once; one that is up to date is told by a look at its version, without importing MLflow.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

REVISION = re.compile(r"""^revision\s*=\s*["'](\w+)["']""", re.MULTILINE)
DOWN_REVISION = re.compile(r"""^down_revision\s*=\s*["'](\w+)["']""", re.MULTILINE)


def schema_version(url: str) -> str | None:
    """Return the schema version that a database records; None when it has no tables.

    Args:
        url: SQLAlchemy URL of the database.
    """
    from sqlalchemy import create_engine, inspect, text

    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return None
    engine = create_engine(url)
    try:
        if not inspect(engine).has_table("alembic_version"):
            return None
        with engine.connect() as connection:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    finally:
        engine.dispose()


def newest_version() -> str:
    """Return the schema version of the installed MLflow.

    Read from the text of its migrations: loading them, as Alembic does, imports MLflow and takes seconds.
    """
    mlflow = find_spec("mlflow")
    if mlflow is None or mlflow.origin is None:
        raise SystemExit("MLflow is not installed where the tracking server runs")
    texts = [file.read_text() for file in (Path(mlflow.origin).parent / "store/db_migrations/versions").glob("*.py")]
    revisions = {found[1] for text in texts if (found := REVISION.search(text))}
    superseded = {found[1] for text in texts if (found := DOWN_REVISION.search(text))}
    heads = revisions - superseded
    if len(heads) != 1:
        raise SystemExit(f"the installed MLflow has {len(heads)} newest database schemas; one was expected")
    return heads.pop()


def main() -> None:
    """Upgrade the database named on the command line where it needs it."""
    [url] = sys.argv[1:]
    version = schema_version(url)
    if version is None or version == newest_version():
        return
    print(f"upgrading the schema of the tracking database from {version}", flush=True)
    from mlflow.cli import cli

    cli(["db", "upgrade", url])


if __name__ == "__main__":
    main()
