"""A changed spec changes what it must and nothing else; what cannot change is refused before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from platform_ground import changes, endpoints, healthy, processes_of, recorded, server_pid, spec
from support import Project, make_project

FEWER_SLOTS = "    pools: {default: {maximum: 1}}\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = make_project(tmp_path_factory.mktemp("change"))
    project.write_spec("local", spec(port=5100))
    project.trackbed("up", "local", "--yes")
    yield project
    project.trackbed("down", "local", "--delete-data", "--yes")


def test_an_added_endpoint_and_a_smaller_pool_leave_the_rest_alone(platform: Project) -> None:
    tracking = server_pid(platform.home("local"), "local-tracking-server")
    platform.write_spec("local", spec(port=5100, rest=FEWER_SLOTS + endpoints("digits")))

    shown = platform.trackbed("preview", "local").stdout
    assert "local-endpoint-digits-server" in shown and "local-contract" in shown
    assert "local-tracking-server" not in shown
    assert changes(platform) == {
        "local-endpoint-digits-server": "create",
        "local-endpoint-digits-webhook-secret": "create",
        "local-contract": "change",
        "local-contract-stored": "change",
    }
    assert server_pid(platform.home("local"), "local-tracking-server") == tracking
    assert healthy(platform)


def test_a_removed_endpoint_takes_its_process_along(platform: Project) -> None:
    platform.write_spec("local", spec(port=5100, rest=FEWER_SLOTS))
    assert changes(platform) == {
        "local-endpoint-digits-server": "delete",
        "local-endpoint-digits-webhook-secret": "delete",
        "local-contract": "change",
        "local-contract-stored": "change",
    }
    assert not [command for command in processes_of(platform.home("local")).values() if "trackbed.serving" in command]


def test_changes_that_cannot_be_made_are_refused_everywhere_before_anything_is_touched(platform: Project) -> None:
    elsewhere = "    artifacts: {uri: file:///nowhere}\n"
    platform.write_spec("local", spec(port=5100, tracking="database: postgresql", rest=elsewhere))
    before = processes_of(platform.home("local"))
    state = recorded(platform)

    for done in (
        platform.trackbed("up", "local", "--yes", check=False),
        platform.trackbed("preview", "local", check=False),
        platform.pulumi("up", "--stack", "local", "--yes", "--skip-preview", check=False),
    ):
        said = done.stdout + done.stderr
        assert done.returncode != 0, said
        assert 'tracking.database cannot change from "sqlite" to "postgresql"' in said
        assert 'artifacts.uri cannot change from "(made by Trackbed)" to "file:///nowhere"' in said
        assert "Traceback" not in said
    assert processes_of(platform.home("local")) == before
    assert recorded(platform) == state
