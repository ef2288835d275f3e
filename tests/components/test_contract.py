"""The contract: its schema, what environments publish, and what becomes of documents that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from component_ground import HOME, SPECS, environment, run, spec_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from trackbed.contract import (
    Address,
    Artifacts,
    Authentication,
    Contract,
    Endpoint,
    Pool,
    Tracking,
    Tuning,
    read_contract,
)
from trackbed.documents import schema
from trackbed.errors import UserError
from trackbed_components import Environment, EnvironmentArgs, LocalTarget

SCHEMA = schema("contract")


@pytest.fixture(scope="module")
def contracts() -> dict[str, dict[str, Any]]:
    """What each environment of the graph cases publishes."""
    return {name: run(environment(text)).result[0] for name, text in SPECS.items()}


@pytest.mark.parametrize("case", SPECS)
def test_what_environments_publish_is_valid_and_read_back(case: str, contracts: dict[str, dict[str, Any]]) -> None:
    document = contracts[case]
    Draft202012Validator(SCHEMA).validate(document)
    read = read_contract(json.dumps(document), source="contract.json")
    assert read.to_dict() == document


PARTS = {
    Contract: SCHEMA,
    Tracking: SCHEMA["properties"]["tracking"],
    Artifacts: SCHEMA["properties"]["artifacts"],
    Tuning: SCHEMA["properties"]["tuning"],
    **{kind: SCHEMA["$defs"][kind.__name__.lower()] for kind in (Address, Authentication, Pool, Endpoint)},
}


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_the_schema_has_the_fields_of_the_code(kind: Any) -> None:
    part = PARTS[kind]
    assert part["additionalProperties"] is False
    assert set(part["properties"]) == {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    assert set(part["required"]) - {"version"} == needed - {"version"}
    assert all(field["description"] for field in part["properties"].values())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"name": ""},
        {"surprise": 1},
        {"pools": {"big": {"slots": 1, "cpu": 1, "memory": 1}}},
        {"pools": {"default": {"slots": 0, "cpu": 1, "memory": 1}}},
        {"artifacts": {"uri": "/srv/artifacts"}},
        {"tuning": {"storage": "postgresql://user:password@host/db", "parallel_trials": 1}},
        {"tracking": {"version": "3", "address": {"internal": "http://ada:password@host"}}},
        {"tracking": {"version": "3", "address": {"internal": "http://h"}, "authentication": {"kind": "basic"}}},
        {
            "tracking": {
                "version": "3",
                "address": {"internal": "http://h"},
                "authentication": {"kind": "token", "secret": "hunter2"},
            }
        },
    ],
    ids=lambda change: "-".join(change),
)
def test_the_schema_refuses(change: dict[str, Any], contracts: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate({**contracts["minimal"], **change})


class Careless(LocalTarget):
    """A target with a bug: it tells the runtime of a directory that nobody can find."""

    def contract_fields(self) -> Mapping[str, Any]:
        return {"home": "somewhere"}


def test_a_contract_with_a_bug_is_not_published() -> None:
    def build() -> Any:
        made = Environment("test", EnvironmentArgs(spec=spec_of(SPECS["minimal"]), target=Careless(HOME)))
        return made.outputs.contract, made.outputs.uri

    with pytest.raises(ValidationError):
        run(build)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused_with_both(version: Any, contracts: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(UserError) as refused:
        read_contract(json.dumps({**contracts["minimal"], "version": version}), source="here.json")
    assert str(refused.value) == f"here.json: the contract has version {version!r}; this trackbed reads version 1"
    assert refused.value.hint


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read_or_refused(text: str) -> None:
    """Read a text as a contract; only a user's error may come of it."""
    try:
        read_contract(text, source="contract.json")
    except UserError as refused:
        assert "contract.json" in str(refused)
        assert refused.hint


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), JSON.map(json.dumps)))
@example("[" * 100_000)
@example("")
@example("{}")
@example("9" * 10_000)
def test_any_text_is_a_contract_or_refused(text: str) -> None:
    read_or_refused(text)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_contract_with_a_changed_part_is_read_or_refused(data: st.DataObject, contracts: dict[str, Any]) -> None:
    document = json.loads(json.dumps(contracts["authenticated"]))
    part = document
    while True:
        key = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[key], dict) or not part[key] or data.draw(st.booleans()):
            break
        part = part[key]
    if data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(JSON)
    read_or_refused(json.dumps(document))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"[]", b"null", b"{"], ids=str)
def test_a_file_that_is_no_contract_is_a_users_error(content: bytes, tmp_path: Path) -> None:
    from trackbed.environments import resolve_environment

    file = tmp_path / "contract.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"contract\.json"):
        resolve_environment(str(file))
