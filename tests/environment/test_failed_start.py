"""An `up` that fails midway says why, leaves nothing half-running, and is repeated once the cause is gone."""

from __future__ import annotations

from platform_ground import changes, copies, healthy, processes_of, spec
from support import Project


def test_a_server_that_cannot_start_is_told_with_the_end_of_its_log(project: Project) -> None:
    project.write_spec("local", spec(port=5600))
    home = project.home("local")
    database = home / "data" / "tracking" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_text("this is no database " * 100)

    failed = project.trackbed("up", "local", "--yes", check=False)
    assert failed.returncode == 1
    assert "failed   local-tracking-server" in failed.stderr
    assert "local-tracking-server did not start: its command ended with exit status 1" in failed.stderr
    assert f"The log is {home / 'logs' / 'local-tracking-server.log'}" in failed.stderr
    assert "file is not a database" in failed.stderr
    assert "trackbed_engine" not in failed.stderr and "trackbed_local" not in failed.stderr  # no traceback of ours
    assert not processes_of(home)
    assert project.trackbed("status", "local", check=False).returncode == 1

    database.unlink()
    assert changes(project) == {
        "local-tracking-server": "create",
        "local-contract": "create",
        "local-contract-stored": "create",
    }
    assert healthy(project)
    assert copies(home) == {"mlflow": 1, "supervisord": 1, "launcher": 1}
