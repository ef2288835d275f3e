"""A pipeline's arguments on the command line: `--name VALUE`, typed by the pipeline's own signature."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

Kind = Literal["int", "float", "bool", "str", "list", "dict"]
TRUE, FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
JSON_KINDS: dict[Kind, type] = {"list": list, "dict": dict}


class UsageError(Exception):
    """The arguments given are not ones that the pipeline takes."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a pipeline.

    Args:
        name: as the pipeline calls it.
        kind: the type of its value.
        required: whether it has to be given.
        default: its value when it is not given; None when there is none.
        description: what it means, from the pipeline's documentation.
    """

    name: str
    kind: Kind
    required: bool
    default: Any = None
    description: str = ""


def parse_arguments(parameters: Sequence[Parameter], given: Sequence[str]) -> dict[str, Any]:
    """Return the values given, by the pipeline's names, those left to their defaults not among them.

    `--some-name VALUE` and `--some_name=VALUE` both give `some_name`; the last of several counts. Lists and dicts are
    JSON.

    Args:
        parameters: what the pipeline takes.
        given: the words of the command line.

    Raises:
        UsageError: an argument is unknown, has no value or one of the wrong type, or a required one is missing; the
            message names them all.
    """
    by_option = {_option(parameter.name): parameter for parameter in parameters}
    values: dict[str, Any] = {}
    problems: list[str] = []
    words = list(given)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("--"):
            problems.append(f"{word!r} is no option; arguments are given as --name VALUE")
            continue
        parameter = by_option.get(_option(option[2:]))
        if not equals and words and not _is_option(words[0], by_option):
            value, equals = words.pop(0), "="
        if parameter is None:
            near = get_close_matches(_option(option[2:]), by_option, n=1)
            problems.append(f"unknown argument {option}" + (f"; did you mean {near[0]}?" if near else ""))
        elif not equals:
            problems.append(f"{option} needs a value ({parameter.kind})")
        else:
            try:
                values[parameter.name] = _typed(parameter.kind, value)
            except ValueError:
                problems.append(f"{option} is {value!r}, which is not {_expected(parameter.kind)}")
    missing = [p for p in parameters if p.required and p.name not in values]
    problems += [f"{_option(p.name)} is required ({p.kind})" for p in missing if not _told(p, problems)]
    if problems:
        raise UsageError("\n".join(["the arguments do not fit the pipeline", *(f"  - {p}" for p in problems)]))
    return values


def usage(pipeline: str, parameters: Sequence[Parameter]) -> str:
    """Return the description of a pipeline's arguments, one a line, with type and default."""
    if not parameters:
        return f"The pipeline {pipeline} takes no arguments."
    rows = [
        (f"{_option(p.name)} {p.kind.upper()}", "required" if p.required else f"default: {json.dumps(p.default)}")
        for p in parameters
    ]
    width = max(len(left) for left, _ in rows)
    lines = [
        f"  {left:<{width}}  {right}{'  ' + p.description if p.description else ''}"
        for (left, right), p in zip(rows, parameters, strict=True)
    ]
    return "\n".join([f"Arguments of the pipeline {pipeline}:", *lines])


def take_option(name: str, words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take one option out of a command line.

    Args:
        name: with its dashes, for example `--pipeline`.
        words: the command line.

    Returns:
        The option's value (None when it is not there) and the remaining words.

    Raises:
        UsageError: it is there without a value.
    """
    rest = list(words)
    for index, word in enumerate(rest):
        if word.startswith(f"{name}="):
            return word.partition("=")[2], rest[:index] + rest[index + 1 :]
        if word == name:
            if index + 1 == len(rest):
                raise UsageError(f"{name} needs a value")
            return rest[index + 1], rest[:index] + rest[index + 2 :]
    return None, rest


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_option(word: str, by_option: dict[str, Parameter]) -> bool:
    """Whether the next word is an option rather than a value that begins with dashes."""
    return word.startswith("--") and _option(word.partition("=")[0][2:]) in by_option


def _told(parameter: Parameter, problems: Sequence[str]) -> bool:
    options = (_option(parameter.name), f"--{parameter.name}")
    return any(problem.startswith(f"{option} ") for problem in problems for option in options)


def _typed(kind: Kind, text: str) -> Any:
    if kind == "str":
        return text
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        if text.lower() not in TRUE | FALSE:
            raise ValueError(text)
        return text.lower() in TRUE
    value = json.loads(text)
    if not isinstance(value, JSON_KINDS[kind]):
        raise ValueError(text)
    return value


def _expected(kind: Kind) -> str:
    return {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list": 'a JSON list such as [1, 2] or ["a"]',
        "dict": 'a JSON object such as {"a": 1}',
    }.get(kind, kind)
