"""What the compiled reader takes, MLflow takes too, and to the same values; the rest it leaves to MLflow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.models import Model, ModelSignature
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import _parse_json_data
from mlflow.types import ColSpec, Schema, TensorSpec
from trackbed.serving.reading import Reader, compile_reader

NAMES = ["a", "b", "c"]
FUZZ = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def columns(*types: str, optional: bool = False) -> Schema:
    return Schema(
        [ColSpec(kind, name, required=not (optional and name == "c")) for kind, name in zip(types, NAMES, strict=False)]
    )


def tensor(dtype: str, *shape: int) -> Schema:
    return Schema([TensorSpec(np.dtype(dtype), shape)])


SCHEMAS = {
    "doubles": columns("double", "double", "double"),
    "floats": columns("float", "float", "float"),
    "longs": columns("long", "long", "long"),
    "integers": columns("integer", "integer", "integer"),
    "mixed": columns("double", "long", "boolean", optional=True),
    "texts": columns("string", "long", "double", optional=True),
    "one column": columns("double"),
    "tensor of doubles": tensor("float64", -1, 3),
    "tensor of floats": tensor("float32", -1, 3),
    "tensor of longs": tensor("int64", -1, 3),
    "tensor of any size": tensor("float64", -1, 3, -1),
}

ODD = st.sampled_from(
    [
        None,
        True,
        False,
        "x",
        "1.5",
        [1.0],
        {},
        float("nan"),
        float("inf"),
        -0.0,
        1e39,
        1e300,
        10**300,
        2**31,
        -(2**31) - 1,
        2**53 + 1,
        2**63,
        2**64,
        -(2**63),
    ]
)
KINDS = {
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
    "float": st.floats(-1e6, 1e6) | st.integers(-(2**60), 2**60),
    "long": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "string": st.text(max_size=3),
}


def compiled(schema: Schema) -> tuple[Model, Reader]:
    model = Model()
    model.signature = ModelSignature(inputs=schema)
    reader = compile_reader(model)
    assert reader is not None
    return model, reader


@st.composite
def likely_bodies(draw: st.DrawFn, schema: Schema) -> Any:
    """A body that the signature takes, or one with a mistake or two."""
    count = draw(st.integers(1, 3))
    names = NAMES[: len(schema.inputs)] if not schema.is_tensor_spec() else NAMES
    kinds = (
        [{"float64": "double", "float32": "float", "int64": "long"}[str(schema.inputs[0].type)]] * 3
        if schema.is_tensor_spec()
        else [spec.type.name for spec in schema.inputs]
    )
    rows = [[draw(KINDS[kind]) for kind in kinds] for _ in range(count)]
    mistakes = draw(st.sampled_from([0, 0, 1]))
    for _ in range(mistakes):
        rows[draw(st.integers(0, count - 1))][draw(st.integers(0, len(kinds) - 1))] = draw(ODD)
    change = draw(st.sampled_from(["", "", "", "short", "more", "less", "empty", "order"]))
    if change == "short":
        rows[-1] = rows[-1][:-1]
    elif change == "more":
        names, rows = [*names, "z"], [[*row, 1.0] for row in rows]
    elif change == "less":
        names, rows = names[:-1], [row[:-1] for row in rows]
    elif change == "empty":
        rows = []
    elif change == "order":
        order = draw(st.permutations(range(len(names))))
        names, rows = [names[place] for place in order], [[row[place] for place in order] for row in rows]
    forms: list[dict[str, Any]] = [
        {"instances": rows},
        {"inputs": rows},
        {"inputs": [[[cell] for cell in row] for row in rows]},
    ]
    if not schema.is_tensor_spec():
        records = [dict(zip(names, row, strict=False)) for row in rows]
        forms += [
            {"dataframe_split": {"columns": names, "data": rows}},
            {"dataframe_records": records},
            {"instances": records},
            {"inputs": {name: [row[place] for row in rows if place < len(row)] for place, name in enumerate(names)}},
        ] * 2
    body = draw(st.sampled_from(forms))
    extra = draw(st.sampled_from([{}, {}, {}, {"params": {}}, {"other": 1}]))
    return {**body, **extra}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_read_is_what_mlflow_reads(name: str) -> None:
    schema = SCHEMAS[name]
    model, reader = compiled(schema)
    read = 0

    @FUZZ
    @given(body=likely_bodies(schema))
    def check(body: Any) -> None:
        nonlocal read
        raw = json.dumps(body).encode()
        rows = reader.read(raw)
        if rows is None:
            return
        read += 1
        expected = _enforce_schema(_parse_json_data(json.loads(raw), model, schema).data, schema)
        check_same(reader.to_model(rows), expected)

    check()
    assert read, "the common bodies of this signature are not read"


def check_same(given: Any, expected: Any) -> None:
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(given, expected, check_exact=True)
        for name in expected.select_dtypes(exclude="str"):
            check_same(given[name].to_numpy(), expected[name].to_numpy())
        return
    assert (given.dtype, given.shape, given.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"inputs": null}',
        b'{"inputs": {}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[NaN]]}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [0]}}',
        b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": [["a"]], "data": [[1]]}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1' + b"0" * 5000 + b"]]}}",
        b'{"dataframe_records": [["a"]]}',
        b'\xef\xbb\xbf{"dataframe_records": [{"a": 1}]}',
        '{"dataframe_records": [{"a": 1}]}'.encode("utf-16"),
    ],
)
def test_what_is_not_certain_is_left_to_mlflow(body: bytes) -> None:
    assert compiled(SCHEMAS["one column"])[1].read(body) is None


@pytest.mark.parametrize(
    "schema",
    [
        columns("double", "datetime"),
        columns("double", "binary"),
        Schema([ColSpec("double"), ColSpec("double")]),
        tensor("float64", 2, 3),
        tensor("float16", -1, 3),
        Schema([TensorSpec(np.dtype("float64"), (-1, 3), "a")]),
    ],
)
def test_other_signatures_are_left_to_mlflow(schema: Schema) -> None:
    model = Model()
    model.signature = ModelSignature(inputs=schema)
    assert compile_reader(model) is None
    assert compile_reader(Model()) is None
