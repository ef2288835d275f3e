"""The local provider's small resource types: what they make, adopt, refuse, notice and take away."""

from __future__ import annotations

import asyncio
import string
import threading
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental import provider as api
from trackbed.errors import UserError
from trackbed_local.kinds.base import UNKNOWN
from trackbed_local.kinds.directory import Directory
from trackbed_local.kinds.file import File
from trackbed_local.kinds.process import Process
from trackbed_local.kinds.secret import Secret
from trackbed_local.kinds.settings import Settings
from trackbed_local.provider import LocalProvider, to_plain, to_values

PROCESS = {"home": "/srv/environment", "name": "web", "command": ["serve"]}


def checked(kind: Any, news: dict[str, Any]) -> dict[str, Any]:
    values, failures = kind.check({}, news)
    assert failures == []
    return values


def refusals(kind: Any, news: dict[str, Any], olds: dict[str, Any] | None = None) -> dict[str, str]:
    return {failure.path: failure.reason for failure in kind.check(olds or {}, news)[1]}


def test_settings_refuse_each_change_with_old_and_new_value_and_the_way_out() -> None:
    before = {"immutable": {"target": "local", "name": "a", "size": 3, "gone": True}}
    after = {"immutable": {"target": "aws", "name": "a", "size": 4, "new": 1}}
    found = refusals(Settings(), after, before)
    assert found.keys() == {"immutable.target", "immutable.size", "immutable.gone"}
    assert 'target cannot change from "local" to "aws"' in found["immutable.target"]
    assert "trackbed new-environment" in found["immutable.target"]
    assert "from 3 to 4" in found["immutable.size"]
    assert "from true to nothing" in found["immutable.gone"]


def test_settings_accept_the_first_values_the_same_and_unknown_ones() -> None:
    settings = {"immutable": {"target": "local"}}
    assert refusals(Settings(), settings) == {}
    assert refusals(Settings(), settings, settings) == {}
    assert refusals(Settings(), {"immutable": {"target": UNKNOWN}}, settings) == {}
    assert refusals(Settings(), {"immutable": UNKNOWN}, settings) == {}


def test_directory_that_was_made_is_removed_with_its_content(tmp_path: Path) -> None:
    news = checked(Directory(), {"path": str(tmp_path / "a" / "made")})
    identifier, state = Directory().create(news)
    made = Path(identifier)
    assert made.stat().st_mode & 0o777 == 0o700
    (made / "data").write_text("x")
    Directory().create(news)  # as after a killed `up`
    Directory().delete(state)
    assert not made.exists()
    Directory().delete(state)


def test_adopted_directory_is_never_removed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis").write_text("x")
    _, state = Directory().create(checked(Directory(), {"path": str(own)}))
    Directory().delete(state)
    assert (own / "thesis").exists()


def test_copy_of_a_made_directory_is_not_ours(tmp_path: Path) -> None:
    _, state = Directory().create(checked(Directory(), {"path": str(tmp_path / "made")}))
    (tmp_path / "made").rename(tmp_path / "moved")
    Directory().delete({**state, "path": str(tmp_path / "moved")})
    assert (tmp_path / "moved").exists()


def test_directory_changes(tmp_path: Path) -> None:
    _, state = Directory().create(checked(Directory(), {"path": str(tmp_path / "made")}))
    assert not Directory().diff(state, state).paths
    moved = Directory().diff(state, {**state, "path": str(tmp_path / "other")})
    assert moved.replaced == {"path"}
    Path(state["path"]).chmod(0o755)
    assert Directory().read(state) == {**state, "mode": "0755"}
    Directory().delete(state)
    assert Directory().read(state) is None
    assert Directory().diff(state, state).paths == {"path"}


def test_file_where_a_directory_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="should be a directory, but is a file"):
        Directory().create({"path": str(tmp_path / "taken"), "mode": "0700"})


@pytest.mark.parametrize("path", ["relative", "/", "/srv/../etc", "/srv/new\nline", str(Path.home())])
def test_dangerous_paths_are_refused(path: str) -> None:
    assert refusals(Directory(), {"path": path}).keys() == {"path"}


def test_file_is_written_watched_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    _, state = File().create(checked(File(), {"path": str(path), "content": "ä 1"}))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("ä 1", 0o600)
    assert not File().diff(state, state).paths
    path.write_text("edited")
    assert File().read(state) == {**state, "content": "edited"}
    assert File().diff(state, state).paths == {"content"}
    assert File().update(state, state) == state
    assert path.read_text() == "ä 1"
    path.unlink()
    assert File().diff(state, state).paths == {"path"}
    assert File().read(state) is None
    File().delete(state)


def test_generated_secret_is_in_its_file_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    _, state = Secret().create(checked(Secret(), {"path": str(path), "length": 40}))
    value = path.read_text()
    assert len(value) == 40 and set(value) <= set(string.ascii_letters + string.digits)
    assert path.stat().st_mode & 0o777 == 0o600
    assert state["reference"] == f"file:{path}"
    assert value not in str(state) and value not in str(Secret().read(state))
    Secret().create(state)  # adopted, as what was retained is by the next `up`
    assert path.read_text() == value
    Secret().update(state, {**state, "triggers": {"rotation": "2"}})
    assert path.read_text() != value
    Secret().delete(state)
    assert Secret().read(state) is None


def test_given_secret_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    _, state = Secret().create(checked(Secret(), {"path": str(path), "value": "given"}))
    assert path.read_text() == "given"
    path.write_text("edited")
    assert Secret().diff(state, state).paths == {"value"}


def test_process_problems_are_all_told_at_once() -> None:
    found = refusals(
        Process(threading.Event()),
        {
            "home": "relative",
            "name": "No Good",
            "command": [],
            "environment": {"not-a-name": "x", "NUMBER": 1},
            "secretEnvironment": {"TOKEN": 12345},
            "secretReferences": {"KEY": "k8s:team/secret#KEY"},
            "port": 80,
            "healthCheck": {"path": "health", "timeout": 3},
            "restart": {"policy": "sometimes"},
            "stopTimeout": 3,
        },
    )
    assert found.keys() == {
        *("home", "name", "command", 'environment["not-a-name"]', "environment.NUMBER"),
        *("secretEnvironment.TOKEN", "secretReferences.KEY", "port", "healthCheck.path"),
        *("healthCheck.timeout", "restart.policy", "stopTimeout"),
    }
    assert "'sometimes', but must be always or on-failure or never" in found["restart.policy"]
    assert "Did you mean timeoutSeconds?" in found["healthCheck.timeout"]
    assert "from 1024 to 65535" in found["port"]
    assert "12345" not in found["secretEnvironment.TOKEN"]


def test_health_check_needs_a_port() -> None:
    assert refusals(Process(threading.Event()), {**PROCESS, "healthCheck": {"path": "/"}}) == {
        "healthCheck": "healthCheck needs a port."
    }


def test_process_inputs_not_known_yet_pass_and_defaults_are_filled() -> None:
    process = Process(threading.Event())
    values = checked(process, {**PROCESS, "home": UNKNOWN, "environment": {"URL": UNKNOWN}, "port": UNKNOWN})
    assert values["restart"] == {"policy": "always", "backoffSeconds": 1, "maximumBackoffSeconds": 60}
    assert (values["stopTimeoutSeconds"], values["logBackups"]) == (10, 3)
    assert checked(process, dict.fromkeys((*PROCESS, "environment", "restart", "healthCheck", "port"), UNKNOWN))
    assert process.preview({}, values)["port"] == UNKNOWN
    assert Secret().preview({}, checked(Secret(), {"path": UNKNOWN}))["reference"] == UNKNOWN


def test_state_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    state = {**PROCESS, "home": str(tmp_path), "state": "running"}  # before there were any optional inputs
    read = Process(threading.Event()).read(state)
    assert read is not None and read["state"] == "stopped"


def test_process_differences_are_told_by_property() -> None:
    process = Process(threading.Event())
    news = checked(process, {**PROCESS, "port": 5000, "environment": {"A": "1", "B": "2"}})
    state = {**news, "preferredPort": 5000, "port": 5003, "url": "http://127.0.0.1:5003", "state": "running"}
    changed = process.diff(state, {**news, "command": ["serve", "more"], "environment": {"A": "2", "C": "3"}})
    assert (changed.changed, changed.added, changed.removed) == (
        {"command", "environment.A"},
        {"environment.C"},
        {"environment.B"},
    )
    assert not changed.replaced
    renamed = process.diff(state, {**news, "name": "other"})
    assert renamed.replaced == {"name"} and renamed.delete_first
    down = process.diff(state, news)  # nothing of it exists on this machine
    assert down.drifted == {"state"} and "web is not running" in down.reason


def test_preview_predicts_without_touching_the_machine(tmp_path: Path) -> None:
    process = Process(threading.Event())
    news = checked(process, {**PROCESS, "home": str(tmp_path / "home"), "port": 5000})
    provider = LocalProvider("127.0.0.1:1")
    urn = "urn:pulumi:stack::project::trackbed:index:Environment$trackbed:local:Process::web"
    made = asyncio.run(provider.create(api.CreateRequest(urn, to_values(news, []), 0, True)))
    assert to_plain(made.properties)["url"] == UNKNOWN
    state = {**news, "preferredPort": 5000, "port": 5003, "url": "http://127.0.0.1:5003"}
    update = api.UpdateRequest(urn, "id", to_values(state, []), to_values(news, []), 0, [], True)
    changed = to_plain(asyncio.run(provider.update(update)).properties)
    assert (changed["port"], changed["url"], changed["pid"]) == (5003, "http://127.0.0.1:5003", UNKNOWN)
    assert not (tmp_path / "home").exists()


def test_secrets_stay_secrets_on_their_way_through_the_provider() -> None:
    urn = "urn:pulumi:stack::project::trackbed:local:Process::web"
    given = {**PROCESS, "secretEnvironment": {"TOKEN": "x"}, "environment": {"A": "y"}}
    news = to_values(given, ["environment"])  # the program marked this one itself
    answer = asyncio.run(LocalProvider("").check(api.CheckRequest(urn, {}, news, b"")))
    assert answer.inputs is not None
    assert {key for key, value in answer.inputs.items() if value.is_secret} == {"secretEnvironment", "environment"}
