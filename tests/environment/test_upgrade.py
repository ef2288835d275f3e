"""An environment of an earlier release: its state is read on, its database is brought to the present schema.

`recorded/local-0.1.0.json` is what `pulumi stack export` printed then, with the paths of that machine as placeholders
and without positions in source code. It is never recorded anew: another release adds another file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from platform_ground import changes, has_experiment, healthy, spec
from sqlalchemy import create_engine
from support import EXECUTABLES, Project, make_project
from trackbed.tracking_schema import newest_version, schema_version

RECORDED = Path(__file__).with_name("recorded") / "local-0.1.0.json"
PASSPHRASE = "the passphrase of the recorded project"
OLD_SCHEMA = "7f2a7d5fae7d"  # MLflow 2.4: data sets were new


def _lay_out(project: Project, state: dict[str, Any]) -> None:
    """Make what the environment had on its disk: after a reboot, when nothing of it runs."""
    for resource in state["deployment"]["resources"]:
        if not resource.get("custom") or "path" not in resource.get("outputs", {}):
            continue
        outputs, path = resource["outputs"], Path(resource["outputs"]["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if resource["type"].endswith("Directory"):
            path.mkdir(exist_ok=True)
            path.chmod(int(outputs["mode"], 8))
            continue
        is_secret = resource["type"].endswith("Secret")
        path.write_text(Fernet.generate_key().decode() if is_secret else outputs["content"])
        path.chmod(0o600 if is_secret else int(outputs["mode"], 8))


def _make_old_database(file: Path) -> None:
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config  # pyright: ignore[reportPrivateUsage]
    from mlflow.store.tracking.dbmodels.initial_models import Base

    url = f"sqlite:///{file}"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(url), OLD_SCHEMA)
    engine.dispose()
    with sqlite3.connect(file) as connection:
        connection.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time)"
            " VALUES ('made by MLflow 2.4', 'mlflow-artifacts:/1', 'active', 1685577600000, 1685577600000)"
        )
    assert schema_version(url) == OLD_SCHEMA


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Project]:
    project = make_project(tmp_path / "recorded")
    text = RECORDED.read_text().replace("{project}", str(project.directory))
    state = json.loads(text.replace("{python}", str(EXECUTABLES / "python")))
    (project.directory / ".trackbed" / "state").mkdir(parents=True)
    (project.directory / ".trackbed" / "passphrase").write_text(PASSPHRASE)
    salt = state["deployment"]["secrets_providers"]["state"]["salt"]
    project.write_spec("local", f"{spec(port=5500)}encryptionsalt: {salt}\n")
    project.pulumi("stack", "init", "local")
    (tmp_path / "state.json").write_text(json.dumps(state))
    project.pulumi("stack", "import", "--stack", "local", "--file", str(tmp_path / "state.json"))
    _lay_out(project, state)
    _make_old_database(project.home("local") / "data" / "tracking" / "mlflow.db")
    yield project
    project.trackbed("down", "local", "--delete-data", "--yes")


@pytest.mark.filterwarnings("ignore:The ``noload`` loader")
def test_up_upgrades_the_schema_and_replaces_nothing(earlier: Project) -> None:
    done = changes(earlier)
    assert done["local-tracking-server"] == "change"
    assert set(done.values()) == {"change"}

    assert healthy(earlier)
    assert has_experiment(earlier, "made by MLflow 2.4")
    database = f"sqlite:///{earlier.home('local')}/data/tracking/mlflow.db"
    assert schema_version(database) == newest_version()
    log = earlier.trackbed("logs", "tracking", "--lines", "1000").stdout
    assert f"upgrading the schema of the tracking database from {OLD_SCHEMA}" in log
    assert changes(earlier) == {}
