"""Requests that an endpoint refuses: the status says whose fault it is, the body names the field."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import mlflow.pyfunc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from serving_ground import IRIS, Platform, RunningEndpoint, register_iris
from trackbed.serving.predictors import InputRefusal, load_predictor
from trackbed.serving.protocols import open_inference

NAMES = list(IRIS.columns)
ROW = [5.1, 3.5, 1.4, 0.2]
RECORD = dict(zip(NAMES, ROW, strict=True))
FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def frame(**changes: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": NAMES, "data": [ROW], **changes}}


MALFORMED: list[tuple[str, Any, str]] = [
    ("not JSON", b"{", "(body)"),
    ("not UTF-8", b'{"inputs": "\xff"}', "(body)"),
    ("a number too long to read", b'{"inputs": ' + b"1" * 5000 + b"}", "(body)"),
    ("lists too deep to read", b"[" * 100_000, "(body)"),
    ("a list", [], "(body)"),
    ("no format", {"rows": [ROW]}, "(body)"),
    ("two formats", {"inputs": [ROW], "instances": [ROW]}, "(body)"),
    ("split is a list", {"dataframe_split": [ROW]}, "dataframe_split"),
    ("split has an unknown key", frame(rows=1), "dataframe_split.rows"),
    ("split without data", {"dataframe_split": {"columns": NAMES}}, "dataframe_split.data"),
    ("split with a short row", frame(data=[ROW, ROW[:3]]), "dataframe_split.data[1]"),
    ("split with no rows but a number", frame(data=7), "dataframe_split.data"),
    (
        "split with a missing column",
        {"dataframe_split": {"columns": NAMES[:3], "data": [ROW[:3]]}},
        "dataframe_split.columns",
    ),
    ("split without columns", {"dataframe_split": {"data": [ROW]}}, "dataframe_split.columns"),
    ("split with text for a number", frame(data=[ROW, [*ROW[:2], "x", 1]]), "dataframe_split.data[1][2]"),
    ("split with a wrong index", frame(data=[ROW, ROW], index=[1, 2, 3]), "dataframe_split.index"),
    ("records are an object", {"dataframe_records": RECORD}, "dataframe_records"),
    ("a record is a list", {"dataframe_records": [ROW]}, "dataframe_records[0]"),
    ("a record lacks a name", {"dataframe_records": [{NAMES[0]: 1}]}, "dataframe_records"),
    (
        "a record has text for a number",
        {"dataframe_records": [{**RECORD, NAMES[1]: "x"}]},
        f"dataframe_records[0].{NAMES[1]}",
    ),
    ("inputs lack a column", {"inputs": {NAMES[0]: [1.0]}}, "inputs"),
    (
        "inputs have text for a number",
        {"inputs": {**{name: [1.0] for name in NAMES}, NAMES[3]: ["x"]}},
        f"inputs.{NAMES[3]}[0]",
    ),
    ("inputs have no names", {"inputs": [ROW]}, "inputs"),
    ("instances have no names", {"instances": [ROW]}, "instances"),
    ("instances differ", {"instances": [RECORD, {NAMES[0]: 1.0}]}, "instances[1]"),
]


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_json_names_the_field(iris_endpoint: RunningEndpoint, body: Any, field: str) -> None:
    answer = iris_endpoint.post("/invocations", body if isinstance(body, bytes) else json.dumps(body).encode())
    document = answer.json()
    assert (answer.status_code, document["field"], document["error_code"]) == (400, field, "BAD_REQUEST"), document
    assert field in document["message"]


def test_what_is_wrong_comes_with_what_is_allowed(iris_endpoint: RunningEndpoint) -> None:
    document = iris_endpoint.invoke(frame(data=[[*ROW[:3], "wide"]])).json()
    assert document["value"] == "wide"
    assert document["allowed"] == "double"
    assert iris_endpoint.invoke({"rows": 1}).json()["allowed"] == [
        "dataframe_split",
        "dataframe_records",
        "instances",
        "inputs",
    ]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (",".join(NAMES[:3]) + "\n1,2,3\n", "line 1"),
        (",".join(NAMES) + "\n1,2,3,4\n1,2,x,4\n", f"line 3, column {NAMES[2]!r}"),
        (",".join(NAMES) + "\n1,2,3,4\n1,2,3,4,5\n", "line 3"),
        ("", "(body)"),
    ],
)
def test_malformed_csv_names_the_line(iris_endpoint: RunningEndpoint, text: str, field: str) -> None:
    answer = iris_endpoint.post("/invocations", text.encode(), "text/csv")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": [[1, 2, 3]]}, "inputs"),
        ({"inputs": [["a", 1, 1, 1]]}, "inputs[0][0]"),
        ({"instances": [ROW, ROW[:2]]}, "instances"),
    ],
)
def test_malformed_tensors_name_the_field(plain_endpoint: RunningEndpoint, body: Any, field: str) -> None:
    answer = plain_endpoint.invoke(body)
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": ROW, **changes}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ([], "(body)"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [7]}, "inputs[0]"),
        ({"inputs": [tensor(name=7)]}, "inputs[0].name"),
        ({"inputs": [tensor(shape="4")]}, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[1, -4])]}, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[2, 2])]}, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[4])]}, "inputs[0].shape"),
        ({"inputs": [tensor(datatype="FP65")]}, "inputs[0].datatype"),
        ({"inputs": [tensor(datatype="BYTES", data=["a"] * 4)]}, "inputs[0].datatype"),
        ({"inputs": [tensor(data=None)]}, "inputs[0].data"),
        ({"inputs": [tensor(data=ROW[:3])]}, "inputs[0].data"),
        ({"inputs": [tensor(data=[1, 2, "x", 4])]}, "inputs[0].data[2]"),
        ({"inputs": [tensor(data=[1, 2, None, 4])]}, "inputs[0].data[2]"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 2, 3, 300])]}, "inputs[0].data[3]"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 2.5, 3, 4])]}, "inputs[0].data[1]"),
        ({"inputs": [tensor(datatype="BOOL", data=[1, 0, 1, 0])]}, "inputs[0].data[0]"),
        ({"inputs": [tensor(data=[1, 2, 3, 10**400])]}, "inputs[0].data[3]"),
        ({"inputs": [tensor(), tensor()]}, "inputs[1].name"),
        ({"inputs": [tensor(), tensor(name="other")]}, "inputs"),
        ({"inputs": [tensor()], "outputs": [{"name": "no-such"}]}, "outputs[0].name"),
        ({"inputs": [tensor()], "outputs": ["output-0"]}, "outputs[0]"),
        ({"inputs": [tensor()], "id": 7}, "id"),
        ({"inputs": [tensor()], "parameters": []}, "parameters"),
    ],
)
def test_malformed_v2_names_the_field(plain_endpoint: RunningEndpoint, request_: Any, field: str) -> None:
    answer = plain_endpoint.post("/v2/models/plain/infer", json.dumps(request_).encode())
    document = answer.json()
    assert (answer.status_code, document["field"]) == (400, field), document
    assert field in document["error"]


def test_v2_columns_are_checked_against_the_signature(iris_endpoint: RunningEndpoint) -> None:
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in NAMES]
    missing = iris_endpoint.post("/v2/models/iris/infer", json.dumps({"inputs": inputs[:3]}).encode()).json()
    assert missing["field"] == "inputs" and NAMES[3] in missing["error"]
    unknown = [*inputs, {**inputs[0], "name": "colour"}]
    answer = iris_endpoint.post("/v2/models/iris/infer", json.dumps({"inputs": unknown}).encode()).json()
    assert (answer["field"], answer["allowed"]) == ("inputs[4].name", NAMES)
    longer = [*inputs[:3], {**inputs[3], "shape": [2], "data": [1.0, 2.0]}]
    answer = iris_endpoint.post("/v2/models/iris/infer", json.dumps({"inputs": longer}).encode()).json()
    assert answer["field"] == "inputs[3].shape"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/xml", "application/json; charset=latin-1"])
def test_other_content_types_are_refused(iris_endpoint: RunningEndpoint, content_type: str | None) -> None:
    answer = iris_endpoint.post("/invocations", json.dumps(frame()).encode(), content_type)
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")


def test_other_paths_models_versions_and_methods(iris_endpoint: RunningEndpoint) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()
    assert iris_endpoint.get("/no-such").status_code == 404
    assert iris_endpoint.get("/invocations").status_code == 405
    answer = iris_endpoint.post("/v2/models/other/infer", body)
    assert (answer.status_code, answer.json()["allowed"]) == (404, ["iris"])
    answer = iris_endpoint.post("/v2/models/iris/versions/99/infer", body)
    assert (answer.status_code, answer.json()["allowed"]) == (404, ["1"])
    answer = iris_endpoint.invoke(frame(), **{"X-Trackbed-Alias": "nobody"})
    assert (answer.status_code, answer.json()["allowed"]) == (400, ["steady"])


def test_the_models_own_refusal_is_the_callers_fault(mixed_endpoint: RunningEndpoint) -> None:
    answer = mixed_endpoint.invoke({"dataframe_records": [{"text": "refuse", "seconds": 0.0}]})
    assert answer.status_code == 400
    assert "this text is not for me" in answer.json()["message"]


def test_a_failing_model_is_an_internal_error_with_an_id(mixed_endpoint: RunningEndpoint) -> None:
    answer = mixed_endpoint.invoke({"dataframe_records": [{"text": "fail", "seconds": 0.0}]})
    assert answer.status_code == 500
    assert "Traceback" not in answer.text and "secret path" not in answer.text
    log = mixed_endpoint.log.read_text()
    assert answer.json()["value"] in log and "the secret path /srv/weights is gone" in log


def test_a_wrong_parameter_is_named(mixed_endpoint: RunningEndpoint) -> None:
    rows = [{"text": "a", "seconds": 0.0}]
    answer = mixed_endpoint.invoke({"dataframe_records": rows, "params": {"suffix": 7}})
    assert (answer.status_code, answer.json()["field"]) == (400, "params.suffix")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["champion=50"], "sum to 50"), (["champion"], "'champion' is no weight"), (["a=50", "a=50"], "two weights")],
)
def test_wrong_weights_are_refused_at_the_start(arguments: list[str], problem: str) -> None:
    command = [sys.executable, "-m", "trackbed.serving", "--name", "test", "--model", "iris", "--port", "0"]
    for weight in arguments:
        command += ["--traffic", weight]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert problem in done.stderr and "Traceback" not in done.stderr


def test_without_a_signature_what_the_model_trips_over_is_the_callers_fault(platform: Platform) -> None:
    register_iris("unsigned", 1.0, signed=False)
    predictor = load_predictor("unsigned", "1")

    def ask(shape: list[int]) -> Any:
        given = {"name": "anything", "shape": shape, "datatype": "FP64", "data": ROW * 2}
        body = json.dumps({"inputs": [given]}).encode()
        call = open_inference.decode(body, model="unsigned", version="1", predictor=predictor)
        return json.loads(call.encode(predictor.predict(call.data, call.params)))

    assert ask([2, 4])["outputs"][0]["shape"] == [2]
    with pytest.raises(InputRefusal, match="features") as caught:
        ask([4, 2])
    assert caught.value.by_model


def test_a_large_body_is_refused(platform: Platform, plain_endpoint: RunningEndpoint) -> None:
    answer = plain_endpoint.post("/invocations", b" " * (64 * 2**20 + 1))
    assert answer.status_code == 413
    assert plain_endpoint.invoke({"inputs": [ROW]}).ok


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from([*NAMES, "columns", "data", "x"]), inner, max_size=5)
    ),
    max_leaves=20,
)
cells = st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=2)
likely_frames = st.fixed_dictionaries(
    {"columns": st.permutations(NAMES), "data": st.lists(st.lists(cells, min_size=4, max_size=4), max_size=3)}
)
likely_records = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, cells)), max_size=3)
likely_columns = st.fixed_dictionaries({name: st.lists(cells, min_size=2, max_size=2) for name in NAMES})
bodies = st.one_of(
    st.builds(lambda key, value: {key: value}, st.sampled_from(["dataframe_split", "dataframe_records"]), anything),
    st.builds(lambda key, value: {key: value}, st.sampled_from(["instances", "inputs", "params"]), anything),
    st.builds(lambda value: {"dataframe_split": value}, likely_frames),
    st.builds(lambda value: {"dataframe_records": value}, likely_records),
    st.builds(lambda value: {"instances": value}, likely_records),
    st.builds(lambda value: {"inputs": value}, likely_columns),
    anything,
)


no_time = st.floats(max_value=0) | st.integers(max_value=0) | st.none() | st.just(False) | st.text(max_size=2)
mixed_rows = st.fixed_dictionaries(
    {"text": cells, "seconds": no_time},
    optional={
        "long": st.integers(-(2**64), 2**64) | cells,
        "integer": st.integers(-(2**33), 2**33) | cells,
        "float": cells,
        "flag": st.booleans() | cells,
        "when": st.dates().map(str) | cells,
    },
)


@pytest.fixture(scope="module")
def reference(iris: Any) -> Any:
    return mlflow.pyfunc.load_model("models:/iris/1")


@pytest.fixture(scope="module")
def mixed_reference(mixed: str) -> Any:
    return mlflow.pyfunc.load_model(f"models:/mixed/{mixed}")


def mlflows_answer(model: Any, body: bytes, content_type: str) -> tuple[int, Any]:
    """What `mlflow models serve` would answer; an unforeseen error is 500 there."""
    try:
        answer = invocations(body, content_type, model, model.metadata.get_input_schema())
    except MlflowException as error:
        return error.get_http_status_code(), None
    except Exception:
        return 500, None
    return answer.status, json.loads(answer.response)


@FUZZ
@given(body=bodies)
def test_accepts_and_refuses_what_mlflow_does(iris_endpoint: RunningEndpoint, reference: Any, body: Any) -> None:
    check_parity(iris_endpoint, reference, body)


@FUZZ
@given(rows=st.lists(mixed_rows | anything, max_size=3))
def test_accepts_and_refuses_any_type_as_mlflow_does(
    mixed_endpoint: RunningEndpoint, mixed_reference: Any, rows: Any
) -> None:
    check_parity(mixed_endpoint, mixed_reference, {"dataframe_records": rows})
    check_parity(mixed_endpoint, mixed_reference, {"instances": rows})


def check_parity(endpoint: RunningEndpoint, reference: Any, body: Any) -> None:
    raw = json.dumps(body).encode()
    status, expected = mlflows_answer(reference, raw, "application/json")
    answer = endpoint.post("/invocations", raw)
    assert answer.status_code == (400 if status == 500 else status), answer.text
    if expected is None:
        assert answer.json()["message"]
    else:
        assert answer.json() == expected


@FUZZ
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_csv_is_answered_as_mlflow_does(iris_endpoint: RunningEndpoint, reference: Any, raw: bytes) -> None:
    status, _ = mlflows_answer(reference, raw, "text/csv")
    answer = iris_endpoint.post("/invocations", raw, "text/csv")
    assert answer.status_code == (400 if status == 500 else status), answer.text


@FUZZ
@given(
    inputs=st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from([*NAMES, "input-0"]) | anything,
                "shape": st.just([1, 4]) | st.lists(st.integers(-1, 5), max_size=3) | anything,
                "datatype": st.sampled_from(["FP64", "FP16", "INT64", "UINT8", "BOOL", "BYTES"]) | anything,
                "data": st.lists(cells, max_size=5) | anything,
            }
        )
        | anything,
        max_size=3,
    )
    | anything
)
def test_any_v2_request_is_answered(
    iris_endpoint: RunningEndpoint, plain_endpoint: RunningEndpoint, inputs: Any
) -> None:
    for endpoint in (iris_endpoint, plain_endpoint):
        answer = endpoint.post(f"/v2/models/{endpoint.model}/infer", json.dumps({"inputs": inputs}).encode())
        assert answer.status_code in (200, 400), answer.text
        assert answer.status_code == 200 or answer.json()["error"]
