"""What an endpoint answers equals what the model answers, in every format."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from serving_ground import IRIS, Platform, RunningEndpoint, split
from sklearn.linear_model import LogisticRegression

SAMPLE = IRIS.iloc[::10].reset_index(drop=True)
ORIENTATIONS: dict[str, Any] = {
    "dataframe_split": split(SAMPLE),
    "dataframe_split, other order": split(SAMPLE[SAMPLE.columns[::-1]]),
    "dataframe_records": {"dataframe_records": SAMPLE.to_dict(orient="records")},
    "inputs": {"inputs": SAMPLE.to_dict(orient="list")},
    "instances": {"instances": SAMPLE.to_dict(orient="records")},
}
MIXED_ROW = {
    "text": "a ü",
    "seconds": 0.0,
    "long": 2**40,
    "integer": 3,
    "float": 0.25,
    "flag": True,
    "when": "2026-05-04T03:02:00",
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_json(iris_endpoint: RunningEndpoint, iris: list[LogisticRegression], orientation: str) -> None:
    answer = iris_endpoint.invoke(ORIENTATIONS[orientation])
    assert answer.json() == {"predictions": iris[0].predict(SAMPLE).tolist()}
    assert answer.headers["X-Trackbed-Model-Version"] == "1"
    assert answer.headers["X-Trackbed-Alias"] == "steady"


@pytest.mark.parametrize("name", ["instances", "inputs"])
def test_json_tensor(plain_endpoint: RunningEndpoint, plain: LogisticRegression, name: str) -> None:
    answer = plain_endpoint.invoke({name: SAMPLE.to_numpy().tolist()})
    assert answer.json() == {"predictions": plain.predict(SAMPLE.to_numpy()).tolist()}


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8"])
def test_csv(iris_endpoint: RunningEndpoint, iris: list[LogisticRegression], content_type: str) -> None:
    answer = iris_endpoint.post("/invocations", SAMPLE.to_csv(index=False).encode(), content_type)
    assert answer.json() == {"predictions": iris[0].predict(SAMPLE).tolist()}


def test_parquet(iris_endpoint: RunningEndpoint, iris: list[LogisticRegression]) -> None:
    answer = iris_endpoint.post("/invocations", SAMPLE.to_parquet(index=False), "application/vnd.apache.parquet")
    assert answer.json() == {"predictions": iris[0].predict(SAMPLE).tolist()}


def test_params_reach_the_model(mixed_endpoint: RunningEndpoint) -> None:
    rows = [{"text": "a", "seconds": 0.0}, {"text": "b", "seconds": 0.0}]
    answer = mixed_endpoint.invoke({"dataframe_records": rows, "params": {"suffix": "!"}})
    assert [row["words"] for row in answer.json()["predictions"]] == ["a!", "b!"]
    inputs = [
        {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        {"name": "seconds", "shape": [1], "datatype": "FP64", "data": [0]},
    ]
    request = json.dumps({"inputs": inputs, "parameters": {"suffix": "?"}, "outputs": [{"name": "words"}]})
    answer = mixed_endpoint.post("/v2/models/mixed/infer", request.encode())
    assert [output["data"] for output in answer.json()["outputs"]] == [["a?"]]


def test_mlflows_own_client_is_understood(iris_endpoint: RunningEndpoint, iris: list[LogisticRegression]) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", int(iris_endpoint.url.rpartition(":")[2]))
    client.wait_server_ready(timeout=5)
    assert client.invoke(SAMPLE).get_predictions()[0].tolist() == iris[0].predict(SAMPLE).tolist()
    assert client.get_version().strip()


@pytest.mark.parametrize("orientation", ["instances", "inputs"])
def test_v1(iris_endpoint: RunningEndpoint, iris: list[LogisticRegression], orientation: str) -> None:
    url = f"{iris_endpoint.url}/v1/models/iris"
    answer = iris_endpoint.session.post(f"{url}:predict", json=ORIENTATIONS[orientation])
    assert answer.json() == {"predictions": iris[0].predict(SAMPLE).tolist()}
    assert iris_endpoint.get("/v1/models").json() == {"models": ["iris"]}
    assert iris_endpoint.get("/v1/models/iris").json() == {"name": "iris", "ready": True}
    refused = iris_endpoint.session.post(f"{url}:predict", json={"instances": [[1, 2, 3, 4]]})
    assert (refused.status_code, refused.json()["field"]) == (400, "instances")
    assert iris_endpoint.session.post(f"{url}x:predict", json={}).status_code == 404


def test_requests_at_once_are_each_answered_with_their_own(
    iris_endpoint: RunningEndpoint, iris: list[LogisticRegression]
) -> None:
    labels = iris[0].predict(IRIS).tolist()

    def ask(row: int) -> Any:
        body = split(IRIS.iloc[[row]]) if row % 5 else {"dataframe_records": [{"no such": 1}]}
        return requests.post(f"{iris_endpoint.url}/invocations", json=body, timeout=60)

    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(ask, range(len(IRIS))))
    for row, answer in enumerate(answers):
        assert answer.status_code == (200 if row % 5 else 400)
        assert row % 5 == 0 or answer.json() == {"predictions": [labels[row]]}


def test_more_callers_than_may_wait_are_told_when_to_come_again(platform: Platform, mixed: str) -> None:
    platform.client.set_registered_model_alias("mixed", "champion", mixed)
    with platform.endpoint("mixed", "--max-waiting", "1") as running, ThreadPoolExecutor(4) as callers:
        body = {"dataframe_records": [{"text": "a", "seconds": 2.0}]}
        answers = list(
            callers.map(lambda _: requests.post(f"{running.url}/invocations", json=body, timeout=60), "1234")
        )
    assert {answer.status_code for answer in answers} == {200, 429}
    [refused, *_] = [answer for answer in answers if answer.status_code == 429]
    assert int(refused.headers["Retry-After"]) >= 1 and refused.json()["error_code"] == "RESOURCE_EXHAUSTED"


def columns(shape: list[int], datatype: str = "FP64", **changes: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": shape, "datatype": datatype, "data": SAMPLE[name].tolist(), **changes}
        for name in SAMPLE.columns
    ]


@pytest.mark.parametrize("shape", [[len(SAMPLE)], [len(SAMPLE), 1]])
@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v2/models/iris/versions/1/infer"])
def test_v2_columns(
    iris_endpoint: RunningEndpoint, iris: list[LogisticRegression], shape: list[int], path: str
) -> None:
    request = {"id": "seven", "inputs": columns(shape)}
    answer = iris_endpoint.session.post(iris_endpoint.url + path, json=request)
    assert answer.json() == {
        "model_name": "iris",
        "model_version": "1",
        "id": "seven",
        "outputs": [
            {
                "name": "output-0",
                "shape": [len(SAMPLE)],
                "datatype": "INT64",
                "data": iris[0].predict(SAMPLE).tolist(),
            }
        ],
    }


@pytest.mark.parametrize("nested", [True, False])
def test_v2_tensor(plain_endpoint: RunningEndpoint, plain: LogisticRegression, nested: bool) -> None:
    values = SAMPLE.to_numpy()
    data = values.tolist() if nested else values.reshape(-1).tolist()
    tensor = {"name": "input-0", "shape": list(values.shape), "datatype": "FP64", "data": data}
    request = {"inputs": [tensor], "outputs": [{"name": "output-0"}]}
    answer = plain_endpoint.session.post(f"{plain_endpoint.url}/v2/models/plain/infer", json=request)
    assert answer.json()["outputs"][0]["data"] == plain.predict(values).tolist()


def test_every_type_by_both_protocols(mixed_endpoint: RunningEndpoint) -> None:
    expected = {"total": 2**40 + 3.25, "words": "a ü2026-05-04 03:02", "flag": True}
    assert mixed_endpoint.invoke({"dataframe_records": [MIXED_ROW]}).json() == {"predictions": [expected]}
    datatypes = ["BYTES", "FP64", "INT64", "INT16", "FP32", "BOOL", "BYTES"]
    inputs = [
        {"name": name, "shape": [1], "datatype": datatype, "data": [value]}
        for (name, value), datatype in zip(MIXED_ROW.items(), datatypes, strict=True)
    ]
    answer = mixed_endpoint.session.post(f"{mixed_endpoint.url}/v2/models/mixed/infer", json={"inputs": inputs})
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert outputs == {name: [value] for name, value in expected.items()}


def test_v2_metadata_is_what_infer_takes(iris_endpoint: RunningEndpoint, mixed_endpoint: RunningEndpoint) -> None:
    described = iris_endpoint.get("/v2/models/iris").json()
    assert described["name"] == "iris" and described["versions"] == ["1"]
    assert described["inputs"] == [{"name": name, "datatype": "FP64", "shape": [-1]} for name in IRIS.columns]
    inputs = [
        {"name": each["name"], "datatype": each["datatype"], "shape": [1], "data": [MIXED_ROW[each["name"]]]}
        for each in mixed_endpoint.get("/v2/models/mixed").json()["inputs"]
    ]
    answer = mixed_endpoint.session.post(f"{mixed_endpoint.url}/v2/models/mixed/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text


def test_a_narrower_datatype_is_widened(iris_endpoint: RunningEndpoint, iris: list[LogisticRegression]) -> None:
    whole = SAMPLE.round().astype(np.int32)
    inputs = [
        {"name": name, "shape": [len(whole)], "datatype": "INT32", "data": whole[name].tolist()} for name in whole
    ]
    answer = iris_endpoint.session.post(f"{iris_endpoint.url}/v2/models/iris/infer", json={"inputs": inputs})
    assert answer.json()["outputs"][0]["data"] == iris[0].predict(whole.astype(float)).tolist()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/health", {"live": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/models/iris/ready", {"name": "iris", "ready": True}),
        ("/v2/models/iris/versions/1/ready", {"name": "iris", "ready": True}),
    ],
)
def test_health(iris_endpoint: RunningEndpoint, path: str, expected: dict[str, Any]) -> None:
    answer = iris_endpoint.get(path)
    assert (answer.status_code, answer.json()) == (200, expected)


def test_metrics_count_requests_by_version(iris_endpoint: RunningEndpoint) -> None:
    labels = 'alias="steady",protocol="invocations",status="200",version="1"'

    def count() -> float:
        lines = iris_endpoint.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith(f"trackbed_endpoint_requests_total{{{labels}}}")]
        return float(found[0].split()[-1]) if found else 0.0

    before = count()
    iris_endpoint.invoke(split(pd.DataFrame(SAMPLE)))
    assert count() == before + 1
    text = iris_endpoint.get("/metrics").text
    assert 'trackbed_endpoint_loaded_version_info{alias="steady",version="1"} 1.0' in text
    assert "trackbed_endpoint_request_seconds_bucket" in text
