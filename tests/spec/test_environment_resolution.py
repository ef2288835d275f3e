"""Which environment a command works on, and which it knows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from spec_ground import published, trackbed
from support import EXECUTABLES
from trackbed.contract import Address, Artifacts, Authentication, Contract, Endpoint, Pool, Tracking
from trackbed.environments import connect, disconnect, resolve_environment
from trackbed.errors import UserError
from trackbed.secrets import resolve_secret


def chosen() -> tuple[str, str]:
    """Return the name of the environment that commands take here, and why."""
    done = trackbed("environment", "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    return told["environment"]["name"], told["source"]


def test_flag_then_variable_then_project_then_the_only_one(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(directory, "only")
    assert chosen() == ("only", "'only' is the only environment known here")

    for name in ("by-project", "by-variable", "by-flag"):
        published(directory, name)
    (directory / "trackbed.yaml").write_text("environment: by-project\n")
    assert chosen() == ("by-project", f"the project's file {directory}/trackbed.yaml")

    monkeypatch.setenv("TRACKBED_ENVIRONMENT", "by-variable")
    assert chosen() == ("by-variable", "the variable TRACKBED_ENVIRONMENT")

    done = trackbed("environment", "--json", "--environment", "by-flag")
    assert json.loads(done.out)["environment"]["name"] == "by-flag"
    assert json.loads(done.out)["source"] == "the --environment option"


def test_each_may_be_a_path_or_uri_of_a_contract(directory: Path, tmp_path: Path) -> None:
    elsewhere = published(tmp_path / "else where", "elsewhere")
    for place in (str(elsewhere), elsewhere.as_uri()):
        assert resolve_environment(place).contract.name == "elsewhere"
    (directory / "contract.json").write_text(elsewhere.read_text())
    assert resolve_environment("contract.json").contract.name == "elsewhere"


def test_the_project_is_looked_for_upwards(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(directory, "one")
    published(directory, "two")
    (directory / "trackbed.yaml").write_text("environment: two\n")
    below = directory / "flows" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert chosen()[0] == "two"


def test_the_nearest_project_has_the_last_word_on_a_name(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(directory, "outer", known_as="local")
    inner = directory / "inner"
    published(inner, "inner", known_as="local")
    connect(str(published(directory.parent / "far", "far", known_as="local")), name="local")
    assert resolve_environment("local").contract.name == "outer"
    monkeypatch.chdir(inner)
    assert resolve_environment("local").contract.name == "inner"
    assert chosen() == ("inner", "'local' is the only environment known here")


def test_several_are_listed(directory: Path) -> None:
    published(directory, "staging")
    published(directory, "production")
    done = trackbed("environment")
    assert done.code == 1
    assert done.err == (
        "error: several environments are known here: production, staging\n"
        "  fix: choose one with --environment NAME or the variable TRACKBED_ENVIRONMENT\n"
    )


def test_none_is_said_with_a_way_out(directory: Path) -> None:
    done = trackbed("environment")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: there is no environment here\n  fix: make one with `trackbed up local`")


def test_an_unknown_name_is_refused_with_those_known(directory: Path) -> None:
    published(directory, "local")
    done = trackbed("environment", "-e", "lokal")
    assert done.code == 1
    assert "there is no environment 'lokal' (from the --environment option); known here: local" in done.err


def test_connect_makes_an_environment_known_everywhere(directory: Path, tmp_path: Path) -> None:
    far = published(tmp_path / "far", "team-a")
    done = trackbed("connect", str(far))
    assert (done.code, done.out) == (0, f"connected team-a: local, {far}\n")
    assert chosen()[0] == "team-a"
    assert trackbed("connect", str(far)).code == 0  # once more changes nothing
    assert trackbed("connect", str(far), "--name", "ours").code == 0
    assert resolve_environment("ours").contract.name == "team-a"
    disconnect(str(far))
    with pytest.raises(UserError, match="there is no environment here"):
        resolve_environment(None)


def test_connect_takes_a_path_relative_to_here(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(directory / "platform", "team-a")
    assert trackbed("connect", "platform/.trackbed/environments/team-a/contract.json").code == 0
    monkeypatch.chdir("/")
    assert resolve_environment("team-a").contract.name == "team-a"


def test_a_name_that_is_taken_is_refused(directory: Path, tmp_path: Path) -> None:
    first, second = published(tmp_path / "first", "team-a"), published(tmp_path / "second", "team-a")
    trackbed("connect", str(first))
    done = trackbed("connect", str(second))
    assert done.code == 1
    assert f"the name 'team-a' already stands for {first}" in done.err
    assert resolve_environment("team-a").uri == str(first)
    assert trackbed("connect", str(second), "--name", "team-b").code == 0
    assert resolve_environment("team-b").uri == str(second)


def test_a_stale_connection_is_forgotten_and_its_name_free(directory: Path, tmp_path: Path) -> None:
    first, second = published(tmp_path / "first", "team-a"), published(tmp_path / "second", "team-a")
    trackbed("connect", str(first))
    first.unlink()
    done = trackbed("environment", "-e", "team-a")
    assert (done.code, "there is no environment 'team-a'" in done.err) == (1, True)
    assert trackbed("connect", str(second)).code == 0
    assert chosen()[0] == "team-a"


@pytest.mark.parametrize("name", ["", "a/b", "contract.json"])
def test_a_name_that_would_be_read_as_a_place_is_refused(directory: Path, name: str) -> None:
    done = trackbed("connect", str(published(directory, "team-a")), "--name", name)
    assert (done.code, "cannot be the name of an environment" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is not a contract: it is not text"),
        (b"", "is not JSON"),
        (b"[]", "holds no JSON object"),
        (b"{}", "the contract has version None; this trackbed reads version 1"),
        (b'{"version": 1}', "is not a contract that this trackbed can read: 'name'"),
        (b"[" * 100_000, "is not JSON"),
    ],
    ids=["no text", "empty", "list", "no version", "no fields", "deep"],
)
def test_a_contract_that_cannot_be_read_is_no_traceback(directory: Path, content: bytes, message: str) -> None:
    file = directory / "contract.json"
    file.write_bytes(content)
    for arguments in (["environment", "-e", "contract.json"], ["connect", "contract.json"]):
        command = [str(EXECUTABLES / "trackbed"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
        assert "  fix: " in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("place", ["absent.json", "./", "s3://bucket/contract.json", "file://[/contract.json"])
def test_a_place_without_a_contract_is_refused(directory: Path, place: str) -> None:
    for arguments in (["environment", "-e", place], ["connect", place]):
        done = trackbed(*arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: ")


@pytest.mark.parametrize(
    "content", [b"environment: [", b"- a", b"environment: 3", b"", b"\xff", b"environment: !!int ''"]
)
def test_a_project_file_that_names_none_is_refused(directory: Path, content: bytes) -> None:
    published(directory, "local")
    (directory / "trackbed.yaml").write_bytes(content)
    done = trackbed("environment")
    assert done.code == 1
    assert f"error: {directory}/trackbed.yaml" in done.err


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1, "b": null, "c": "file://["}', "\x00"])
def test_unusable_connections_are_no_obstacle(directory: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "data-home" / "trackbed" / "connections.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    published(directory, "local")
    assert chosen()[0] == "local"
    assert trackbed("connect", str(published(tmp_path / "far", "far"))).code == 0
    assert resolve_environment("far").contract.name == "far"


def test_exports_are_what_a_shell_takes(directory: Path, tmp_path: Path) -> None:
    secret = tmp_path / "it's a secret"
    secret.write_text("pass 'word' $HOME\n")
    contract = Contract(
        name="team-a",
        target="local",
        tracking=Tracking(
            address=Address(internal="http://127.0.0.1:5000"),
            version="3",
            authentication=Authentication(kind="basic", username="admin", secret=f"file:{secret}"),
        ),
        artifacts=Artifacts(uri="file:///srv/all%20artifacts"),
        pools={"default": Pool(slots=2, cpu=2, memory=2**30)},
        endpoints={
            "digits-2": Endpoint(
                model="digits",
                traffic={"champion": 100},
                address=Address(internal="http://127.0.0.1:8080"),
                authentication=Authentication(kind="token", secret=f"file:{secret}"),
            )
        },
    )
    (directory / "contract.json").write_text(json.dumps(contract.to_dict()))

    def exported(tool: str) -> dict[str, str]:
        script = f'eval "$({EXECUTABLES}/trackbed environment -e contract.json --export {tool})" && env -0'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)

    mlflow = exported("mlflow")
    assert mlflow["MLFLOW_TRACKING_URI"] == mlflow["MLFLOW_REGISTRY_URI"] == "http://127.0.0.1:5000"
    assert (mlflow["MLFLOW_TRACKING_USERNAME"], mlflow["MLFLOW_TRACKING_PASSWORD"]) == ("admin", "pass 'word' $HOME")
    shell = exported("shell")
    assert shell["TRACKBED_ENDPOINT_DIGITS_2_URL"] == "http://127.0.0.1:8080"
    assert shell["TRACKBED_ENDPOINT_DIGITS_2_TOKEN"] == "pass 'word' $HOME"
    assert shell["METAFLOW_DATASTORE_SYSROOT_LOCAL"].startswith("/srv/all artifacts/")
    shown = (
        trackbed("environment", "-e", "contract.json").out
        + trackbed("environment", "-e", "contract.json", "--json").out
    )
    assert f"file:{secret}" in shown
    assert "pass 'word'" not in shown


def test_a_secret_is_read_or_its_absence_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("value\n")
    assert resolve_secret(f"file:{file}") == "value"
    monkeypatch.setenv("THE_SECRET", "another")
    assert resolve_secret("env:THE_SECRET") == "another"
    monkeypatch.delenv("THE_SECRET")
    file.write_bytes(b"\xff")
    for reference in (f"file:{file}", "file:/absent", "env:THE_SECRET", "k8s:team/name#key", "hunter2"):
        with pytest.raises(UserError) as refused:
            resolve_secret(reference)
        assert "hunter2" not in str(refused.value)


def test_a_name_that_is_an_argument_is_not_told_as_an_option(directory: Path) -> None:
    done = trackbed("status", "nowhere")
    assert done.code == 1
    assert "there is no environment 'nowhere' (from the argument NAME)" in done.err
    assert "(from the --environment option)" in trackbed("status", "-e", "nowhere").err


def test_an_environment_is_named_once(directory: Path) -> None:
    published(directory, "one")
    published(directory, "two")
    done = trackbed("status", "one", "-e", "two")
    assert (done.code, done.out) == (2, "")
    assert "'one' and --environment 'two' both name an environment" in done.err


def test_what_was_connected_and_opened_is_told_as_json(directory: Path) -> None:
    file = published(directory, "one")
    told = json.loads(trackbed("connect", str(file), "--name", "other", "--json").out)
    assert told == {"name": "other", "target": "local", "uri": str(file)}
    told = json.loads(trackbed("open", "-e", "other", "--url", "--json").out)
    assert told == {"component": "tracking", "url": "http://127.0.0.1:5000"}


@pytest.mark.parametrize("name", ["../..", "a b", ""])
def test_a_project_is_not_written_for_what_cannot_be_an_environment(directory: Path, name: str) -> None:
    done = trackbed("new-project", "work", "--environment", name)
    assert done.code == 2
    assert f"{name!r} cannot be the name of an environment" in done.err
    assert not (directory / "work").exists()


def test_a_project_takes_a_name_that_was_chosen_when_connecting(directory: Path) -> None:
    trackbed("connect", str(published(directory, "one")), "--name", "Team_A")
    told = json.loads(trackbed("new-project", "work", "--environment", "Team_A", "--json").out)
    assert (told["directory"], told["environment"]) == ("work", "Team_A")
    assert sorted(told["written"]) == sorted(path.name for path in (directory / "work").iterdir())


def test_processes_are_listed_as_other_commands_name_them(directory: Path) -> None:
    """Nothing of it runs; what is known of each process is what its supervisor was given."""
    home = published(directory, "one").parent
    programs = home / "run" / "programs"
    programs.mkdir(parents=True)
    for name, port, check in (("one-endpoint-digits", 8080, {"path": "/"}), ("one-tracking-database", 5433, None)):
        (programs / f"{name}.json").write_text(json.dumps({"name": name, "port": port, "healthCheck": check}))
    done = trackbed("logs", "nothing", "-e", "one")
    assert "there are: digits, tracking-database" in done.err
    services = json.loads(trackbed("status", "one", "--json").out)["services"]
    assert {service["component"]: service["url"] for service in services} == {
        "endpoint-digits": "http://127.0.0.1:8080",
        "tracking-database": "127.0.0.1:5433",
    }
