"""YAML documents checked against a JSON Schema: every problem at once, each with its line and what is allowed.

Two keywords of a schema are for the reader of a problem: `x-allowed` completes the sentence "it must be ...", and
`writeOnly` (of the standard) marks a value that may be a secret and is never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trackbed.errors import ProblemsError, UserError
from trackbed.templates import template_text

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Step = str | int
SHOWN_CHARACTERS = 60
MOST_VALUES = 100_000  # more come from aliases of aliases only
LONGEST_NUMBER = 40  # characters
TAG = "tag:yaml.org,2002:"
WHOLE = "(document)"  # the path of the document itself
BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
SECRET_KEY = re.compile(r"(?i)passw|secret|token")
SECRET_TEXTS = (
    re.compile(r"(?is)(https?://|://[^/\s:@]*:).*@"),
    re.compile(r"(?is)((?:passw(?:or)?d|pwd|secret|token)\s*[=:]\s*).*"),
)


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
        flaws: what YAML allows and no document of ours: keys that stand twice, or are no text.
    """

    name: str
    value: Any
    lines: Mapping[tuple[Step, ...], int]
    flaws: Sequence[Problem] = ()

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
        above = f"{shown_path(path)}."
        flaws = [replace(flaw, path=flaw.path.removeprefix(above)) for flaw in self.flaws]
        return Document(self.name, value, lines, flaws)


class DocumentError(ProblemsError):
    """The problems of a document.

    Args:
        name: the file's name.
        found: the problems.
    """

    def __init__(self, name: str, found: Sequence[Problem]) -> None:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        super().__init__(f"{name}: {count}", [problem.told(name) for problem in found])
        self.found = tuple(found)


def parse_document(text: str, *, name: str) -> Document:
    """Parse one YAML document and remember the lines of its values.

    Args:
        text: the YAML text.
        name: the file's name, for messages.

    Returns:
        The document; keys that stand twice or are no text are told together with what breaks its schema.

    Raises:
        DocumentError: the text is not YAML, or a thing that no document needs (one that holds itself).
    """
    index = _Index()
    try:
        value = _load(text, index)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        told = str(error.problem or error.context)
        suggestion = "indent with spaces" if "'\\t'" in told else ""
        if SECRET_KEY.search("".join(text.splitlines()[line : line + 1])):
            told = re.sub(r"'..+'", "'***'", told)  # the parser may quote the value
        raise DocumentError(name, [Problem(line + 1, WHOLE, f"not valid YAML: {_plain(told)}", suggestion)]) from error
    except RecursionError as error:
        raise DocumentError(name, [Problem(1, WHOLE, "not usable: it is nested too deeply")]) from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The parser's own errors for a scalar that is not what it looks like or is tagged as: 2026-99-99, !!bool maybe.
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        raise DocumentError(name, [Problem(line, WHOLE, f"not valid YAML: {_plain(_first_line(error))}")]) from error
    return Document(name, value, index.lines, index.flaws)


def read_document(path: Path) -> Document:
    """Read and parse a YAML file.

    Raises:
        UserError: the file cannot be read.
        DocumentError: it is not YAML.
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
    validator = _validator(schema_name)
    found: list[Problem] = list(document.flaws)
    for error in validator.iter_errors(document.value):
        found.extend(_problems(document, error))
    return sorted(set(found))


def refuse(document: Document, problems: Iterable[Problem]) -> None:
    """Raise all problems of a document as one error; do nothing when there are none.

    Raises:
        DocumentError: there is at least one problem.
    """
    listed = sorted(set(problems))
    if listed:
        raise DocumentError(document.name, listed)


def shown_path(path: Sequence[Step]) -> str:
    """Return a path the way people write it: `endpoints[0].traffic`; `(document)` for the whole."""
    shown = "".join(f"[{step}]" if isinstance(step, int) else f".{_plain(step)}" for step in path)
    return shown.removeprefix(".") or WHOLE


def shown_value(value: Any) -> str:
    """Return a value for an error message: shortened where it is long, without the passwords in it."""
    text = _printable(json.dumps(_without_secrets(value), default=str, ensure_ascii=False))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for a near miss; empty when nothing is near."""
    near = get_close_matches(word, list(allowed), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


class _Index:
    """Walks a YAML document once: the line of each place, and what is wrong with its keys."""

    def __init__(self) -> None:
        self.lines: dict[tuple[Step, ...], int] = {}
        self.flaws: list[Problem] = []
        self._above: list[yaml.Node] = []

    def add(self, node: yaml.Node, path: tuple[Step, ...]) -> None:
        """Take in a node and all below it.

        Raises:
            yaml.MarkedYAMLError: it holds itself, or is larger than a person writes.
        """
        self.lines.setdefault(path, node.start_mark.line + 1)
        if any(node is other for other in self._above):
            raise yaml.MarkedYAMLError(problem="an alias stands inside what it refers to", problem_mark=node.start_mark)
        if len(self.lines) > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_VALUES} values", problem_mark=node.start_mark)
        if node.tag in (f"{TAG}int", f"{TAG}float") and len(str(node.value)) > LONGEST_NUMBER:
            raise yaml.MarkedYAMLError(problem="a number of too many digits", problem_mark=node.start_mark)
        self._above.append(node)
        if isinstance(node, yaml.MappingNode):
            self._add_map(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self.add(item, (*path, position))
        self._above.pop()

    def _add_map(self, node: yaml.MappingNode, path: tuple[Step, ...]) -> None:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            place = (*path, key)
            if key in seen:
                self.flaws.append(Problem(line, shown_path(place), "the key stands here a second time", "keep one"))
            elif key_node.tag not in (f"{TAG}str", f"{TAG}merge"):
                self.flaws.append(Problem(line, shown_path(place), "the key is not text", f'write "{_plain(key)}"'))
            seen.add(key)
            self.lines[place] = line
            self.add(value_node, place)


def _load(text: str, index: _Index) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        index.add(node, ())
        return loader.construct_document(node)
    finally:
        loader.dispose()


@cache
def _validator(schema_name: str) -> Validator:
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(validator: Validator, expression: str, instance: Any, part: Any) -> Iterator[ValidationError]:
        # `$` of JSON Schema is the end; Python's also matches before a final newline.
        if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", expression), instance):
            yield ValidationError("another form")

    def is_whole(checker: object, instance: object) -> bool:
        return type(instance) is int  # not 5000.0, which a port cannot be

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_whole)
    return extend(Draft202012Validator, {"pattern": pattern}, type_checker=types)(schema(schema_name))


def _problems(document: Document, error: Any) -> Iterator[Problem]:
    if "propertyNames" in error.relative_schema_path:
        if isinstance(error.instance, str):  # other keys are flaws of the document, told already
            told = f"the key {_plain(error.instance)!r} is not allowed; {_must(error.schema)}"
            yield document.problem([*error.absolute_path, error.instance], told)
        return
    path: list[Step] = list(error.absolute_path)
    line, shown, given = document.line(path), shown_path(path), _given(error)
    if error.validator == "additionalProperties":
        allowed = list(error.schema.get("properties", {}))
        for key in error.instance:
            if isinstance(key, str) and key not in allowed:
                told = f"unknown key {_plain(key)!r}; allowed are {', '.join(allowed)}"
                yield document.problem([*path, key], told, nearest(key, allowed))
    elif error.validator == "required":
        for key in error.validator_value:
            if isinstance(error.instance, dict) and key not in error.instance:
                yield Problem(line, shown, f"the key {key!r} is missing", _describe(error.schema, key))
    elif error.validator == "enum":
        allowed = [str(value) for value in error.validator_value]
        if error.instance is None:
            yield Problem(line, shown, f"nothing stands here; it must be one of {', '.join(allowed)}")
            return
        yield Problem(line, shown, f"{given} is not one of {', '.join(allowed)}", nearest(str(error.instance), allowed))
    elif error.validator == "const":
        yield Problem(line, shown, f"{given} is not allowed; it must be {shown_value(error.validator_value)}")
    elif error.validator in ("oneOf", "anyOf"):
        yield from _alternatives(document, error)
    elif error.instance is None and "x-allowed" in error.schema:
        yield Problem(line, shown, f"nothing stands here; {_must(error.schema)}", _hint(error.schema))
    elif error.validator in BOUNDS:
        bound = f"{given} is out of range; it must be {BOUNDS[error.validator]} {error.validator_value}"
        yield Problem(line, shown, bound, _hint(error.schema))
    elif "x-allowed" in error.schema:
        yield Problem(line, shown, f"{given} is not allowed; {_must(error.schema)}", _hint(error.schema))
    elif error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        yield Problem(line, shown, f"{given} is not of type {' or '.join(map(str, kinds))}", _hint(error.schema))
    elif error.validator == "pattern":
        yield Problem(line, shown, f"{given} does not have the form {error.validator_value}", _hint(error.schema))
    else:
        rule = f"{error.validator} {shown_value(error.validator_value)}"
        yield Problem(line, shown, f"{given} is not allowed; the rule is {rule}", _hint(error.schema))


def _alternatives(document: Document, error: Any) -> Iterator[Problem]:
    """Tell of the one alternative that was meant; of all where none or several could be."""
    branches: dict[Any, list[Any]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    meant = [
        inside
        for inside in branches.values()
        if not any(inner.validator in ("type", "enum", "const") and not inner.relative_path for inner in inside)
    ]
    if len(meant) == 1:
        for inner in meant[0]:
            yield from _problems(document, inner)
        return
    words = [str(word) for branch in error.validator_value for word in branch.get("enum", ())]
    suggestion = nearest(str(error.instance), words) or _hint(error.schema)
    given = "nothing stands here" if error.instance is None else f"{_given(error)} is not allowed"
    yield document.problem(list(error.absolute_path), f"{given}; {_must(error.schema)}", suggestion)


def _given(error: Any) -> str:
    return "the value (not shown: it may be a secret)" if error.schema.get("writeOnly") else shown_value(error.instance)


def _must(part: Mapping[str, Any]) -> str:
    return f"it must be {part['x-allowed']}" if "x-allowed" in part else "it has none of the allowed forms"


def _hint(part: Mapping[str, Any]) -> str:
    examples = part.get("examples")
    return f"for example {shown_value(examples[0])}" if examples else ""


def _describe(part: Mapping[str, Any], key: str) -> str:
    described = part.get("properties", {}).get(key, {}).get("description", "")
    return str(described).rstrip(".")


def _without_secrets(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {str(name): _without_secrets(item, str(name)) for name, item in value.items()}  # pyright: ignore
    if isinstance(value, list):
        return [_without_secrets(item, key) for item in value]  # pyright: ignore
    if key and SECRET_KEY.search(key):
        return "***"
    return _redacted(value) if isinstance(value, str) else value


def _redacted(text: str) -> str:
    address, assignment = SECRET_TEXTS
    return assignment.sub(r"\1***", address.sub(r"\1***@", text))


def _plain(text: object) -> str:
    return _printable(_redacted(str(text)))


def _printable(text: str) -> str:
    """Escape what would break the line, or speak to the terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
