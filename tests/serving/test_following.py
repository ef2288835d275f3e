"""An endpoint follows the aliases of its model, and never fails a request over it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import threading
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from serving_ground import IRIS, WEBHOOK_SECRET, Platform, Relay, RunningEndpoint, eventually, register_mixed, split
from sklearn.linear_model import LogisticRegression
from trackbed.models import promote, rollback, set_traffic

TOKEN = "the endpoint's token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SAMPLE = IRIS.iloc[40:60]


@pytest.fixture(scope="module")
def moving(platform: Platform, iris: list[LogisticRegression], mixed: str) -> Generator[RunningEndpoint]:
    """An endpoint of the model `moving`: versions 1 and 2 are those of `iris`, version 3 cannot be loaded."""
    for version in ("1", "2"):
        platform.client.copy_model_version(f"models:/iris/{version}", "moving")
    assert register_mixed("moving", unloadable=True) == "3"
    variables = {"TRACKBED_ENDPOINT_TOKEN": TOKEN}
    with platform.endpoint("moving", name="moving", ready=False, variables=variables) as running:
        running.session.headers.update(BEARER)
        yield running


def test_an_alias_without_a_version_then_with_one(platform: Platform, moving: RunningEndpoint) -> None:
    assert moving.get("/health").status_code == 200
    eventually(lambda: "promote" in moving.invoke(split(SAMPLE)).text, "the registry to be read")
    answer = moving.invoke(split(SAMPLE))
    assert answer.status_code == 503 and "Retry-After" in answer.headers
    assert "'champion'" in answer.json()["message"]
    assert "trackbed promote moving VERSION --alias champion" in answer.json()["message"]
    assert moving.get("/v2/health/ready").status_code == moving.get("/ping").status_code == 503
    promote(platform.client, "moving", "1")
    moving.wait_for("1")
    assert moving.invoke(split(SAMPLE)).status_code == 200
    assert moving.get("/v2/health/ready").status_code == moving.get("/ping").status_code == 200


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Basic eDp5", TOKEN, "Bearer ü"])
def test_callers_need_the_token(moving: RunningEndpoint, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in ("/metrics", "/version", "/v2", "/v2/models/moving"):
        assert requests.get(moving.url + path, headers=headers).status_code == 401
    answer = requests.post(f"{moving.url}/invocations", json=split(SAMPLE), headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (401, "Authorization")
    for path in ("/health", "/v2/health/live"):
        assert requests.get(moving.url + path).status_code == 200
    assert TOKEN not in moving.log.read_text()


def test_a_move_by_mlflow_itself_can_be_rolled_back(platform: Platform, moving: RunningEndpoint) -> None:
    promote(platform.client, "moving", "1")
    moving.wait_for("1")
    platform.client.set_registered_model_alias("moving", "champion", "2")
    moving.wait_for("2")
    eventually(
        lambda: platform.client.get_registered_model("moving").tags.get("trackbed.previous.champion") == "1",
        "the version before to be written down",
    )
    assert rollback(platform.client, "moving").version == "1"
    moving.wait_for("1")


def test_no_request_is_lost_while_the_alias_moves(
    platform: Platform, moving: RunningEndpoint, iris: list[LogisticRegression]
) -> None:
    expected = {str(number): model.predict(SAMPLE).tolist() for number, model in enumerate(iris, start=1)}
    assert expected["1"] != expected["2"]
    promote(platform.client, "moving", "1")
    moving.wait_for("1")
    answered: Counter[str] = Counter()
    moved = threading.Event()

    def ask() -> list[str]:
        session, wrong = requests.Session(), list[str]()
        session.headers.update(BEARER)
        count = 0
        while count < 300 or not moved.is_set():
            count += 1
            answer = session.post(f"{moving.url}/invocations", json=split(SAMPLE), timeout=60)
            version = answer.headers.get("X-Trackbed-Model-Version", "none")
            if answer.status_code != 200 or answer.json()["predictions"] != expected[version]:
                wrong.append(answer.text)
            answered[version] += 1
        return wrong

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for version in ("2", "1", "2"):
            promote(platform.client, "moving", version)
            moving.wait_for(version)
        moved.set()
        assert [wrong for each in asking for wrong in each.result()] == []
    assert answered["1"] and answered["2"] and sum(answered.values()) >= 1200


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(platform: Platform, moving: RunningEndpoint) -> None:
    promote(platform.client, "moving", "1")
    moving.wait_for("1")
    promote(platform.client, "moving", "3")
    problem = eventually(
        lambda: (moving.alias("champion")["problem"] or "").partition("cannot be loaded")[2], "the load to fail"
    )
    assert "the weights of this model are lost" in problem
    assert moving.alias("champion")["version"] == "1" and moving.alias("champion")["wanted"] == "3"
    assert moving.invoke(split(SAMPLE)).headers["X-Trackbed-Model-Version"] == "1"
    metrics = moving.get("/metrics").text
    assert 'trackbed_endpoint_alias_behind{alias="champion"} 1.0' in metrics
    assert "trackbed_endpoint_load_failures_total 0.0" not in metrics
    assert "the weights of this model are lost" in moving.log.read_text()
    rollback(platform.client, "moving")
    eventually(lambda: moving.alias("champion")["problem"] is None, "the rollback")
    assert moving.get("/v2/health/ready").status_code == 200


def test_canary_weights(platform: Platform, moving: RunningEndpoint) -> None:
    promote(platform.client, "moving", "1")
    promote(platform.client, "moving", "2", "challenger")
    set_traffic(platform.client, "moving", "moving", {"champion": 80, "challenger": 20})
    moving.wait_for("1")
    moving.wait_for("2", "challenger")
    seen = Counter(moving.invoke(split(SAMPLE)).headers["X-Trackbed-Alias"] for _ in range(400))
    assert 40 <= seen["challenger"] <= 130  # 80 expected; outside of this once in a hundred thousand runs
    forced = moving.invoke(split(SAMPLE), **{"X-Trackbed-Alias": "challenger"})
    assert forced.headers["X-Trackbed-Model-Version"] == "2"
    of_version = moving.get("/v2/models/moving/versions/2/ready")
    assert of_version.status_code == 200
    platform.client.set_registered_model_tag("moving", "trackbed.traffic.moving", "nonsense")
    platform.client.delete_registered_model_alias("moving", "challenger")
    eventually(lambda: moving.alias("challenger")["version"] is None, "the alias to go")
    assert {moving.invoke(split(SAMPLE)).headers["X-Trackbed-Alias"] for _ in range(50)} == {"champion"}
    answer = moving.invoke(split(SAMPLE), **{"X-Trackbed-Alias": "challenger"})
    assert answer.status_code == 503 and "'challenger'" in answer.json()["message"]
    platform.client.delete_registered_model_tag("moving", "trackbed.traffic.moving")
    eventually(lambda: moving.alias("challenger") == {}, "the weights of the start")


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, scheme: str = "v1") -> dict[str, str]:
    """Sign a delivery as MLflow's documentation has it."""
    digest = hmac.new(secret.encode(), b"7f.1760000000." + body, hashlib.sha256).digest()
    return {
        "X-MLflow-Signature": f"{scheme},{base64.b64encode(digest).decode()}",
        "X-MLflow-Delivery-Id": "7f",
        "X-MLflow-Timestamp": "1760000000",
    }


def test_the_registrys_own_webhook_is_followed(platform: Platform, plain_endpoint: RunningEndpoint) -> None:
    """The endpoint does not poll, so that only MLflow's delivery can have told it."""
    platform.client.copy_model_version("models:/plain/1", "plain")
    eventually(lambda: "tells http" in plain_endpoint.log.read_text(), "the webhook to be registered")
    for version in ("2", "1"):
        promote(platform.client, "plain", version)
        plain_endpoint.wait_for(version)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (sign(b"{}"), 202),
        ({}, 401),
        (sign(b"{}", secret="other"), 401),
        (sign(b"{} "), 401),
        (sign(b"{}", scheme="v2"), 401),
        ({**sign(b"{}"), "X-MLflow-Timestamp": "1760000001"}, 401),
        ({**sign(b"{}"), "X-MLflow-Signature": "v1,%%%"}, 401),
    ],
)
def test_webhook_signature(plain_endpoint: RunningEndpoint, headers: dict[str, str], status: int) -> None:
    answer = requests.post(f"{plain_endpoint.url}/trackbed/webhook", data=b"{}", headers=headers)
    assert answer.status_code == status


def test_an_endpoint_without_a_secret_takes_no_webhooks(iris_endpoint: RunningEndpoint) -> None:
    answer = requests.post(f"{iris_endpoint.url}/trackbed/webhook", data=b"{}", headers=sign(b"{}", secret=""))
    assert answer.status_code == 404


def test_from_an_outage_of_the_registry_to_the_end(platform: Platform, relay: Relay, mixed: str) -> None:
    """Live before the registry answers, serving while it is away, and no request dropped by SIGTERM."""
    platform.client.set_registered_model_alias("mixed", "lasting", mixed)
    relay.cut()
    with platform.endpoint("mixed", "--traffic", "lasting=100", tracking=relay.url, ready=False) as running:
        eventually(lambda: "cannot be read" in (running.alias("lasting")["problem"] or ""), "the first poll")
        assert running.invoke(row("early")).status_code == 503
        relay.connect()
        running.wait_for(mixed, "lasting")
        relay.cut()
        eventually(lambda: running.get("/v2/health/ready").json()["registry_problem"], "the endpoint to notice")
        assert running.get("/v2/health/ready").status_code == 200
        assert running.invoke(row("kept")).json()["predictions"][0]["words"] == "kept"
        assert "trackbed_endpoint_registry_up 0.0" in running.get("/metrics").text
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(requests.post, f"{running.url}/invocations", json=row("last", seconds=2.0))
            in_flight = 'trackbed_endpoint_in_flight{alias="lasting",version="1"} 1.0'
            eventually(lambda: in_flight in running.get("/metrics").text, "the request to be on its way")
            running.process.send_signal(signal.SIGTERM)
            assert slow.result().json()["predictions"][0]["words"] == "last"
        assert running.process.wait(20) == 0


def row(text: str, seconds: float = 0.0) -> dict[str, Any]:
    return json.loads(json.dumps({"dataframe_records": [{"text": text, "seconds": seconds}]}))
