"""YAML documents checked against a JSON Schema: every problem at once, each with its line and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trackbed.errors import ProblemsError, UserError
from trackbed.templates import template_text

Step = str | int
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with a document.

    Args:
        line: line in the file, from 1.
        path: place inside the document: `tracking.database`, `endpoints[0].traffic`.
        message: what is wrong, the value given and what is allowed.
        suggestion: how to fix it; empty when the message says so.
    """

    line: int
    path: str
    message: str
    suggestion: str = ""

    def told(self, file: str) -> str:
        """Return the problem as one line for people."""
        suggestion = f" ({self.suggestion})" if self.suggestion else ""
        return f"{file}:{self.line}: {self.path}: {self.message}{suggestion}"


@dataclass(frozen=True)
class Document:
    """A YAML document and where each of its values stands.

    Args:
        name: the file's name, for messages.
        value: the parsed document.
        lines: line of each place inside the document, by its path.
    """

    name: str
    value: Any
    lines: Mapping[tuple[Step, ...], int]

    def line(self, path: Sequence[Step]) -> int:
        """Return the line of the value at `path`, or of the nearest value above it."""
        steps = tuple(path)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps, 1)

    def problem(self, path: Sequence[Step], message: str, suggestion: str = "") -> Problem:
        """Return a problem with the value at `path`, for checks beyond the schema."""
        return Problem(self.line(path), shown_path(path), message, suggestion)

    def below(self, *path: Step) -> Document:
        """Return the part of the document at `path` as a document of its own, lines kept."""
        value = self.value
        for step in path:
            value = value[step]
        lines = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
        return Document(self.name, value, lines)


def parse_document(text: str, *, name: str) -> Document:
    """Parse one YAML document and remember the lines of its values.

    Args:
        text: the YAML text.
        name: the file's name, for messages.

    Raises:
        ProblemsError: the text is not YAML, or a key stands in it twice.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: dict[tuple[Step, ...], int] = {}
        problems = list(_index(node, (), lines)) if node is not None else []
        if problems:
            raise _refused(name, problems)
        value: Any = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = Problem(
            mark.line + 1 if mark else 1, "(document)", f"not valid YAML: {error.problem or error.context}"
        )
        raise _refused(name, [problem]) from error
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a scalar that looks like a date or number and is none (2026-99-99).
        raise _refused(name, [Problem(1, "(document)", f"not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    return Document(name, value, lines)


def read_document(path: Path) -> Document:
    """Read and parse a YAML file.

    Raises:
        UserError: the file cannot be read.
        ProblemsError: it is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    return parse_document(text, name=str(path))


@cache
def schema(name: str) -> dict[str, Any]:
    """Return a JSON Schema of templates/trackbed_templates/schemas, by its name without the ending."""
    return json.loads(template_text(f"schemas/{name}.schema.json"))


def schema_problems(document: Document, schema_name: str) -> list[Problem]:
    """Check a document against a JSON Schema (draft 2020-12).

    Args:
        document: what to check.
        schema_name: name of the schema, for example `environment`.

    Returns:
        Every problem, in the order of the file.
    """
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema(schema_name))
    found: list[Problem] = []
    for error in validator.iter_errors(document.value):
        found.extend(_problems(document, error))
    return sorted(set(found))


def refuse(document: Document, problems: Iterable[Problem]) -> None:
    """Raise all problems of a document as one error; do nothing when there are none.

    Raises:
        ProblemsError: there is at least one problem.
    """
    listed = sorted(set(problems))
    if listed:
        raise _refused(document.name, listed)


def shown_path(path: Sequence[Step]) -> str:
    """Return a path the way people write it: `endpoints[0].traffic`; `(document)` for the whole."""
    shown = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return shown.removeprefix(".") or "(document)"


def shown_value(value: Any) -> str:
    """Return a value for an error message, shortened where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for a near miss; empty when nothing is near."""
    near = get_close_matches(word, list(allowed), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _refused(name: str, problems: Sequence[Problem]) -> ProblemsError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ProblemsError(f"{name}: {count}", [problem.told(name) for problem in problems])


def _index(node: yaml.Node, path: tuple[Step, ...], lines: dict[tuple[Step, ...], int]) -> Iterator[Problem]:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            place = (*path, key)
            if key in seen:
                yield Problem(
                    key_node.start_mark.line + 1,
                    shown_path(place),
                    "the key stands here a second time",
                    "keep one",
                )
            seen.add(key)
            lines[place] = key_node.start_mark.line + 1
            yield from _index(value_node, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _index(item, (*path, position), lines)


def _problems(document: Document, error: Any) -> Iterator[Problem]:
    path: list[Step] = list(error.absolute_path)
    given = shown_value(error.instance)
    line = document.line(path)
    shown = shown_path(path)
    if error.validator == "additionalProperties":
        allowed = list(error.schema.get("properties", {}))
        for key in error.instance:
            if key not in allowed:
                place = [*path, str(key)]
                yield Problem(
                    document.line(place),
                    shown_path(place),
                    f"unknown key {str(key)!r}; allowed are {', '.join(allowed)}",
                    nearest(str(key), allowed),
                )
    elif error.validator == "required":
        for key in error.validator_value:
            if isinstance(error.instance, dict) and key not in error.instance:
                yield Problem(line, shown, f"the key {key!r} is missing", _describe(error.schema, key))
    elif error.validator == "enum":
        allowed = [str(value) for value in error.validator_value]
        yield Problem(line, shown, f"{given} is not one of {', '.join(allowed)}", nearest(str(error.instance), allowed))
    elif error.validator == "const":
        yield Problem(line, shown, f"{given} is not allowed; it must be {shown_value(error.validator_value)}")
    elif error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        yield Problem(line, shown, f"{given} is not of type {' or '.join(map(str, kinds))}", _hint(error.schema))
    elif error.validator == "pattern":
        yield Problem(line, shown, f"{given} does not have the form {error.validator_value}", _hint(error.schema))
    elif error.validator in ("minimum", "maximum", "exclusiveMinimum"):
        bound = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}[error.validator]
        yield Problem(line, shown, f"{given} is out of range; it must be {bound} {error.validator_value}")
    elif error.validator in ("oneOf", "anyOf"):
        yield Problem(line, shown, f"{given} has none of the allowed forms", _hint(error.schema))
    elif error.validator == "propertyNames":
        key = str(error.instance)
        yield Problem(document.line([*path, key]), shown_path([*path, key]), error.message)
    else:
        yield Problem(line, shown, error.message, _hint(error.schema))


def _hint(part: Mapping[str, Any]) -> str:
    examples = part.get("examples")
    return f"for example {shown_value(examples[0])}" if examples else ""


def _describe(part: Mapping[str, Any], key: str) -> str:
    described = part.get("properties", {}).get(key, {}).get("description", "")
    return str(described)
