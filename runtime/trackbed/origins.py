"""Where each value of a contract came from: a line of the environment's file, a default, or `up` itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trackbed.documents import Document, Step

MADE = "made by up"
DEFAULT = "default"

# Place in the contract, the field of the spec that decides it, and what it is without that field.
RULES: tuple[tuple[str, str, str], ...] = (
    (r"version", "", "this version of trackbed"),
    (r"name", "name", "name of the stack"),
    (r"target", "target", DEFAULT),
    (r"home", "", MADE),
    (r"artifacts\.uri", "artifacts.uri", MADE),
    (r"tracking\.version", "", "the installed MLflow"),
    (r"tracking\.address\..*", "tracking.url", MADE),
    (r"tracking\.authentication\..*", "tracking.auth", MADE),
    (r"pools\.(?P<name>[^.]+)\.slots", "pools.{name}.maximum", "default: this machine's processors"),
    (r"pools\.(?P<name>[^.]+)\.cpu", "pools.{name}.cpu", DEFAULT),
    (r"pools\.(?P<name>[^.]+)\.memory", "pools.{name}.memory", "default: this machine's memory"),
    (r"pools\.(?P<name>[^.]+)\.gpu", "pools.{name}.gpu", DEFAULT),
    (r"pools\.(?P<name>[^.]+)\.locks", "", MADE),
    (r"tuning\.parallel_trials", "tuning.parallelTrials", "default: slots of the default pool"),
    (r"tuning\..*", "", MADE),
    (r"endpoints\.(?P<name>[^.]+)\.model", "endpoints.{name}.model", "default: name of the endpoint"),
    (r"endpoints\.(?P<name>[^.]+)\.traffic\..*", "endpoints.{name}.traffic", DEFAULT),
    (r"endpoints\.(?P<name>[^.]+)\.authentication\..*", "endpoints.{name}.auth", MADE),
    (r"endpoints\.(?P<name>[^.]+)\.address\..*", "", MADE),
)


def flattened(document: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a contract with its place: `tracking.address.internal`."""
    if isinstance(document, Mapping) and document:
        for key, value in document.items():  # pyright: ignore[reportUnknownVariableType]
            yield from flattened(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, document


def origin(place: str, spec: Document | None) -> str:
    """Return where the value at a place of the contract came from, in words.

    Args:
        place: place in the contract, as `flattened` gives it.
        spec: the environment's file, where it is at hand.
    """
    for pattern, field, otherwise in RULES:
        match = re.fullmatch(pattern, place)
        if match is None:
            continue
        path = _path(field.format(**match.groupdict()), spec)
        if spec is not None and path is not None and path in spec.lines:
            return f"{spec.name}:{spec.lines[path]}"
        return otherwise
    return MADE


def _path(field: str, spec: Document | None) -> tuple[Step, ...] | None:
    """Return the steps to a field of the spec, where endpoints are a list of named ones; None for no field."""
    if not field:
        return None
    first, *rest = field.split(".")
    if first != "endpoints" or spec is None:
        return (first, *rest)
    endpoints = spec.value.get("endpoints") or []
    position = next((number for number, found in enumerate(endpoints) if found.get("name") == rest[0]), None)
    return None if position is None else (first, position, *rest[1:])
