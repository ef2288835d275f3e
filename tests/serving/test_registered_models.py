"""promote, rollback, traffic and predict: as functions on the registry, and as commands on an environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from serving_ground import IRIS, Platform, RunningEndpoint, free_port, split
from sklearn.linear_model import LogisticRegression
from trackbed.cli import cli
from trackbed.contract import Address, Artifacts, Authentication, Contract, Endpoint, Pool, Tracking
from trackbed.errors import UserError
from trackbed.models import Move, promote, rollback, set_traffic, traffic

SAMPLE = IRIS.iloc[::40]
Trackbed = Callable[..., Result]


@pytest.fixture
def model(platform: Platform, iris: list[LogisticRegression], request: pytest.FixtureRequest) -> Iterator[str]:
    """A registered model with two versions and no alias."""
    name = f"model-{abs(hash(request.node.nodeid))}"
    for version in ("1", "2"):
        platform.client.copy_model_version(f"models:/iris/{version}", name)
    yield name
    platform.client.delete_registered_model(name)


def version_of(platform: Platform, model: str, alias: str = "champion") -> str:
    return str(platform.client.get_model_version_by_alias(model, alias).version)


def test_promote_rollback_and_back_again(platform: Platform, model: str) -> None:
    client = platform.client
    assert promote(client, model, "1") == Move(model=model, alias="champion", version="1", previous=None)
    assert promote(client, model, "2") == Move(model=model, alias="champion", version="2", previous="1")
    assert promote(client, model, "2").previous == "1"  # repeated: nothing changes
    assert client.get_registered_model(model).tags["trackbed.previous.champion"] == "1"
    assert rollback(client, model) == Move(model=model, alias="champion", version="1", previous="2")
    assert version_of(platform, model) == "1"
    rollback(client, model)
    assert version_of(platform, model) == "2"


def test_aliases_have_their_own_past(platform: Platform, model: str) -> None:
    promote(platform.client, model, "1")
    promote(platform.client, model, "2", "challenger")
    promote(platform.client, model, "2")
    rollback(platform.client, model)
    assert (version_of(platform, model), version_of(platform, model, "challenger")) == ("1", "2")
    with pytest.raises(UserError, match="no version before it is known"):
        rollback(platform.client, model, "challenger")


def test_an_alias_that_was_deleted_has_no_past(platform: Platform, model: str) -> None:
    promote(platform.client, model, "1")
    promote(platform.client, model, "2")
    platform.client.delete_registered_model_alias(model, "champion")
    promote(platform.client, model, "2")
    with pytest.raises(UserError, match="no version before it is known"):
        rollback(platform.client, model)


def test_wrong_models_versions_and_aliases_are_told(platform: Platform, model: str) -> None:
    with pytest.raises(UserError, match="no registered model") as caught:
        promote(platform.client, model + "x", "1")
    assert model in str(caught.value) and model in caught.value.hint
    for version in ("3", "one", "-1", ""):
        with pytest.raises(UserError, match=r"no version .*it has: 2, 1"):
            promote(platform.client, model, version)
    with pytest.raises(UserError, match="cannot be set"):
        promote(platform.client, model, "1", "no spaces")
    with pytest.raises(UserError, match=r"no alias 'champion'; it has: none"):
        rollback(platform.client, model)
    assert platform.client.get_registered_model(model).aliases == {}


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"champion": 90}, "sum to 90"),
        ({"champion": 110, "challenger": -10}, "'challenger' is -10"),
        ({"champion": 50, "nobody": 50}, "no alias 'nobody'; it has: challenger, champion"),
        ({}, "sum to 0"),
    ],
)
def test_traffic_is_checked(platform: Platform, model: str, weights: dict[str, int], problem: str) -> None:
    promote(platform.client, model, "1")
    promote(platform.client, model, "2", "challenger")
    with pytest.raises(UserError, match=problem):
        set_traffic(platform.client, model, "main", weights)
    assert traffic(platform.client, model, "main") is None
    set_traffic(platform.client, model, "main", {"champion": 90, "challenger": 10})
    assert traffic(platform.client, model, "main") == {"champion": 90, "challenger": 10}
    assert traffic(platform.client, model, "other") is None


@pytest.fixture(scope="module")
def commanded(platform: Platform, iris: list[LogisticRegression]) -> Iterator[RunningEndpoint]:
    """An endpoint with a token, of a model with two versions."""
    for version in ("1", "2"):
        platform.client.copy_model_version(f"models:/iris/{version}", "commanded")
    variables = {"TRACKBED_ENDPOINT_TOKEN": "secret"}
    with platform.endpoint("commanded", name="main", ready=False, variables=variables) as running:
        yield running


@pytest.fixture
def trackbed(platform: Platform, commanded: RunningEndpoint, tmp_path: Path) -> Trackbed:
    """Run the command line on an environment with that endpoint, and one that is down."""
    (tmp_path / "token").write_text("secret\n")
    token = Authentication(kind="token", secret=f"file:{tmp_path}/token")
    weights = {"champion": 100}
    contract = Contract(
        name="test",
        home=str(tmp_path),
        target="local",
        tracking=Tracking(address=Address(internal=platform.url), version="3"),
        artifacts=Artifacts(uri=f"file://{tmp_path}"),
        pools={"default": Pool(slots=1, cpu=1, memory=1)},
        endpoints={
            "main": Endpoint(
                model="commanded", traffic=weights, address=Address(internal=commanded.url), authentication=token
            ),
            "down": Endpoint(
                model="other", traffic=weights, address=Address(internal=f"http://127.0.0.1:{free_port()}")
            ),
        },
    )
    (tmp_path / "contract.json").write_text(json.dumps(contract.to_dict()))
    # Given here, they are put back after the command, which sets them.
    variables = {"MLFLOW_TRACKING_URI": None, "MLFLOW_REGISTRY_URI": None, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": None}

    def run(command: str, *arguments: str, **options: Any) -> Result:
        given = [command, "-e", str(tmp_path / "contract.json"), *arguments]
        return CliRunner().invoke(cli, given, env=variables, **options)

    return run


def test_the_commands_from_promotion_to_prediction(trackbed: Trackbed, iris: list[LogisticRegression]) -> None:
    expected = [[str(label) for label in model.predict(SAMPLE)] for model in iris]

    def predictions(*arguments: str, **options: Any) -> list[str]:
        done = trackbed("predict", "main", *arguments, **options)
        assert done.exit_code == 0, done.exception
        return done.stdout.split()

    data = json.dumps(split(SAMPLE))
    for version, labels in (("2", expected[1]), ("1", expected[0])):
        done = trackbed("promote", "commanded", version)
        assert done.exit_code == 0 and "served by main" in done.stdout, done.exception
        assert predictions("--data", data) == labels
    done = trackbed("rollback", "commanded", "--json")
    assert json.loads(done.stdout) == {
        "model": "commanded",
        "alias": "champion",
        "version": "2",
        "previous": "1",
        "endpoints": ["main"],
    }
    assert predictions("--data", "-", input=data) == expected[1]


def test_predict_takes_rows_and_files(trackbed: Trackbed, iris: list[LogisticRegression], tmp_path: Path) -> None:
    trackbed("promote", "commanded", "1")
    labels = iris[0].predict(SAMPLE).tolist()
    rows = [json.dumps(row) for row in SAMPLE.to_dict(orient="records")]
    SAMPLE.to_csv(tmp_path / "rows.csv", index=False)
    SAMPLE.to_parquet(tmp_path / "rows.parquet", index=False)
    (tmp_path / "rows.json").write_text(f"[{','.join(rows)}]")
    given = [[part for row in rows for part in ("--row", row)]]
    given += [["--data", f"@{tmp_path}/rows.{suffix}"] for suffix in ("csv", "parquet", "json")]
    for arguments in given:
        done = trackbed("predict", "main", "--json", *arguments)
        assert done.exit_code == 0, done.exception
        assert json.loads(done.stdout) == {"predictions": labels}


def test_traffic_shows_and_sets(trackbed: Trackbed) -> None:
    trackbed("promote", "commanded", "1")
    trackbed("promote", "commanded", "2", "--alias", "challenger", "--no-wait")
    done = trackbed("traffic", "main", "champion=70", "challenger=30", "--json")
    assert json.loads(done.stdout) == {"champion": 70, "challenger": 30}
    shown = trackbed("traffic", "main").stdout
    assert "champion" in shown and " 70 %" in shown and "version 1" in shown
    assert json.loads(trackbed("traffic", "main", "champion=100", "--json").stdout) == {"champion": 100}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["predict", "nowhere", "--data", "[]"], "no endpoint 'nowhere'; it has: down, main"),
        (["predict", "down", "--data", "[]"], "'down' does not answer"),
        (["predict", "main", "--data", "{"], "is not JSON"),
        (["predict", "main", "--data", "@no-such-file"], "cannot be read"),
        (["predict", "main", "--row", '{"a": 1}'], "answers 400: dataframe_records: lacks"),
        (["promote", "comanded", "1"], "no registered model 'comanded'"),
        (["promote", "commanded", "9"], "it has: 2, 1"),
        (["rollback", "commanded", "--alias", "nobody"], "no alias 'nobody'"),
        (["traffic", "main", "champion"], "'champion' is no weight"),
        (["traffic", "main", "champion=50", "champion=50"], "two weights"),
    ],
)
def test_mistakes_are_told(trackbed: Trackbed, arguments: list[str], problem: str) -> None:
    trackbed("promote", "commanded", "1")
    done = trackbed(*arguments)
    assert isinstance(done.exception, UserError)
    assert problem in str(done.exception)


def test_a_tracking_server_that_is_down_is_told(trackbed: Trackbed, tmp_path: Path) -> None:
    contract = json.loads((tmp_path / "contract.json").read_text())
    contract["tracking"]["address"]["internal"] = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    done = trackbed("promote", "commanded", "1")
    assert isinstance(done.exception, UserError) and "does not answer" in str(done.exception)
