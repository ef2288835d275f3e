"""What the tests of specs and commands share: the real command line in this process, and documents from a schema."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from trackbed.__main__ import main
from trackbed.contract import Address, Artifacts, Contract, Pool, Tracking


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def trackbed(*arguments: str) -> Outcome:
    """Run the command line as the console script does; what is no user's error comes out as it is."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    with (
        patch.object(sys, "argv", ["trackbed", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit:
            code = int(exit.code or 0)
    texts: list[str] = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Outcome(code, *texts)


def published(directory: Path, name: str, *, known_as: str | None = None) -> Path:
    """Write the contract of a local environment of a platform project; return its path."""
    home = directory / ".trackbed" / "environments" / (known_as or name)
    home.mkdir(parents=True, exist_ok=True)
    contract = Contract(
        name=name,
        target="local",
        tracking=Tracking(address=Address(internal="http://127.0.0.1:5000"), version="3.17.2"),
        artifacts=Artifacts(uri=f"file://{home}/data/artifacts"),
        pools={"default": Pool(slots=2, cpu=2, memory=2**30)},
        home=str(home),
    )
    file = home / "contract.json"
    file.write_text(json.dumps(contract.to_dict()))
    return file


def documents(schema: dict[str, Any], part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for what a part of a schema allows, of the keywords that our schemas use."""
    if "$ref" in part:
        target: Any = schema
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return documents(schema, target)
    if "anyOf" in part:
        return st.one_of([documents(schema, branch) for branch in part["anyOf"]])
    if "enum" in part:
        return st.sampled_from(part["enum"])
    if "const" in part:
        return st.just(part["const"])
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return st.one_of([_of_kind(kind, schema, part) for kind in kinds])


def _of_kind(kind: str, schema: dict[str, Any], part: dict[str, Any]) -> st.SearchStrategy[Any]:
    lowest, highest = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum")
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(lowest, highest)
        case "number":
            return st.floats(lowest, highest, exclude_min="exclusiveMinimum" in part, allow_nan=False, width=32)
        case "string" if "pattern" in part:
            return st.from_regex(part["pattern"].removeprefix("^").removesuffix("$"), fullmatch=True).filter(
                lambda text: len(text) < 200
            )
        case "string":
            return st.text(min_size=part.get("minLength", 0), max_size=12)
        case "array":
            return st.lists(documents(schema, part["items"]), max_size=3)
        case _:
            return _objects(schema, part)


def _objects(schema: dict[str, Any], part: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in part:
        keys = documents(schema, part["propertyNames"])
        values = documents(schema, part["additionalProperties"])
        return st.dictionaries(keys, values, min_size=part.get("minProperties", 0), max_size=3)
    fields = {key: documents(schema, value) for key, value in part["properties"].items()}
    required = part.get("required", ())
    return st.fixed_dictionaries(
        {key: fields[key] for key in required},
        optional={key: field for key, field in fields.items() if key not in required},
    )
