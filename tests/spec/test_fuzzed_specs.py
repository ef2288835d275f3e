"""Whatever an environment file holds, it is either used or refused with its problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spec_ground import documents, trackbed
from trackbed.documents import Document, DocumentError, parse_document, schema
from trackbed.spec import build_spec, spec_document, spec_problems

HERE = Path(__file__).parent
SAMPLES = [file.read_text() for file in sorted(HERE.glob("*/*.yaml"))]
SCHEMA = schema("environment")
PIECES = st.sampled_from(
    [
        *"{}[]:,-#&*!|>%@`\\'\"?\t\n .0159",
        ": ",
        "- ",
        "\n  ",
        "null",
        "true",
        ".nan",
        "1e9",
        "!!bool x",
        "!!int ''",
        "<<: ",
    ]
)


def repaired(document: dict[str, Any]) -> dict[str, Any]:
    """Mend what no schema can say: shares that sum to 100, names and ports that differ, servers that exist."""
    tracking = document.get("tracking") or {}
    if "url" in tracking:
        for key in ("database", "auth", "port", "allowedHosts"):
            tracking.pop(key, None)
        if "password" not in tracking:
            tracking.pop("username", None)
    else:
        tracking.pop("username", None)
        tracking.pop("password", None)
    if isinstance(tracking.get("database"), dict):
        tracking["database"]["url"] = tracking["database"]["url"].partition("?")[0]
    for pool in (document.get("pools") or {}).values():
        if pool and isinstance(pool.get("memory"), str):
            pool["memory"] = "2Gi"
    for position, endpoint in enumerate(document.get("endpoints") or ()):
        endpoint["name"] = f"endpoint-{position}"
        if "port" in endpoint:
            endpoint["port"] = 9000 + position
        if "traffic" in endpoint:
            first, *others = endpoint["traffic"]
            endpoint["traffic"] = {first: 100, **dict.fromkeys(others, 0)}
    if tracking.get("port", 0) >= 9000:
        tracking["port"] = 5000
    return document


def checked(text: str) -> Document | None:
    """Return the document when it has no problems; check that its problems can be told."""
    try:
        document = spec_document(parse_document(text, name="spec.yaml"))
        problems = spec_problems(document)
    except DocumentError as refused:
        document, problems = None, list(refused.found)
        assert problems
    for problem in problems:
        told = problem.told("spec.yaml")
        assert told.isprintable(), told
        assert 1 <= problem.line <= text.count("\n") + 1
    return None if problems else document


@settings(max_examples=150, deadline=None)
@given(documents(SCHEMA, SCHEMA).map(repaired))
def test_what_the_schema_allows_is_accepted_and_used(value: dict[str, Any]) -> None:
    document = checked(yaml.safe_dump(value))
    assert document is not None
    spec = build_spec(document.value)
    assert spec.target == value["target"]
    assert set(spec.immutable())


@settings(max_examples=150, deadline=None)
@given(documents(SCHEMA, SCHEMA))
def test_the_checks_beyond_the_schema_never_raise(value: dict[str, Any]) -> None:
    document = checked(yaml.safe_dump({"config": {"trackbed:environment": value}}))
    if document is not None:
        build_spec(document.value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_mutated_file_is_used_or_refused(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.one_of(st.just(""), PIECES, st.text(max_size=3))) + text[end:]
    document = checked(text)
    if document is not None:
        build_spec(document.value)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
@example("target: &a [*a]")
@example("[" * 5000)
@example("a: &a [x, x]\nb: &b [" + "*a, " * 9 + "]\nc: &c [" + "*b, " * 9 + "]\nd: [" + "*c, " * 2000 + "]")
@example("target: !!timestamp soon")
@example("target: !!bool maybe")
@example("target: !!int ''")
@example("tracking: {port: 0x" + "f" * 5000 + "}")
@example("2026-01-01: local")
@example("target: {2026-01-01: x, [a]: b}")
@example('target: "\\ud800 \\e[31m"')
@example('"\\ud800": local')
@example("config: {1: x}")
@example("config: [x]")
def test_any_text_is_used_or_refused(text: str) -> None:
    document = checked(text)
    if document is not None:
        build_spec(document.value)


PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map(lambda text: f"Zq7{text}Zq7")
PLACES = [
    {"tracking": {"password": "{}"}},
    {"tracking": {"url": "https://ada:{}@mlflow.example.com"}},
    {"tracking": {"url": "https://mlflow.example.com", "password": "{}"}},
    {"tracking": {"database": "postgresql://mlflow:{}@db/mlflow"}},
    {"tracking": {"database": {"url": "postgresql://mlflow:{}@db/mlflow"}}},
    {"tracking": {"database": {"url": "postgresql://mlflow@db/mlflow?password={}"}}},
    {"tracking": {"database": {"url": "postgresql://mlflow@db/mlflow", "password": "{}"}}},
    {"tracking": [{"password": "{}"}]},
    {"tracking": "password: {}"},
    {"artifacts": {"uri": "s3://key:{}@bucket"}},
    {"pools": {"default": {"memory": {"secret": "{}"}}}},
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), PASSWORDS)
def test_a_password_is_never_told(place: dict[str, Any], password: str) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value.replace("{}", password)

    text = yaml.safe_dump({"target": "local", **filled(place)})
    with pytest.raises(DocumentError) as refused:
        document = parse_document(text, name="spec.yaml")
        raise DocumentError("spec.yaml", spec_problems(document))
    assert refused.value.found
    assert "Zq7" not in str(refused.value)


@settings(max_examples=40, deadline=None)
@given(
    content=st.one_of(
        st.binary(), st.lists(PIECES).map("".join).map(str.encode), st.sampled_from(SAMPLES).map(str.encode)
    )
)
def test_the_command_ends_with_0_or_1(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("fuzzed") / "spec.yaml"
    file.write_bytes(content)
    done = trackbed("validate", str(file))
    assert done.code == (0 if done.out == f"{file}: valid\n" else 1)
    assert done.err == ""
